"""Whether more samples still change the ranges that are chosen."""

import dataclasses
from collections.abc import Mapping

from edgecomp.calibrate.observation import Observation, Values
from edgecomp.calibrate.ranges import Range, percentile_range
from edgecomp.graph.unary import Unary

#: How the range of one value is chosen: method and percentile.
Choice = tuple[str, float]

#: Values whose ranges are chosen twice to compare them, for ``drifts_of``.
MOST_COMPARED = 16
#: Where neither the ends nor the percentiles of two histograms differ by more than this share, no
#: method chooses noticeably different ranges.
_ALIKE = 0.02
_PERCENTILE = 99.9


@dataclasses.dataclass(frozen=True)
class Drift:
    """How much the range of a value changed.

    Attributes:
        name: of the value.
        before: range by about half of the samples.
        after: range by all of them.
        share: larger change of an end, in parts of the range by all.
    """

    name: str
    before: Range
    after: Range
    share: float


def change(before: Range, after: Range) -> float:
    """The larger change of an end in parts of the range after it; 0 of nothing."""
    width = after.high - after.low
    if not (before.finite and after.finite and width > 0.0):
        return 0.0
    return max(abs(after.low - before.low), abs(after.high - before.high)) / width


def drifts_of(
    observation: Observation,
    choices: Mapping[str, Choice],
    ranges: Mapping[str, Range],
    functions: Mapping[str, Unary],
) -> list[Drift]:
    """The values that changed most from half of the samples to all of them.

    Choosing ranges is slow, so that it is done for those only whose percentiles differ most.
    """
    half = observation.half()
    if half is None:
        return []
    suspects = {name: _proxy(half, observation.values, name) for name in choices}
    worst = sorted(suspects, key=lambda name: -suspects[name])[:MOST_COMPARED]
    found = []
    for name in worst:
        before = half.range_of(name, *choices[name], functions.get(name))
        share = change(before, ranges[name])
        found.append(Drift(name, before, ranges[name], share))
    return found


def has_settled(
    observation: Observation,
    choices: Mapping[str, Choice],
    tolerance: float,
    functions: Mapping[str, Unary],
) -> bool:
    """Whether the last doubling of the samples changed no range by more than a share of it."""
    before = observation.copies.get(observation.samples // 2)
    if before is None or observation.samples not in observation.copies:
        return False
    now = observation.values
    proxies = {name: _proxy(before, now, name) for name in choices}
    # The most suspicious first: the answer is mostly no, and then comes early.
    for name in sorted(proxies, key=lambda name: -proxies[name]):
        if proxies[name] <= min(_ALIKE, tolerance):
            break
        function = functions.get(name)
        ranges = (v.range_of(name, *choices[name], function) for v in (before, now))
        if change(*ranges) > tolerance:
            return False
    return True


def _proxy(before: Values, after: Values, name: str) -> float:
    """Cheap stand-in for the change of a range."""
    if after.kinds[name] != "histogram":
        return change(*(values.range_of(name, "minmax", 0.0) for values in (before, after)))
    one, other = before.histograms[name], after.histograms[name]
    return max(
        change(*(percentile_range(h, _PERCENTILE) for h in (one, other))),
        change(*(percentile_range(h, 100.0) for h in (one, other))),
    )
