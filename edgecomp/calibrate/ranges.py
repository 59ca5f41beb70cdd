"""Choose the range of real numbers that a tensor's 256 stored numbers cover.

A wide range clips nothing and rounds coarsely, a narrow one the other way around. The methods
differ in what they weigh:

* minmax: nothing is clipped.
* percentile: a fixed share of the values is clipped.
* entropy: the distribution of the stored numbers loses least information (Kullback-Leibler
  divergence), after Migacz, "8-bit inference with TensorRT", 2017. A value that is very frequent
  must not share its stored number with others, which leads to narrow ranges: on digits, whose
  background is constant, 18 dB against 36 of mse (the published search over 2048 bins: 9 dB with
  256 levels, none with 128).
* mse: the squared error is least.
* ema: the moving average of every sample's ends (``observation.py``), so that one sample far off
  counts little; for data in a meaningful order the latest count most.

What a value is read for counts where that is known. Gelu makes nearly 0 of all that lies below -3:
numbers there need no place of their own, and half of the 256 is given to them if they are as large as
the others. So of a value that only a function reads ``mse`` takes the squared error of the function's
results, and every other method leaves out the ends from which on they no longer change.
"""

import dataclasses
import math

import numpy as np

from edgecomp.calibrate.histogram import Histogram
from edgecomp.graph.unary import Real, Unary

#: Those that choose from a histogram.
METHODS = ("minmax", "percentile", "entropy", "mse")
ALL_METHODS = (*METHODS, "ema")
#: Other names of methods.
ALIASES = {"kl": "entropy", "moving-average": "ema"}
DEFAULT_PERCENTILE = 99.99

_LEVELS = 256
# Thresholds that entropy and mse try, as shares of the full range.
_SHARES = np.linspace(0.02, 1.0, 99)
#: Numbers on each side of zero at which it is looked whether a function still changes.
_PLACES = 1024


@dataclasses.dataclass(frozen=True)
class Range:
    """Real numbers from ``low`` to ``high``; contains zero unless it is not finite."""

    low: float
    high: float

    @property
    def finite(self) -> bool:
        """Whether both ends are finite numbers."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def union(self, other: "Range") -> "Range":
        """The smallest range that contains both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    def widened(self, factor: float) -> "Range":
        """Both ends farther from zero."""
        return Range(self.low * factor, self.high * factor)

    def clipped(self, low: float, high: float) -> "Range":
        """What of the range lies in [low, high], and zero."""
        return Range(min(0.0, max(self.low, low)), max(0.0, min(self.high, high)))


NOT_FINITE = Range(math.nan, math.nan)


def minmax_range(low: float, high: float) -> Range:
    """The range of everything seen, widened to contain zero."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return NOT_FINITE
    return Range(min(0.0, low), max(0.0, high))


def percentile_range(histogram: Histogram, percentile: float = DEFAULT_PERCENTILE) -> Range:
    """The range that contains ``percentile`` per cent; half of the rest on each side."""
    full = minmax_range(histogram.low, histogram.high)
    if histogram.reach == 0.0 or not histogram.finite:
        return full if histogram.finite else NOT_FINITE
    centres, counts = histogram.dense()
    edges = np.append(centres - histogram.width / 2, centres[-1] + histogram.width / 2)
    counts[np.searchsorted(centres, 0.0).clip(0, len(counts) - 1)] += histogram.zeros
    share = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    tail = (100.0 - percentile) / 200.0
    low, high = np.interp([tail, 1.0 - tail], share, edges)
    return full.clipped(float(low), float(high))


def entropy_range(histogram: Histogram) -> Range:
    """The threshold, the same on both sides, that keeps most of the distribution."""
    full = minmax_range(histogram.low, histogram.high)
    if histogram.reach == 0.0 or not histogram.finite:
        return full if histogram.finite else NOT_FINITE
    centres, counts = histogram.dense()
    largest = max(-full.low, full.high)
    candidates = [full.clipped(-share * largest, share * largest) for share in _SHARES]
    costs = [_divergence(centres, counts, histogram.width, each) for each in candidates]
    # Among equal costs the widest range.
    return candidates[len(costs) - 1 - int(np.argmin(costs[::-1]))]


def mse_range(histogram: Histogram, function: Unary | None = None) -> Range:
    """The ends of least squared error, found one after the other, twice.

    Args:
        histogram: of the values.
        function: what alone reads them: then the error is that of its results.
    """
    full = minmax_range(histogram.low, histogram.high)
    if histogram.reach == 0.0 or not histogram.finite:
        return full if histogram.finite else NOT_FINITE
    centres, counts = histogram.dense()
    error = _ErrorOf(centres, counts, function)
    low, high = full.low, full.high
    for _ in range(2):
        if full.high > 0.0:
            errors = [error(low, s * full.high) for s in _SHARES]
            high = float(_SHARES[int(np.argmin(errors))] * full.high)
        if full.low < 0.0:
            errors = [error(s * full.low, high) for s in _SHARES]
            low = float(_SHARES[int(np.argmin(errors))] * full.low)
    return Range(low, high)


def range_of(
    histogram: Histogram,
    method: str,
    percentile: float = DEFAULT_PERCENTILE,
    function: Unary | None = None,
) -> Range:
    """The range of a histogram by a method's name.

    Args:
        histogram: of the values.
        method: its name.
        percentile: for the method of that name.
        function: what alone reads the values, None for anything else.
    """
    if not histogram.finite:
        return NOT_FINITE
    if method == "mse":
        return mse_range(histogram, function)
    if method == "percentile":
        found = percentile_range(histogram, percentile)
    elif method == "entropy":
        found = entropy_range(histogram)
    else:
        found = minmax_range(histogram.low, histogram.high)
    return within_changes(found, function)


def within_changes(limits: Range, function: Unary | None) -> Range:
    """The part of a range outside of which a function gives what it gives at the part's ends.

    Results that differ by no more than half of one of their 256 steps count as the same, so that
    ends where they still grow move by as little.
    """
    if function is None or not limits.finite:
        return limits
    places = np.linspace(0.0, 1.0, _PLACES)
    with np.errstate(all="ignore"):
        below, above = function(places * limits.low), function(places * limits.high)
    results = np.concatenate([below, above])
    if not np.isfinite(results).all():
        return limits
    alike = (results.max() - results.min()) / (_LEVELS - 1) / 2
    if alike == 0.0:
        return limits
    return Range(
        min(0.0, limits.low * float(places[_last_change(below, alike)])),
        max(0.0, limits.high * float(places[_last_change(above, alike)])),
    )


def _last_change(results: Real, alike: float) -> int:
    """The first index from which on all results are like the last one."""
    differs = np.flatnonzero(np.abs(results - results[-1]) > alike)
    return min(int(differs[-1]) + 1, len(results) - 1) if differs.size else 0


class _ErrorOf:
    """Sum of squared differences between values, or a function's results, and what is stored."""

    def __init__(self, centres: Real, counts: Real, function: Unary | None) -> None:
        self._centres, self._counts = centres, counts
        self._function = function
        if function is not None:
            with np.errstate(all="ignore"):
                self._wanted = function(centres)
            if not np.isfinite(self._wanted).all():
                self._function = None

    def __call__(self, low: float, high: float) -> float:
        """With a range."""
        scale = (high - low) / (_LEVELS - 1)
        if scale <= 0.0:
            return math.inf
        zero = np.rint(-low / scale)
        level = np.clip(np.rint(self._centres / scale) + zero, 0, _LEVELS - 1)
        if self._function is None:
            return float((self._counts * (self._centres - (level - zero) * scale) ** 2).sum())
        with np.errstate(all="ignore"):
            table = self._function((np.arange(_LEVELS) - zero) * scale)
            error = (self._counts * (self._wanted - table[level.astype(np.int64)]) ** 2).sum()
        return float(error) if np.isfinite(error) else math.inf


def _divergence(centres: Real, counts: Real, width: float, limits: Range) -> float:
    """Kullback-Leibler divergence of the stored distribution from the clipped one.

    Both are over the bins that the range reaches into. The clipped one has what lies outside
    added to its first and last bin; the stored one spreads each level's count evenly over the
    level's bins in use, and does not know what was clipped.
    """
    inside = (centres + width / 2 > limits.low) & (centres - width / 2 < limits.high)
    kept = counts[inside]
    if limits.high <= limits.low or not kept.any():
        return math.inf
    clipped = kept.copy()
    clipped[0] += counts[: int(np.argmax(inside))].sum()
    clipped[-1] += counts[len(counts) - int(np.argmax(inside[::-1])) :].sum()
    step = (limits.high - limits.low) / (_LEVELS - 1)
    nearest = np.rint((centres[inside] - limits.low) / step)
    level = np.clip(nearest, 0, _LEVELS - 1).astype(np.int64)
    used = clipped > 0
    per_level = np.bincount(level, kept, _LEVELS)
    bins_per_level = np.bincount(level, used.astype(np.float64), _LEVELS)
    spread = np.where(used, per_level[level] / np.maximum(bins_per_level[level], 1.0), 0.0)
    p, q = clipped / clipped.sum(), spread / spread.sum()
    # Smooth: a bin with mass in p and none in q would make the divergence infinite.
    return float((p[used] * np.log(p[used] / np.maximum(q[used], 1e-12))).sum())
