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
        dtype = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
        shape = self._shape(value)
        if len(self.numbers) not in (1, math.prod(shape)):
            raise self._conflict(f"its shape is {list(shape)}")
        if dtype.kind in "iub" and any(number != int(number) for number in self.numbers):
            raise self._conflict(f"its dtype is {dtype}")
        try:
            array = np.array(self.numbers).astype(dtype)
        except (OverflowError, ValueError):
            raise self._conflict(f"its dtype is {dtype}") from None
        if dtype.kind in "iu" and [int(n) for n in array] != [int(n) for n in self.numbers]:
            raise self._conflict(f"its dtype is {dtype}")
        whole = array if len(array) == math.prod(shape) else np.full(shape, array[0])
        return whole.reshape(shape)

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
