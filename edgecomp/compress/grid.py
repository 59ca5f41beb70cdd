"""The numbers a weight may become: scales and zero points of groups.

A column of a matrix [K, N] is cut into groups of neighbours in K. Each group has a scale, and a
zero point where the form is asymmetric:

    stored = clip(rint(w / scale) + zero, 0, 2**bits - 1)       w' = (stored - zero) * scale

Symmetric forms have the zero point in the middle, ``2**(bits - 1)``, and a scale that puts the
largest magnitude half a step beyond the greatest number: clipping it costs no more than rounding
others does, and all numbers are used.

Of 1 bit are signs: ``w' = (2 * stored - 1) * scale``, where the scale of least squared error is the
mean magnitude of the group.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from edgecomp.graph.grouped_scales import with_short_mantissa
from edgecomp.graph.packed_weights import PackedWeights

Real = npt.NDArray[np.float64]
Scales = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.uint8]

#: Parts of the full range that the method ``mse`` tries as the reach of a group.
_SHARES = np.linspace(1.0, 0.4, 31)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightForm:
    """How weights are stored.

    Attributes:
        bits: 1, 2, 3, 4 or 8.
        group: elements of K with one scale; 0 for whole columns.
        symmetric: whether the zero point is the middle.
        multiples: scales of an output's groups are whole multiples of one, up to this; 0 for
            any scales.
        ranges: ``minmax``: a group's scale reaches its largest weights; ``mse``: it is the one
            of least squared error.
    """

    bits: int
    group: int = 0
    symmetric: bool = True
    ranges: str = "minmax"
    multiples: int = 0

    @property
    def largest(self) -> int:
        """Greatest stored number."""
        return (1 << self.bits) - 1

    def block(self, depth: int) -> int:
        """Elements of a group in a matrix of ``depth`` rows; the last group may have fewer."""
        return min(self.group, depth) if self.group else depth


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """What the weights of one group of every column may become.

    Attributes:
        scale: float32 [N].
        zero: uint8 [N].
        largest: greatest stored number.
    """

    scale: Scales
    zero: Numbers
    largest: int

    def store(self, weight: Real) -> Numbers:
        """Nearest numbers of weights [.., N]."""
        if self.largest == 1:
            return (weight >= 0).astype(np.uint8)
        steps = np.rint(weight / self.scale.astype(np.float64)) + self.zero
        return np.clip(steps, 0, self.largest).astype(np.uint8)

    def real(self, numbers: Numbers) -> Real:
        """Weights of numbers [.., N], rounded to float32 as kernels have them."""
        steps = numbers.astype(np.float32) - self.zero.astype(np.float32)
        if self.largest == 1:
            steps = 2 * steps - 1
        real: Real = (steps * self.scale).astype(np.float64)
        return real


def grid_of(group: Real, form: WeightForm, importance: Real | None = None) -> Grid:
    """Scale and zero point of each column of a group [k, N].

    Args:
        group: weights.
        form: of the numbers.
        importance: of each input [k], by which ``mse`` weighs squared errors; all alike for None.
    """
    if form.bits == 1:
        scale = _usable(np.abs(group).mean(axis=0))
        return Grid(scale, np.zeros(scale.shape, np.uint8), form.largest)
    best = _grid(group, form, 1.0)
    if form.ranges == "minmax":
        return best
    error = _squared_error(group, best, importance)
    for share in _SHARES[1:]:
        other = _grid(group, form, float(share))
        found = _squared_error(group, other, importance)
        better = found < error
        error = np.where(better, found, error)
        best = Grid(
            np.where(better, other.scale, best.scale),
            np.where(better, other.zero, best.zero),
            form.largest,
        )
    return best


def grids_of(weight: Real, form: WeightForm, importance: Real | None = None) -> list[Grid]:
    """The grid of every group of a matrix [K, N]; see ``grid_of``."""
    block = form.block(len(weight))
    starts = range(0, len(weight), block)
    groups = [weight[at : at + block] for at in starts]
    heavy = [None if importance is None else importance[at : at + block] for at in starts]
    grids = [grid_of(group, form, own) for group, own in zip(groups, heavy, strict=True)]
    return _on_multiples(groups, grids, heavy, form) if form.multiples else grids


def _on_multiples(
    groups: list[Real], grids: list[Grid], heavy: list[Real | None], form: WeightForm
) -> list[Grid]:
    """The grids with scales that are whole multiples of the best unit found for each output."""
    scales = np.stack([grid.scale for grid in grids]).astype(np.float64)
    scales[np.stack([~group.any(axis=0) for group in groups])] = 0.0
    top = scales.max(axis=0)
    best, least = grids, np.full(top.shape, np.inf)
    for steps in range(form.multiples, form.multiples // 2, -1):
        unit = with_short_mantissa(
            np.where(top > 0, top / steps, 1.0), form.multiples.bit_length()
        )
        multiples = np.clip(np.rint(scales / unit), 1, form.multiples)
        tried = [
            dataclasses.replace(grid, scale=(multiple * unit).astype(np.float32))
            for grid, multiple in zip(grids, multiples, strict=True)
        ]
        parts = zip(groups, tried, heavy, strict=True)
        error = np.sum([_squared_error(*part) for part in parts], axis=0)
        better = error < least
        least = np.where(better, error, least)
        best = [
            dataclasses.replace(old, scale=np.where(better, new.scale, old.scale))
            for old, new in zip(best, tried, strict=True)
        ]
    return best


def packed(numbers: Numbers, grids: list[Grid], form: WeightForm) -> PackedWeights:
    """Stored numbers [K, N] with their grids."""
    return PackedWeights(
        numbers=numbers,
        scales=np.stack([grid.scale for grid in grids]),
        zeros=np.stack([grid.zero for grid in grids]),
        bits=form.bits,
        block=form.block(len(numbers)),
    )


def _grid(group: Real, form: WeightForm, share: float) -> Grid:
    if form.symmetric:
        reach = np.abs(group).max(axis=0) * share
        scale = _usable(2.0 * reach / form.largest)
        return Grid(scale, np.full(scale.shape, 1 << form.bits - 1, np.uint8), form.largest)
    low = np.minimum(group.min(axis=0), 0.0) * share
    high = np.maximum(group.max(axis=0), 0.0) * share
    scale = _usable((high - low) / form.largest)
    zero = np.clip(np.rint(-low / scale), 0, form.largest)
    return Grid(scale, zero.astype(np.uint8), form.largest)


def _usable(scale: Real) -> Scales:
    """As float32; 1 where it would be zero, or subnormal, which is zero on some processors."""
    rounded = scale.astype(np.float32)
    return np.where(rounded >= np.finfo(np.float32).tiny, rounded, np.float32(1.0))


def _squared_error(group: Real, grid: Grid, importance: Real | None = None) -> Real:
    lost = (group - grid.real(grid.store(group))) ** 2
    error: Real = lost.sum(axis=0) if importance is None else importance @ lost
    return error
