"""The integer arithmetic of quantized models: every formula of docs/numerics.md, once.

The reference interpreter computes with these functions and the lowering packs constants with
them, so that a number never comes about in two ways.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]

#: Bits of a float32 significand: integers below 2 to this power are exact.
EXACT_BITS = 24
#: Largest distance of a stored value from its zero point.
_MAXIMUM_STEPS = 255
_MAXIMUM_SHIFT = 30
_INT32_MAXIMUM = 2**31 - 1
_INT16 = np.dtype(np.int16)


@dataclasses.dataclass(frozen=True)
class Affine:
    """Meaning of stored values: ``real = (stored - zero_point) * scale``.

    Attributes:
        scale: float32, finite and positive.
        zero_point: within the dtype; 0 of int16.
        dtype: uint8, int8 or int16.
    """

    scale: np.float32
    zero_point: int
    dtype: np.dtype[Any]

    @property
    def lowest(self) -> int:
        """Least stored value."""
        return int(np.iinfo(self.dtype).min)

    @property
    def highest(self) -> int:
        """Greatest stored value."""
        return int(np.iinfo(self.dtype).max)

    @property
    def is_wide(self) -> bool:
        """Whether values have 16 bits."""
        return self.dtype == _INT16

    @property
    def steps(self) -> int:
        """Largest distance of a stored value from the zero point."""
        return max(self.highest - self.zero_point, self.zero_point - self.lowest)


@dataclasses.dataclass(frozen=True, eq=False)
class Requantization:
    """int32 accumulator to a stored value: section "Requantize".

    Attributes:
        multiplier: float32 [1] or [channels].
        zero_point, dtype: of the result.
        low, high: bounds of the result, within the dtype.
    """

    multiplier: Float32Array
    zero_point: int
    low: int
    high: int
    dtype: np.dtype[Any]


@dataclasses.dataclass(frozen=True)
class AddWeights:
    """Weights of an integer sum: section "Add".

    ``acc = (a - z_a) * weight_a + (b - z_b) * weight_b`` stands for ``acc * 2**-shift`` steps.
    """

    weight_a: int
    weight_b: int
    shift: int

    @property
    def multiplier(self) -> Float32Array:
        """``2**-shift`` as float32 [1], exact."""
        return np.array([np.ldexp(1.0, -self.shift)], np.float32)


def requantize_multiplier(
    scale_x: npt.ArrayLike, scale_w: npt.ArrayLike, scale_y: npt.ArrayLike
) -> Float32Array:
    """``scale_x * scale_w / scale_y`` in float64 from float32 scales, rounded to float32 once.

    Returns:
        float32 [1], or [channels] where ``scale_w`` has several elements.

    Raises:
        OverflowError: when it is not finite.
    """
    product = _float64(scale_x) * _float64(scale_w)
    return _multiplier(product / _float64(scale_y))


def average_multiplier(
    scale_x: npt.ArrayLike, count: int, scale_y: npt.ArrayLike
) -> Float32Array:
    """``scale_x / (count * scale_y)`` as ``requantize_multiplier``: float32 [1]."""
    return _multiplier(_float64(scale_x) / (count * _float64(scale_y)))


def float_multiplier(scale_x: npt.ArrayLike, scale_w: npt.ArrayLike) -> Float32Array:
    """``scale_x * scale_w``: what turns an accumulator into a float32. [1] or [channels]."""
    return _multiplier(_float64(scale_x) * _float64(scale_w))


def add_weights(
    scale_a: npt.ArrayLike, scale_b: npt.ArrayLike, scale_y: npt.ArrayLike, *, subtract: bool
) -> AddWeights:
    """Integer weights of a sum, as fine as an accumulator exact in float32 allows.

    Raises:
        OverflowError: when an operand's step is more than 2**100 result steps.
    """
    ratio_a = float(_float64(scale_a)[0] / _float64(scale_y)[0])
    ratio_b = float(_float64(scale_b)[0] / _float64(scale_y)[0])
    if max(ratio_a, ratio_b) > 2.0**100:
        raise OverflowError("the result's scale is too small for its operands")
    for shift in range(_MAXIMUM_SHIFT, -128, -1):
        weight_a = int(np.rint(np.ldexp(ratio_a, shift)))
        weight_b = int(np.rint(np.ldexp(ratio_b, shift)))
        if (weight_a + weight_b) * _MAXIMUM_STEPS < 2**EXACT_BITS:
            return AddWeights(weight_a, -weight_b if subtract else weight_b, shift)
    raise AssertionError("a shift below -100 always fits")


def wide_add_weights(a: Affine, b: Affine, y: Affine, *, subtract: bool) -> AddWeights:
    """Integer weights of a sum with 16-bit values, as fine as an int32 accumulator allows.

    Raises:
        OverflowError: when an operand's step is more than 2**100 result steps.
    """
    ratios = [float(np.float64(x.scale) / np.float64(y.scale)) for x in (a, b)]
    if max(ratios) > 2.0**100:
        raise OverflowError("the result's scale is too small for its operands")
    for shift in range(_MAXIMUM_SHIFT, -128, -1):
        weight_a, weight_b = (int(np.rint(np.ldexp(ratio, shift))) for ratio in ratios)
        if weight_a * a.steps + weight_b * b.steps <= _INT32_MAXIMUM:
            return AddWeights(weight_a, -weight_b if subtract else weight_b, shift)
    raise AssertionError("a shift below -100 always fits")


def clamp_bounds(
    affine: Affine, low: float = -np.inf, high: float = np.inf
) -> tuple[int, int]:
    """Stored bounds of a following Relu (low 0) or Clip(low, high), within the dtype."""
    bounds = []
    for limit in (low, high):
        steps = np.rint(np.float64(limit) / np.float64(affine.scale)) + affine.zero_point
        bounds.append(int(np.clip(steps, affine.lowest, affine.highest)))
    return bounds[0], bounds[1]


def requantize(accumulator: AnyArray, r: Requantization, *, is_wide: bool = False) -> AnyArray:
    """Stored values of int32 accumulators.

    Args:
        accumulator: whole numbers of any dtype that holds them exactly; the multiplier's
            channels are its last dimension.
        r: what to apply.
        is_wide: whether they may be beyond int32.
    """
    if not is_wide:
        check_accumulator(accumulator)
    scaled = accumulator.astype(np.float32) * r.multiplier
    low, high = np.float32(r.low - r.zero_point), np.float32(r.high - r.zero_point)
    clamped = np.minimum(np.maximum(scaled, low), high)
    stored: AnyArray = (np.rint(clamped).astype(np.int32) + r.zero_point).astype(r.dtype)
    return stored


def check_accumulator(accumulator: AnyArray) -> None:
    """Raise OverflowError where an accumulator does not fit in int32."""
    if accumulator.size and max(-accumulator.min(), accumulator.max()) > _INT32_MAXIMUM:
        raise OverflowError("an accumulator does not fit in int32")


def lookup_table(
    function: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    x: Affine,
    y: Affine,
    low: int | None = None,
    high: int | None = None,
) -> AnyArray:
    """Result of a function for each of the 256 stored values, in y's dtype.

    Entry ``stored - dtype minimum`` belongs to ``stored``. NaN becomes the zero point.

    Args:
        function: on real values, float64 [256] to float64 [256].
        x: meaning of the argument.
        y: meaning of the result.
        low: stored lower bound of the result, None for the dtype's.
        high: stored upper bound of the result, None for the dtype's.
    """
    stored = np.arange(x.lowest, x.highest + 1)
    with np.errstate(all="ignore"):
        real = function(np.float64(x.scale) * (stored - x.zero_point))
        steps = np.rint(real / np.float64(y.scale))
    steps = np.where(np.isnan(steps), 0.0, steps) + y.zero_point
    lowest = y.lowest if low is None else low
    highest = y.highest if high is None else high
    return np.minimum(np.maximum(steps, lowest), highest).astype(y.dtype)


def move_table(
    x: Affine, y: Affine, low: int | None = None, high: int | None = None
) -> AnyArray | None:
    """The table of a moved value, None where every stored value stays as it is."""
    table = lookup_table(lambda real: real, x, y, low, high)
    if x.dtype == y.dtype and np.array_equal(table, np.arange(x.lowest, x.highest + 1)):
        return None
    return table


def look_up(table: AnyArray, stored: AnyArray) -> AnyArray:
    """Apply a table to uint8 or int8 values."""
    return table[stored.astype(np.int32) - int(np.iinfo(stored.dtype).min)]


def quantize(
    real: AnyArray, scale: AnyArray, zero_point: AnyArray, dtype: np.dtype[Any]
) -> AnyArray:
    """QuantizeLinear: ``saturate(rint(real / scale) + zero_point)``, float32; NaN gives z.

    Args:
        real: float32.
        scale: float32, broadcasts against ``real``.
        zero_point: broadcasts against ``real``.
        dtype: integer dtype of the result.
    """
    limits = np.iinfo(dtype)
    with np.errstate(all="ignore"):
        steps = np.rint(real.astype(np.float32) / np.asarray(scale, np.float32))
    steps = np.where(np.isnan(steps), 0.0, steps).astype(np.float64) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def dequantize(stored: AnyArray, scale: AnyArray, zero_point: AnyArray) -> Float32Array:
    """DequantizeLinear: ``(stored - zero_point) * scale`` in float32; arguments broadcast."""
    steps = stored.astype(np.int64) - np.asarray(zero_point, np.int64)
    return steps.astype(np.float32) * np.asarray(scale, np.float32)


def _float64(scale: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(scale, np.float32).astype(np.float64).reshape(-1)


def _multiplier(exact: npt.NDArray[np.float64]) -> Float32Array:
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        rounded = exact.astype(np.float32)
    if not np.isfinite(rounded).all():
        raise OverflowError("a quantization scale is too small for the values it multiplies")
    return rounded
