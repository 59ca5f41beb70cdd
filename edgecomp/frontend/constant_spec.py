"""What the user fixes at build time: ``--constant sr=16000``."""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import AnyArray

_FORM = "the form is NAME=NUMBER or NAME=NUMBER,NUMBER,...; true and false are numbers too"
_WORDS = {"true": 1.0, "false": 0.0}


@dataclasses.dataclass(frozen=True)
class ConstantSpec:
    """Contents of one graph input.

    Attributes:
        name: of the graph input.
        numbers: its elements in order; one number fills it.
        text: as given.
    """

    name: str
    numbers: tuple[float | int, ...]
    text: str

    def array(self, value: ir.Value) -> AnyArray:
        """The contents in the input's dtype and shape.

        Raises:
            EdgecompError: SHAPE_CONFLICT where they do not fit.
        """
        kind = value.dtype or ir.DataType.FLOAT
        shape = self._shape(value)
        if len(self.numbers) not in (1, math.prod(shape)):
            raise self._conflict(f"its shape is {list(shape)}")
        array = self._numbers_as(kind)
        if array is None:
            raise self._conflict(f"its dtype is {kind.numpy()}")
        whole = array if len(array) == math.prod(shape) else np.full(shape, array[0])
        return whole.reshape(shape)

    def _numbers_as(self, kind: ir.DataType) -> AnyArray | None:
        """The numbers in an element type, None where it does not hold one of them."""
        numbers = self.numbers
        is_whole = kind.is_integer() or kind is ir.DataType.BOOL
        if is_whole:
            if any(isinstance(n, float) and not n.is_integer() for n in numbers):
                return None
            numbers = tuple(int(n) for n in numbers)
        elif not kind.is_floating_point():
            return None
        try:
            array = np.array(numbers, None if is_whole else np.float64).astype(kind.numpy())
        except (OverflowError, ValueError):
            return None
        return None if is_whole and [int(n) for n in array] != [*numbers] else array

    def _shape(self, value: ir.Value) -> tuple[int, ...]:
        """The input's shape; a free dimension gets what the numbers leave for it."""
        if value.shape is None:
            return () if len(self.numbers) == 1 else (len(self.numbers),)
        known = math.prod(extent for extent in value.shape if isinstance(extent, int))
        left = max(1, len(self.numbers) // max(1, known))
        return tuple(extent if isinstance(extent, int) else left for extent in value.shape)

    def _conflict(self, why: str) -> EdgecompError:
        return EdgecompError(
            Code.SHAPE_CONFLICT,
            f"--constant {self.text} contradicts the model: {why}",
            node=self.name,
            hint=_FORM,
        )


def parse_constant_specs(texts: Iterable[str]) -> dict[str, ConstantSpec]:
    """Read ``NAME=NUMBERS`` of every text, by name. A name given twice is an error."""
    specs: dict[str, ConstantSpec] = {}
    for text in texts:
        name, equals, numbers = text.rpartition("=")
        if not equals or not name:
            raise EdgecompError(Code.USAGE, f"--constant {text}: no '='", hint=_FORM)
        if name in specs:
            raise EdgecompError(Code.USAGE, f"--constant {name} is given twice")
        specs[name] = ConstantSpec(
            name, tuple(_number(n, text) for n in numbers.split(",")), text
        )
    return specs


def _number(text: str, whole: str) -> float | int:
    word = text.strip().lower()
    for read in (lambda: _WORDS[word], lambda: int(word), lambda: float(word)):
        try:
            return read()
        except (KeyError, ValueError):
            continue
    raise EdgecompError(Code.USAGE, f"--constant {whole}: '{text}' is no number", hint=_FORM)
