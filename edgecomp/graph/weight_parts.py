"""Weights as sums of int8 parts whose products with activations cannot leave int32.

    w = parts[0] + parts[1] * base + parts[2] * base^2 ...         likewise the bias
    acc = acc[0] + acc[1] * base + ...                  each acc[p] = sum(x * parts[p]) + b[p]

Digits are balanced, so that they are as small as can be: with one part for most int8 weights under
16-bit activations, two for 16-bit weights. That an accumulator fits is known from the weights
themselves: ``greatest_x * sum(|parts[p]|) + |b[p]| < 2^31`` for each channel. Additions in int32
wrap, so what lies between does not matter.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from edgecomp.graph.integer import AnyArray

_INT32_LIMIT = 2**31
#: Whole numbers up to it are exact in float32, in which some kernels give sums of bytes.
FLOAT32_LIMIT = 2**24
_GREATEST_DIGIT = 127
_MOST_PARTS = 4
#: Whole numbers below it are exact in float64, by which parts are brought together.
EXACT = 2**53


@dataclasses.dataclass(frozen=True, eq=False)
class WeightParts:
    """Parts of the weights and biases of a product, the lowest first.

    Attributes:
        base: what one part is worth in the one before it; odd.
        weights: int8, each of the weights' shape.
        biases: int32 per channel.
    """

    base: int
    weights: tuple[npt.NDArray[np.int8], ...]
    biases: tuple[npt.NDArray[np.int32], ...]


def weight_parts(
    weight: AnyArray,
    bias: AnyArray,
    channel_axis: int,
    greatest_x: int,
    limit: int = _INT32_LIMIT,
) -> WeightParts | None:
    """The fewest parts that are sure to fit; None where there are none.

    With a bias of smaller magnitude there are as many or fewer.

    Args:
        weight: whole numbers.
        bias: whole numbers per channel.
        channel_axis: of the weights.
        greatest_x: magnitude of activations.
        limit: no accumulator reaches it.
    """
    wide = weight.astype(np.int64)
    others = tuple(d for d in range(weight.ndim) if d != channel_axis)
    reach = np.abs(wide).sum(axis=others) * greatest_x + np.abs(bias.astype(np.int64))
    if int(reach.max(initial=0)) >= EXACT:
        return None
    for count in range(1, _MOST_PARTS + 1):
        base = _base(int(np.abs(wide).max(initial=0)), count)
        if base // 2 > _GREATEST_DIGIT:
            continue
        weights = _digits(wide, base, count)
        biases = _digits(bias.astype(np.int64), base, count)
        starts = [np.full_like(biases[-1], _GREATEST_DIGIT)] * (count - 1) + biases[-1:]
        if all(
            _fits(w, b, others, greatest_x, limit)
            for w, b in zip(weights, starts, strict=True)
        ):
            return WeightParts(
                base,
                tuple(w.astype(np.int8) for w in weights),
                tuple(b.astype(np.int32) for b in biases),
            )
    return None


def _base(greatest: int, count: int) -> int:
    """The least odd base in which ``count`` balanced digits reach a magnitude."""
    base = max(3, int((2 * greatest + 1) ** (1 / count)) // 2 * 2 - 1)
    while (base**count - 1) // 2 < greatest:
        base += 2
    return base


def _digits(numbers: AnyArray, base: int, count: int) -> list[AnyArray]:
    """Balanced digits, the lowest first; the last one is what is left."""
    found, rest = [], numbers
    for _ in range(count - 1):
        digit = (rest + base // 2) % base - base // 2
        found.append(digit)
        rest = (rest - digit) // base
    return [*found, rest]


def _fits(
    weight: AnyArray, bias: AnyArray, others: tuple[int, ...], greatest_x: int, limit: int
) -> bool:
    if np.abs(weight).max(initial=0) > _GREATEST_DIGIT:
        return False
    reach = np.abs(weight).sum(axis=others) * greatest_x + np.abs(bias)
    return int(reach.max(initial=0)) < limit
