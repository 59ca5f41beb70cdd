"""What values of a tensor there are: range, outliers, histogram."""

import dataclasses
from typing import Any

import numpy as np

from edgecomp.calibrate.histogram import BINS_PER_SIDE, Histogram
from edgecomp.calibrate.ranges import Range
from edgecomp.graph.constants import AnyArray

#: Bars of a histogram that is shown.
BARS = 64
#: Share of the values that counts as the usual ones.
_USUAL = 0.999


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The values of a tensor over all samples.

    Attributes:
        low: least value.
        high: greatest value.
        outlier_ratio: largest magnitude over that which 99.9 % of the values stay below: 10 says
            that a tenth of the stored numbers are for all but one value in a thousand.
        clipped: part of the values outside the range that is stored, None where all are in it
            by definition.
        stored: ends of the range that is stored, None for weights.
        counts: of values in ``BARS`` equal bars from ``low`` to ``high``.
    """

    low: float
    high: float
    outlier_ratio: float
    clipped: float | None
    stored: tuple[float, float] | None
    counts: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def distribution_of(histogram: Histogram, stored: Range | None = None) -> Distribution:
    """Of activations, which are stored in a range."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    width = histogram.width
    centres = (np.arange(2 * BINS_PER_SIDE) - BINS_PER_SIDE + 0.5) * width
    counts = histogram.counts.astype(np.float64)
    clipped = None
    if stored is not None:
        outside = (centres < stored.low - width / 2) | (centres > stored.high + width / 2)
        clipped = float(counts[outside].sum() / max(1, histogram.total))
    bars = np.zeros(BARS, np.int64)
    if high > low:
        places = np.clip((centres - low) / (high - low) * BARS, 0, BARS - 1).astype(np.intp)
        bars += np.bincount(places, histogram.counts, BARS).astype(np.int64)
        zero = min(BARS - 1, int((0.0 - low) / (high - low) * BARS))
        bars[zero] += histogram.zeros
    return Distribution(
        float(low),
        float(high),
        _outlier_ratio(np.abs(centres), counts, histogram.zeros, max(-low, high)),
        clipped,
        None if stored is None else (stored.low, stored.high),
        tuple(int(count) for count in bars),
    )


def distribution_of_weights(weights: AnyArray) -> Distribution:
    """Of weights, whose scales hold their largest magnitudes."""
    histogram = Histogram()
    histogram.add(weights)
    return distribution_of(histogram)


def _outlier_ratio(
    magnitudes: AnyArray, counts: AnyArray, zeros: int, largest: float
) -> float:
    order = np.argsort(magnitudes, kind="stable")
    share = zeros + np.cumsum(counts[order])
    if not share[-1] or not largest:
        return 1.0
    usual = magnitudes[order][int(np.searchsorted(share, _USUAL * share[-1]))]
    return float(largest / usual) if usual else 1.0
