"""A histogram that grows: one pass over data whose range is not known beforehand."""

import numpy as np
import numpy.typing as npt

from edgecomp.graph.integer import AnyArray

#: Bins on each side of zero. At least half of them are in use on the wider side.
BINS_PER_SIDE = 4096
_BINS = 2 * BINS_PER_SIDE
#: Numbers counted at once: what is made of them stays in a cache.
_PIECE = 1 << 15


class Histogram:
    """Counts of real numbers in equal bins over [-reach, reach]; reach is a power of two.

    Where a value lies outside, reach doubles and neighbouring bins merge in pairs, which is
    exact because their edges stay edges. Zero is always an edge.

    Attributes:
        low: least number seen; ``inf`` before any.
        high: greatest number seen; ``-inf`` before any.
        finite: False once a NaN or an infinity was seen; the counts leave them out.
        counts: int64 [2 * BINS_PER_SIDE], without exact zeros.
        zeros: how many numbers were exactly zero: any range stores them exactly.
        reach: the counts cover [-reach, reach]; 0 while only zeros were seen.
    """

    def __init__(self) -> None:
        self.low = np.inf
        self.high = -np.inf
        self.finite = True
        self.counts: npt.NDArray[np.int64] = np.zeros(_BINS, np.int64)
        self.reach = 0.0
        self.zeros = 0

    @property
    def width(self) -> float:
        """Extent of one bin."""
        return self.reach / BINS_PER_SIDE

    @property
    def total(self) -> int:
        """How many numbers were counted."""
        return int(self.counts.sum()) + self.zeros

    def add(self, array: AnyArray) -> None:
        """Count the elements of a float array."""
        flat = array.reshape(-1)
        low, high = limits_of(flat)
        if not (np.isfinite(low) and np.isfinite(high)):
            self.finite = False
            flat = flat[np.isfinite(flat)]
            low, high = limits_of(flat)
        if flat.size == 0:
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        largest = max(-low, high)
        zeros = flat.size - int(np.count_nonzero(flat))
        self.zeros += zeros
        if largest == 0.0:
            return
        self._grow(largest)
        self._count(flat)
        self.counts[BINS_PER_SIDE] -= zeros

    def copy(self) -> "Histogram":
        """As it is now."""
        made = Histogram()
        made.__dict__.update(self.__dict__)
        made.counts = self.counts.copy()
        return made

    def dense(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Centres and counts, without zeros, of the bins from the first to the last in use.

        Only where something else than zeros was seen.
        """
        counts = self.counts.astype(np.float64)
        used = np.flatnonzero(counts)
        first, last = int(used[0]), int(used[-1])
        places = np.arange(first, last + 1, dtype=np.float64)
        centres = (places - BINS_PER_SIDE + 0.5) * self.width
        return centres, counts[first : last + 1]

    def _grow(self, largest: float) -> None:
        if self.reach == 0.0:
            self.reach = float(2.0 ** np.ceil(np.log2(largest)))
        while self.reach < largest:
            pairs = self.counts.reshape(BINS_PER_SIDE, 2).sum(axis=1)
            self.counts = np.zeros(_BINS, np.int64)
            quarter = BINS_PER_SIDE // 2
            self.counts[quarter : quarter + BINS_PER_SIDE] = pairs
            self.reach *= 2.0

    def _count(self, flat: AnyArray) -> None:
        scale = np.float32(BINS_PER_SIDE / self.reach)
        for start in range(0, flat.size, _PIECE):
            place = flat[start : start + _PIECE].astype(np.float32)
            place *= scale
            np.floor(place, out=place)
            place += BINS_PER_SIDE
            # The greatest number may lie on the last edge.
            np.minimum(place, _BINS - 1, out=place)
            self.counts += np.bincount(place.astype(np.intp), minlength=_BINS)


def limits_of(flat: AnyArray) -> tuple[float, float]:
    """Least and greatest element; NaN where there is one; (inf, -inf) of nothing."""
    if flat.size == 0:
        return np.inf, -np.inf
    return float(flat.min()), float(flat.max())
