"""What the user says about a graph input: ``name:1x3x224x224[:dtype]``, ``ids:1x[1..512]``."""

import dataclasses
import re
from collections.abc import Iterable

import numpy as np

from edgecomp.errors import Code, EdgecompError, nearest_hint

_DTYPES = {
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "bool": "bool",
}
_NAMES = {**_DTYPES, **{name: name for name in _DTYPES.values()}, "float": "float32"}
_FORM = (
    "the form is name:1x3x224x224, name:1x3x224x224:f32, ids:1x[1..512] "
    "or x:1x3x[32..640:32]x[32..640:32]"
)
#: A number, or bounds, whose name may hold an x.
_EXTENT = r"(?:\d+|\[[^\]]*\])"
_BOUNDED = r"\[(?:([A-Za-z_]\w*)=)?(\d+)\.\.(\d+)(?::(\d+))?\]"


@dataclasses.dataclass(frozen=True)
class Bounds:
    """A dimension that may have any size from minimum to maximum that is a multiple of a step.

    Attributes:
        minimum, maximum: both included, multiples of the step.
        name: given to it, or "".
        step: 1 for every size.
    """

    minimum: int
    maximum: int
    name: str = ""
    step: int = 1

    @property
    def text(self) -> str:
        """As given on the command line."""
        name = f"{self.name}=" if self.name else ""
        step = f":{self.step}" if self.step > 1 else ""
        return f"[{name}{self.minimum}..{self.maximum}{step}]"


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """Shape and dtype of one graph input.

    Attributes:
        name: of the graph input.
        shape: extents, fixed or bounded.
        dtype: numpy name (``float32``), or "" to keep what the model declares.
    """

    name: str
    shape: tuple[int | Bounds, ...]
    dtype: str = ""

    @property
    def is_bounded(self) -> bool:
        """Whether a dimension is not fixed."""
        return any(isinstance(extent, Bounds) for extent in self.shape)

    @property
    def extents(self) -> tuple[int, ...]:
        """The shape; a bounded dimension at its largest."""
        return tuple(e.maximum if isinstance(e, Bounds) else e for e in self.shape)

    @property
    def text(self) -> str:
        """As given on the command line."""
        texts = [e.text if isinstance(e, Bounds) else str(e) for e in self.shape]
        dims = "x".join(texts) or "scalar"
        return f"{self.name}:{dims}" + (f":{self.dtype}" if self.dtype else "")

    def random(self, seed: int = 0) -> np.ndarray:
        """A seeded array of this shape; floats are standard normal, integers 0 or 1."""
        rng = np.random.default_rng(seed)
        shape = self.extents
        dtype = np.dtype(self.dtype or "float32")
        if dtype.kind in "iub":
            return rng.integers(0, 2, shape).astype(dtype)
        return rng.standard_normal(shape).astype(dtype)


def parse_input_spec(text: str, flag: str = "--input") -> InputSpec:
    """Read ``name:1x3x224x224[:dtype]``; ``name:scalar`` is a tensor without dimensions.

    The name may hold colons itself: the shape is the last part that looks like one.

    Args:
        text: as given.
        flag: that it was given to, for errors.

    Raises:
        EdgecompError: USAGE with the form to give.
    """
    try:
        return _parse(text)
    except EdgecompError as error:
        error.cause = f"{flag} {error.cause}"
        raise


def _parse(text: str) -> InputSpec:
    parts = re.split(r":(?![^\[\]]*\])", text)
    dtype = ""
    if len(parts) > 2 and not _looks_like_shape(parts[-1]):
        dtype = _dtype(parts.pop(), text)
    if len(parts) < 2 or not parts[0]:
        raise _bad(text, "a shape is missing")
    name, dims = ":".join(parts[:-1]), parts[-1]
    if dims.lower() == "scalar":
        return InputSpec(name, (), dtype)
    if not re.fullmatch(rf"{_EXTENT}([xX,]{_EXTENT})*", dims):
        raise _bad(text, f"'{dims}' is no shape")
    shape = tuple(_extent(extent, text) for extent in re.findall(_EXTENT, dims))
    if 0 in shape:
        raise _bad(text, "an extent is 0")
    return InputSpec(name, shape, dtype)


def _extent(text: str, whole: str) -> int | Bounds:
    if text.isdigit():
        return int(text)
    match = re.fullmatch(_BOUNDED, text)
    if match is None:
        raise _bad(whole, f"'{text}' is no dimension")
    bounds = Bounds(int(match[2]), int(match[3]), match[1] or "", int(match[4] or 1))
    if not 1 <= bounds.minimum <= bounds.maximum:
        raise _bad(whole, f"the bounds {text} hold no size of 1 or more")
    if not bounds.step or bounds.minimum % bounds.step or bounds.maximum % bounds.step:
        raise _bad(whole, f"the ends of {text} are no multiples of {bounds.step}")
    return bounds


def parse_input_specs(texts: Iterable[str], flag: str = "--input") -> dict[str, InputSpec]:
    """Several of them, by input name. A name given twice is an error."""
    specs: dict[str, InputSpec] = {}
    for text in texts:
        spec = parse_input_spec(text, flag)
        if spec.name in specs:
            raise EdgecompError(Code.USAGE, f"{flag} {spec.name} is given twice")
        specs[spec.name] = spec
    return specs


def _looks_like_shape(text: str) -> bool:
    """Whether it is meant as one: then what is wrong is said about the shape, not a dtype."""
    return text[:1].isdigit() or text.lower() == "scalar" or "[" in text


def _dtype(text: str, whole: str) -> str:
    if text.lower() not in _NAMES:
        raise EdgecompError(
            Code.USAGE,
            f"{whole}: '{text}' is neither a shape nor a dtype",
            hint=nearest_hint(text.lower(), _NAMES),
        )
    return _NAMES[text.lower()]


def _bad(text: str, why: str) -> EdgecompError:
    return EdgecompError(Code.USAGE, f"{text}: {why}", hint=_FORM)
