"""A chain of calls in strips: each thread takes a part of the image through all of them.

    expand: all rows | depthwise: all rows           (two threads share each, and wait twice)
    ->
    strip 1: expand rows 0-26, depthwise rows 0-26   (one thread each; what a core reads it has
    strip 2: expand rows 27-55, depthwise rows 27-55  written itself, but for a few rows)

Rows that the windows of two neighbouring strips share, the seam, belong to the lower strip, which
computes them first; the upper one reads them last, when they have long been there. Nothing is
computed twice, and strips are cut so that each has about the same work, its seam included. Within
its strip a thread goes band by band, so that what it reads is in its level-2 cache. One thread
alone goes through the strips from top to bottom, with each seam where the strip above it ends.
"""

import bisect
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from edgecomp.plan.plan import NO_STRIP_FLAGS, StripFlag
from edgecomp.schedules.schedule import Progress

#: Strips of a chain that are tried, the most first: as many for each of 2 and of 4 threads.
STRIP_COUNTS = (4, 2)
#: Work of a half of the strips, at most, over an even share, for two threads; and of one of four
#: for four: else threads would wait for it longer than where they share each part.
MOST_WORK_OF_HALF = 1.1
MOST_WORK_OF_QUARTER = 1.35


@dataclasses.dataclass(frozen=True)
class Part:
    """Runs of items of one call of the chain.

    Attributes:
        call: its number in the chain.
        first, end: runs ``[first, end)`` of the call's ``Progress``.
        strip, flags: as in ``PlanCall``, without those of the first call of a group.
    """

    call: int
    first: int
    end: int
    strip: int = 0
    flags: StripFlag = NO_STRIP_FLAGS


#: Runs [first, end) of each call of a chain.
Share = list[tuple[int, int]]


def cut_strips(
    chain: Sequence[Progress], costs: Sequence[float], bands: int, most: int
) -> list[Part]:
    """The parts of a chain, in an order in which each reads what those before have written.

    Args:
        chain: how each call goes through its image.
        costs: of an item of each call, in any unit.
        bands: in which the images pass through the caches, in all.
        most: strips that are worth a thread each.

    Returns:
        Parts with strips, or without one where the images are too low to be shared.
    """
    for count in STRIP_COUNTS:
        if count > most:
            continue
        ends = _ends(chain, costs, count)
        if not ends:
            continue
        shares = [_share(chain, first, end) for first, end in itertools.pairwise(ends)]
        seams = [_seam(above, below) for above, below in itertools.pairwise(shares)]
        own = [_own(shares, seams, strip) for strip in range(count)]
        if all(first <= end for share in own for first, end in share):
            return _in_strips(chain, own, seams, -(-bands // count))
    return list(_banded(chain, [(0, len(progress.items)) for progress in chain], bands))


def _ends(chain: Sequence[Progress], costs: Sequence[float], count: int) -> list[int]:
    """Runs of the last call at which strips of about the same work begin, and the last end.

    Empty where there are too few runs, or these too coarse.
    """
    last = len(chain[-1].items)
    works = [_work_before(chain, costs, run) for run in range(last)]
    whole = sum(cost * call.items[-1] for cost, call in zip(costs, chain, strict=True))
    starts = [
        min(range(last), key=lambda run: (abs(works[run] - whole * strip / count), run))
        for strip in range(count)
    ]
    ends = [*starts, last]
    if any(low >= high for low, high in itertools.pairwise(ends)):
        return []
    borders = [*(works[start] for start in starts), whole]
    halves = borders[:: count // 2]
    even = _largest(borders) <= MOST_WORK_OF_QUARTER * whole / count
    return ends if even and _largest(halves) <= MOST_WORK_OF_HALF * whole / 2 else []


def _largest(borders: Sequence[float]) -> float:
    return max(high - low for low, high in itertools.pairwise(borders))


def _work_before(chain: Sequence[Progress], costs: Sequence[float], run: int) -> float:
    """Cost of what comes before the strip that begins with a run of the last call."""
    firsts = [first for first, _ in _share(chain, run, run + 1)]
    return sum(
        cost * (call.items[first - 1] if first else 0)
        for cost, call, first in zip(costs, chain, firsts, strict=True)
    )


def _share(chain: Sequence[Progress], first: int, end: int) -> Share:
    """What runs [first, end) of the last call need, of each call."""
    share = [(first, end)]
    at_top, at_bottom = first == 0, end == len(chain[-1].items)
    for reader, writer in zip(chain[:0:-1], chain[-2::-1], strict=True):
        first, end = share[0]
        first = 0 if at_top else run_of(writer.begun, reader.first[first] + 1)
        # The lowest strip goes to the end, with rows that nobody reads.
        end = len(writer.items) if at_bottom else runs_for(writer, reader, end)
        share.insert(0, (first, end))
    return share


def run_of(rows: Sequence[int], reached: int) -> int:
    """Number of the first run after which there are ``reached`` rows."""
    return min(bisect.bisect_left(rows, reached), len(rows) - 1)


def runs_for(writer: Progress, reader: Progress, end: int) -> int:
    """How many runs of the writer the first ``end`` runs of the reader wait for."""
    return run_of(writer.done, reader.needed[end - 1]) + 1


def _seam(above: Share, below: Share) -> Share:
    """What two neighbouring strips both need."""
    return [(low, max(low, high)) for (_, high), (low, _) in zip(above, below, strict=True)]


def _own(shares: Sequence[Share], seams: Sequence[Share], strip: int) -> Share:
    """A strip's share without the seams; its ends cross where these overlap."""
    own = []
    for number, (first, end) in enumerate(shares[strip]):
        if strip > 0:
            first = seams[strip - 1][number][1]
        if strip < len(seams):
            end = seams[strip][number][0]
        own.append((first, end))
    return own


def _in_strips(
    chain: Sequence[Progress], own: Sequence[Share], seams: Sequence[Share], bands: int
) -> list[Part]:
    """All strips' parts, each seam before what the strip above it reads of it."""
    parts: list[Part] = []
    for number, share in enumerate(own):
        strip = number + 1
        waiting = [
            Part(call, first, end, strip + 1, StripFlag.SEAM)
            for call, (first, end) in enumerate(seams[number] if number < len(seams) else ())
            if first < end
        ]
        for part in _banded(chain, share, bands):
            meets = number < len(seams) and _reads_past(chain, share, part)
            if meets:
                parts += waiting
                waiting = []
            flags = StripFlag.MEETS if meets else NO_STRIP_FLAGS
            parts.append(dataclasses.replace(part, strip=strip, flags=flags))
        parts += waiting
    return parts


def _reads_past(chain: Sequence[Progress], share: Share, part: Part) -> bool:
    """Whether a strip's part reads rows behind those that the strip computes itself."""
    if part.call == 0:
        return False
    writer = part.call - 1
    return runs_for(chain[writer], chain[part.call], part.end) > share[writer][1]


def _banded(chain: Sequence[Progress], share: Share, bands: int) -> Iterator[Part]:
    """A strip's runs: what the last call needs next comes just before it."""
    done = [first for first, _ in share]

    def advance(number: int, runs: int) -> Iterator[Part]:
        runs = min(runs, share[number][1])
        if runs <= done[number]:
            return
        if number:
            yield from advance(number - 1, runs_for(chain[number - 1], chain[number], runs))
        yield Part(number, done[number], runs)
        done[number] = runs

    last = len(chain) - 1
    first, end = share[last]
    for band in range(1, bands + 1):
        yield from advance(last, first - (first - end) * band // bands)
    for number in range(last):
        yield from advance(number, share[number][1])


def group_bounds(parts: Sequence[tuple[int, StripFlag]]) -> list[tuple[int, int]]:
    """First and last call of each call's group; of a call without a strip, itself.

    Args:
        parts: strip and flags of all calls of a plan.
    """
    bounds: list[tuple[int, int]] = []
    for number, (strip, flags) in enumerate(parts):
        starts = strip == 0 or StripFlag.BEGINS in flags
        bounds.append((number if starts else bounds[-1][0], number))
    for number in reversed(range(len(bounds) - 1)):
        if bounds[number][0] == bounds[number + 1][0]:
            bounds[number] = bounds[number + 1]
    return bounds
