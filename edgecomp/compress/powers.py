"""Weights rounded to powers of two: a sign and an exponent in four bits, and a scale per output.

    w  ~  scale * q        q in {0, +-1, +-1/2 ... +-1/64}

The levels are those of Zhou et al., "Incremental Network Quantization", 2017 (and, without 0, of
Miyashita, Lee and Murmann, "Convolutional Neural Networks using Logarithmic Data Representation",
2016). They take the scale from the largest weight; here it is that of least squared error of an
output's weights: from several starts within an octave the nearest levels for a scale and the best
scale for the levels, ``sum(w q) / sum(q q)``, are taken in turns, as Lloyd's method does, for a few
rounds. Nearest means by difference, so that the border between two
powers is one and a half times the lower one.
"""

import ml_dtypes
import numpy as np

from edgecomp.graph.constants import AnyArray
from edgecomp.graph.narrow_weights import NarrowWeights

#: Exponents of the least and the greatest level.
_LEAST, _GREATEST = -6, 0
#: Starts within a factor of two, and rounds from each.
_STARTS, _ROUNDS = 4, 3
#: The bits of a float32 that are its exponent.
_EXPONENT = np.uint32(0x7F800000)
#: Scales below it would not be moved behind the sums.
_LEAST_SCALE = 2.0**-60
_TINY = np.float32(1e-30)


def powers_of_two(weight: AnyArray, axis: int | None) -> NarrowWeights:
    """Round weights.

    Args:
        weight: finite float32.
        axis: that every index of has a scale of its own; None for one scale.

    Returns:
        The levels as float8 E5M2, which holds them all, and the scales.
    """
    moved = weight[None] if axis is None else np.moveaxis(weight, axis, 0)
    rows = np.ascontiguousarray(moved, np.float32).reshape(len(moved), -1)
    scales = _scales(rows)
    levels = nearest_levels(rows / scales[:, None]).astype(ml_dtypes.float8_e5m2)
    lying = levels.reshape(moved.shape)
    lying = lying[0] if axis is None else np.moveaxis(lying, 0, axis)
    return NarrowWeights(np.ascontiguousarray(lying), scales)


def nearest_levels(ratio: AnyArray) -> AnyArray:
    """The level nearest to each number: float32."""
    size = np.abs(ratio.astype(np.float32, copy=False))
    # A float's exponent says between which two powers it is; 4/3 moves the border to 1.5.
    power = ((size * np.float32(4 / 3)).view(np.uint32) & _EXPONENT).view(np.float32)
    np.clip(power, np.float32(2.0**_LEAST), np.float32(2.0**_GREATEST), out=power)
    power[size < np.float32(2.0 ** (_LEAST - 1))] = 0
    result: AnyArray = np.copysign(power, ratio, out=power)
    return result


def _scales(rows: AnyArray) -> AnyArray:
    """The best scale found for each row; 1 for a row of zeros."""
    reach = np.abs(rows).max(axis=1)
    plain = np.where(reach > 0, reach, np.float32(1)).astype(np.float32)
    plain = np.maximum(plain, np.float32(_LEAST_SCALE))
    best, least = plain, np.full(len(rows), np.inf, np.float32)
    for start in range(_STARTS):
        scales = (plain * np.float32(2.0 ** (-start / _STARTS))).astype(np.float32)
        for _ in range(_ROUNDS):
            levels = nearest_levels(rows / scales[:, None])
            power = np.einsum("rk,rk->r", levels, levels)
            product = np.einsum("rk,rk->r", rows, levels)
            # ||w - s q||^2 less ||w||^2, which all have in common.
            lost = scales * (scales * power - 2 * product)
            better = lost < least
            best, least = np.where(better, scales, best), np.where(better, lost, least)
            fitted = np.where(power > 0, product / np.maximum(power, _TINY), scales)
            scales = np.maximum(fitted, _LEAST_SCALE).astype(np.float32)
    return best.astype(np.float32)
