"""Weights rounded to floats of 16 or 8 bits.

Floats of 16 bits take weights as they are. Floats of 8 bits get a scale for each output (or one
for all), positive, so that the largest weight is near the type's largest number. As steps between
floats are as large as the numbers they are between, what a scale can gain lies within a factor of
two: the best of a few, by the squared error of the rounded weights, whole powers of two left out.
"""

import ml_dtypes
import numpy as np

from edgecomp.compress.powers import powers_of_two
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.narrow_weights import NarrowWeights

#: Scales that are tried within a factor of two.
_TRIED = 4


def narrowed(weight: AnyArray, dtype: str, axis: int | None) -> NarrowWeights:
    """Round weights to nearest, halves to even.

    Args:
        weight: float32.
        dtype: float16, bfloat16, float8_e4m3fn, float8_e5m2 or log2 (compress/powers.py).
        axis: that every index of has a scale of its own; None for one scale. Floats of 16 bits
            have none.
    """
    if dtype == "log2":
        return powers_of_two(weight, axis)
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    if kind.itemsize > 1:
        return NarrowWeights(weight.astype(kind))
    rows = weight.reshape(1, -1) if axis is None else np.moveaxis(weight, axis, 0)
    rows = rows.reshape(len(rows), -1)
    scales = _scales(rows, kind)
    numbers = (rows / scales[:, None]).astype(kind)
    if axis is None:
        return NarrowWeights(numbers.reshape(weight.shape), scales)
    moved = np.moveaxis(weight, axis, 0).shape
    lying = np.moveaxis(numbers.reshape(moved), 0, axis)
    return NarrowWeights(np.ascontiguousarray(lying), scales)


def real(weights: NarrowWeights, axis: int | None) -> AnyArray:
    """The numbers that are meant: float32."""
    numbers = weights.numbers.astype(np.float32)
    if weights.scale is None or axis is None:
        return numbers if weights.scale is None else numbers * weights.scale
    shape = [-1 if d == axis else 1 for d in range(numbers.ndim)]
    matrix: AnyArray = numbers * weights.scale.reshape(shape)
    return matrix


def _scales(rows: AnyArray, dtype: np.dtype[np.generic]) -> AnyArray:
    """The best scale of each row; 1 for a row of zeros."""
    largest = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
    reach = np.abs(rows).max(axis=1)
    plain = np.where(reach > 0, reach / np.float32(largest), np.float32(1)).astype(np.float32)
    plain = np.maximum(plain, np.float32(2.0**-60))
    best, least = plain, np.full(len(rows), np.inf, np.float32)
    for number in range(_TRIED):
        scales = (plain * np.float32(2.0 ** (number / _TRIED))).astype(np.float32)
        back = (rows / scales[:, None]).astype(dtype).astype(np.float32) * scales[:, None]
        lost = ((rows - back) ** 2).sum(axis=1)
        best = np.where(lost < least, scales, best)
        least = np.minimum(lost, least)
    return best
