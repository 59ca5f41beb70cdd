"""Quantization spaces, and the scales that map real numbers into them."""

import dataclasses
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from edgecomp.calibrate.ranges import Range
from edgecomp.graph.integer import Affine, AnyArray, Float32Array

#: Ranges narrower than this hold a value that is always zero.
_SMALLEST_RANGE = 2.0**-40
#: int32 biases keep two bits free for the sum they are added to.
LARGEST_BIAS = 2.0**29
#: As kernels count a weight of 4 bits 16 times (schedules/cpu/int4_code.py).
_LARGEST_FEW_BITS_BIAS = LARGEST_BIAS / 16
_FEW_BITS = 4
_MANY_BITS = 16
#: What the largest magnitude of a channel may become in 4 bits: whole numbers, so that weights that
#: were rounded before keep their scale, and more than there are, so that some are clipped.
_REACHES = (*range(1, 9), *np.linspace(7.5, 18.75, 31))
#: Weights of channels below this times 127 are stored as zero. With the smallest activation
#: scale it keeps the scale of a bias a normal float32.
_SMALLEST_WEIGHT_SCALE = 2.0**-64


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizationSpace:
    """How real numbers are stored as integers.

    Attributes:
        dtype: of the stored numbers.
        low: least stored number that is used.
        high: greatest stored number that is used.
        symmetric: whether the zero point lies in the middle.
        per_channel: one scale per output channel rather than one per tensor.
    """

    dtype: np.dtype[Any]
    low: int
    high: int
    symmetric: bool
    per_channel: bool

    @property
    def bits(self) -> int:
        """Bits of a stored number."""
        return int(self.high - self.low).bit_length()


ACTIVATION_UINT8 = QuantizationSpace(
    dtype=np.dtype(np.uint8),
    low=0,
    high=255,
    symmetric=False,
    per_channel=False,
)


#: Zero is 128: kernels turn such numbers into signed ones by one bit.
ACTIVATION_UINT8_SYMMETRIC = dataclasses.replace(ACTIVATION_UINT8, low=1, symmetric=True)


def _symmetric(
    dtype: Any, high: int, *, low: int | None = None, per_channel: bool = True
) -> QuantizationSpace:
    """From ``-high`` where there is no other ``low``."""
    return QuantizationSpace(
        dtype=np.dtype(dtype),
        low=-high if low is None else low,
        high=high,
        symmetric=True,
        per_channel=per_channel,
    )


ACTIVATION_INT16 = _symmetric(np.int16, 32767, per_channel=False)
WEIGHT_INT8_PER_CHANNEL = _symmetric(np.int8, 127)
WEIGHT_INT8 = _symmetric(np.int8, 127, per_channel=False)
WEIGHT_INT4_PER_CHANNEL = _symmetric(ml_dtypes.int4, 7, low=-8)
#: 127 * 255 + 127: two balanced digits of 8 bits (graph/weight_parts.py).
WEIGHT_INT16_PER_CHANNEL = _symmetric(np.int16, 32512)
BIAS_INT32 = _symmetric(np.int32, 2**31 - 1)


def weight_space(*, per_channel: bool, bits: int = 8) -> QuantizationSpace:
    """Of the weights of products; those of 4 bits always have a scale per channel."""
    if bits == _FEW_BITS:
        return WEIGHT_INT4_PER_CHANNEL
    if bits == _MANY_BITS:
        return dataclasses.replace(WEIGHT_INT16_PER_CHANNEL, per_channel=per_channel)
    return WEIGHT_INT8_PER_CHANNEL if per_channel else WEIGHT_INT8


def activation_affine(limits: Range, space: QuantizationSpace = ACTIVATION_UINT8) -> Affine:
    """Scale and zero point that cover a range, which is widened to contain zero.

    Zero is stored exactly. A range without extent gets scale 1.
    """
    low, high = min(0.0, limits.low), max(0.0, limits.high)
    if space.symmetric:
        high = max(-low, high)
        low = -high
    if high - low < _SMALLEST_RANGE:
        middle = (space.low + space.high) // 2
        return Affine(np.float32(1.0), middle if space.symmetric else space.low, space.dtype)
    scale = np.float32((high - low) / (space.high - space.low))
    zero_point = np.rint(space.low - low / np.float64(scale))
    return Affine(scale, int(np.clip(zero_point, space.low, space.high)), space.dtype)


def weight_scales(
    weight: AnyArray,
    channel_axis: int,
    space: QuantizationSpace,
    *,
    bias: AnyArray | None = None,
    activation_scale: np.float32 | None = None,
) -> Float32Array:
    """Scales of weights: float32 [channels], or [1] for a space per tensor.

    The largest magnitude of each channel becomes the greatest stored number; of 4 bits the scale
    is the one of least squared error. Where a bias in
    units of ``activation_scale * scale`` would not fit in int32 beside the products, as with
    channels of almost no weight, the scale grows until it does.

    Args:
        weight: finite, any shape.
        channel_axis: dimension of the output channels.
        space: where the weights go.
        bias: real numbers [channels], None without one.
        activation_scale: of the product's other operand; needed with a bias.
    """
    moved = np.moveaxis(weight.astype(np.float64), channel_axis, 0).reshape(
        weight.shape[channel_axis], -1
    )
    magnitude = np.abs(moved).max(axis=1, initial=0.0)
    few = space.dtype == WEIGHT_INT4_PER_CHANNEL.dtype
    scales = least_error_scales(moved, magnitude, space) if few else magnitude / space.high
    if bias is not None and activation_scale is not None:
        least = np.abs(bias.astype(np.float64)) / (
            np.float64(activation_scale) * (_LARGEST_FEW_BITS_BIAS if few else LARGEST_BIAS)
        )
        scales = np.maximum(scales, least)
    if not space.per_channel:
        scales = scales.max(keepdims=True, initial=0.0)
    negligible = scales < _SMALLEST_WEIGHT_SCALE
    rounded: Float32Array = np.where(negligible, 1.0, scales).astype(np.float32)
    return rounded


def least_error_scales(
    rows: npt.NDArray[np.float64], magnitude: npt.NDArray[np.float64], space: QuantizationSpace
) -> npt.NDArray[np.float64]:
    """The scale of least squared error of each row, of some of its largest magnitude."""
    best = magnitude / space.high
    least = np.full(len(rows), np.inf)
    for reach in _REACHES:
        scales = magnitude / reach
        safe = np.where(scales > 0, scales, 1.0)[:, None]
        back = np.clip(np.rint(rows / safe), space.low, space.high) * safe
        lost = ((rows - back) ** 2).sum(axis=1)
        best, least = np.where(lost < least, scales, best), np.minimum(lost, least)
    return best


def store_weights(
    weight: AnyArray, scales: Float32Array, channel_axis: int, space: QuantizationSpace
) -> AnyArray:
    """Weights as stored numbers: ``rint(w / scale)``, saturated."""
    shape = [-1 if d == channel_axis and scales.size > 1 else 1 for d in range(weight.ndim)]
    steps = np.rint(weight.astype(np.float64) / scales.astype(np.float64).reshape(shape))
    stored: AnyArray = np.clip(steps, space.low, space.high).astype(space.dtype)
    return stored


def store_bias(bias: AnyArray, activation_scale: np.float32, scales: Float32Array) -> AnyArray:
    """Bias as int32 in units of ``activation_scale * scales``."""
    unit = np.float64(activation_scale) * scales.astype(np.float64)
    steps = np.rint(bias.astype(np.float64) / unit)
    stored: AnyArray = np.clip(steps, BIAS_INT32.low, BIAS_INT32.high).astype(np.int32)
    return stored


def store_constant(constant: AnyArray, affine: Affine) -> AnyArray:
    """A constant operand as stored numbers."""
    steps = np.rint(constant.astype(np.float64) / np.float64(affine.scale)) + affine.zero_point
    stored: AnyArray = np.clip(steps, affine.lowest, affine.highest).astype(affine.dtype)
    return stored
