"""Inner products with half as many multiplications for two thirds of K.

S. Winograd, "A New Algorithm for Inner Product" (IEEE Transactions on Computers C-17, 1968). Two
products of a row x and a column w take one multiplication and two additions,

    x_i w_i + x_j w_j = (x_i + w_j) (x_j + w_i) - x_i x_j - w_i w_j

where the last two terms are sums of the row alone and of the column alone. With every other pair
the signs of these are turned over, so that they do not grow:

    x_i w_i + x_j w_j = x_i x_j + w_i w_j - (w_j - x_i) (w_i - x_j)

Rounding errors follow the larger one of x and w, so both are scaled by powers of two, which is
exact: every row of x, every column of the weights, and every element of K in both.
"""

import dataclasses

import numpy as np

from edgecomp.plan.values import Array

#: The number of pairs is a multiple of it: vectors of so many are walked.
PAIR_STEP = 8
#: The fewest elements of K that have pairs.
LEAST_DEPTH = 3 * PAIR_STEP
#: Greatest binary exponent of a scale beside the middle one.
_MOST_EXPONENT = 20
#: Elements of K whose weights lie within this power of two of each other's middle have no factors.
_EVEN_EXPONENT = 2
#: The scale of a column of zeros.
_NOTHING = 2.0**-60


@dataclasses.dataclass(frozen=True)
class Pairing:
    """How the elements of K are multiplied.

    Element ``i`` below ``half`` is the partner of element ``half + i``, the sign of their pair is
    that of ``(-1) ** i``; the others are multiplied one by one.

    Attributes:
        depth: K.
        half: pairs.
    """

    depth: int
    half: int

    @classmethod
    def of(cls, depth: int) -> "Pairing":
        """Two thirds in pairs: units that add then have as much to do as those that multiply."""
        return cls(depth, depth // 3 // PAIR_STEP * PAIR_STEP)

    @property
    def rest(self) -> int:
        """Elements behind the last triple of a pair and a single one."""
        return self.depth - 3 * self.half

    @property
    def order(self) -> Array:
        """Elements of K in the order in which the loop reads their weights: [depth]."""
        even = np.arange(0, self.half, 2)
        half = self.half
        turns = np.stack(
            [
                even,
                even + half,
                even + 1,
                even + 1 + half,
                even + 2 * half,
                even + 1 + 2 * half,
            ]
        )
        return np.concatenate([turns.T.reshape(-1), np.arange(3 * half, self.depth)])

    @property
    def signs(self) -> Array:
        """Of the pairs, float64 [half]."""
        return np.where(np.arange(self.half) % 2 == 0, 1.0, -1.0)


@dataclasses.dataclass(frozen=True)
class PairedWeights:
    """Constants of a product.

    Attributes:
        weights: float32 [columns, K], scaled.
        start: float32 [columns], what accumulators start from: the pairs' own products, negative.
        factors: float32 [K] of x, powers of two; None where all are 1.
        multiplier: float32 [columns] of the results, powers of two.
    """

    weights: Array
    start: Array
    factors: Array | None
    multiplier: Array


def pair_weights(weights: Array, pairing: Pairing) -> PairedWeights:
    """Scale the weights of a product.

    Args:
        weights: float32 [columns, K].
        pairing: of K.
    """
    exact = weights.astype(np.float64)
    factors = _factors(np.abs(exact).mean(axis=0))
    if factors is not None:
        exact /= factors
    sizes = np.abs(exact).mean(axis=1)
    # What the row of x alone leaves in a column of zeros becomes nothing beside the bias.
    multiplier = np.where(sizes > 0, _scales(sizes), _NOTHING)
    exact /= multiplier[:, None]
    half = pairing.half
    products = exact[:, :half] * exact[:, half : 2 * half]
    return PairedWeights(
        exact.astype(np.float32),
        -(products @ pairing.signs).astype(np.float32),
        None if factors is None else factors.astype(np.float32),
        multiplier.astype(np.float32),
    )


def _factors(sizes: Array) -> Array | None:
    """Scales of the elements of K beside the middle one; None where they differ little."""
    scales = _scales(sizes)
    scales /= 2.0 ** np.floor(np.median(np.log2(scales)))
    even = (np.abs(np.log2(scales)) <= _EVEN_EXPONENT).all()
    return None if even else scales


def _scales(sizes: Array) -> Array:
    """Powers of two near mean magnitudes, none far from the middle one; 0 has the middle one."""
    known = sizes[sizes > 0]
    if not known.size:
        return np.ones_like(sizes)
    exponents = np.floor(np.log2(np.where(sizes > 0, sizes, np.median(known))))
    middle = np.floor(np.median(exponents))
    limited = np.clip(exponents, middle - _MOST_EXPONENT, middle + _MOST_EXPONENT)
    scales: Array = 2.0**limited
    return scales
