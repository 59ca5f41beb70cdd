"""How near one array is to another, over any number of samples, in bounded memory."""

import math

import numpy as np
import numpy.typing as npt

from edgecomp.calibrate.histogram import BINS_PER_SIDE, Histogram
from edgecomp.graph.constants import AnyArray

#: Bins on each side of zero that the divergence is taken over: few, because stored numbers
#: that lie on another grid than the bins would look like another distribution.
DIVERGENCE_BINS_PER_SIDE = 64
#: Share that every bin of the approximation has at least: what it lacks costs much, not all.
_LEAST_SHARE = 1e-6

#: Numbers looked at at once: what is made of them stays in a cache.
_PIECE = 1 << 15

Real = npt.NDArray[np.float64]


class Similarity:
    """Signal to noise, cosine and divergence of results from what they should be.

    Sums are float64 over all samples: a sample with larger values weighs more.

    Args:
        divergence: whether distributions are compared too, which costs a histogram of each.
    """

    def __init__(self, *, divergence: bool = True) -> None:
        self._signal = self._noise = self._found = self._product = 0.0
        self._finite = True
        self._histograms = (Histogram(), Histogram()) if divergence else None

    def add(self, expected: AnyArray, found: AnyArray) -> None:
        """Take in one sample."""
        one, other = expected.reshape(-1), found.reshape(-1)
        sums = np.zeros(4)
        for start in range(0, one.size, _PIECE):
            a = one[start : start + _PIECE].astype(np.float64)
            b = other[start : start + _PIECE].astype(np.float64)
            with np.errstate(invalid="ignore"):
                difference = a - b
            pairs = ((a, a), (b, b), (a, b), (difference, difference))
            sums += [_sum_of_products(*pair) for pair in pairs]
        if not np.isfinite(sums).all():
            self._finite = False
            return
        self._signal, self._found, self._product, self._noise = (
            float(before + own)
            for before, own in zip(
                (self._signal, self._found, self._product, self._noise), sums, strict=True
            )
        )
        if self._histograms is not None:
            self._histograms[0].add(expected)
            self._histograms[1].add(found)

    @property
    def is_silent(self) -> bool:
        """Whether all that should be is zero, to which no error has a ratio."""
        return self._finite and not self._signal

    @property
    def noise_to_signal(self) -> float:
        """Squared error over squared signal; infinite where the error is all there is."""
        if not self._finite:
            return math.inf
        if self._noise == 0.0:
            return 0.0
        return self._noise / self._signal if self._signal else math.inf

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise; infinite where both are the same."""
        return decibels(self.noise_to_signal)

    @property
    def cosine(self) -> float:
        """Of the angle between both; 1 of two zeros."""
        if not self._finite:
            return math.nan
        if not self._signal or not self._found:
            return 1.0 if self._signal == self._found else 0.0
        return self._product / math.sqrt(self._signal * self._found)

    @property
    def divergence(self) -> float:
        """Kullback-Leibler divergence of the found distribution from the expected one, in nats.

        Over bins of a 64th of the smallest power of two that holds all expected values; what
        was found beyond them is in the outermost ones.
        """
        if self._histograms is None or not self._finite:
            return math.nan
        return divergence(*self._histograms)


def _sum_of_products(a: Real, b: Real) -> float:
    # Not a @ b: starting the threads of a matrix library takes longer than so few products.
    return float(np.einsum("i,i->", a, b))


def decibels(noise_to_signal: float) -> float:
    """A ratio of powers as signal to noise."""
    if noise_to_signal == 0.0:
        return math.inf
    return -10.0 * math.log10(noise_to_signal) if noise_to_signal < math.inf else -math.inf


def finite(value: float) -> float | None:
    """A figure for JSON, which has no infinite ones."""
    return value if math.isfinite(value) else None


def noise_of(db: float) -> float:
    """The noise to signal of a number of decibels."""
    return float(10.0 ** (-db / 10.0))


def divergence(expected: Histogram, found: Histogram) -> float:
    """See ``Similarity.divergence``."""
    if not expected.total or not found.total:
        return 0.0
    reach = expected.reach or found.reach or 1.0
    p, q = (_shares(each, reach) for each in (expected, found))
    q = (q + _LEAST_SHARE) / (1.0 + _LEAST_SHARE * q.size)
    used = p > 0.0
    return float((p[used] * np.log(p[used] / q[used])).sum())


def _shares(histogram: Histogram, reach: float) -> Real:
    """Part of the values in each of the bins over [-reach, reach]."""
    bins = 2 * DIVERGENCE_BINS_PER_SIDE
    counts = np.zeros(bins)
    if histogram.reach:
        width = histogram.reach / BINS_PER_SIDE
        centres = (np.arange(2 * BINS_PER_SIDE) - BINS_PER_SIDE + 0.5) * width
        places = np.floor(centres * (DIVERGENCE_BINS_PER_SIDE / reach))
        places = np.clip(places + DIVERGENCE_BINS_PER_SIDE, 0, bins - 1).astype(np.intp)
        counts += np.bincount(places, histogram.counts, bins)
    counts[DIVERGENCE_BINS_PER_SIDE] += histogram.zeros
    shares: Real = counts / counts.sum()
    return shares
