"""A chain of calls in strips: each thread takes a part of the image through all of them.

    expand: all rows | depthwise: all rows           (two threads share each, and wait twice)
    ->
    strip 1: expand rows 0-27, depthwise rows 0-26   (one thread each, nobody waits, and what a
    strip 2: expand rows 28-55, depthwise rows 27-55  core reads it has written itself)

Rows that the windows of two neighbouring strips share are computed before, in strips of their
own: nothing is computed twice. Within its strip a thread goes band by band, so that what it
reads is in its level-2 cache.
"""

import bisect
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from edgecomp.schedules.schedule import Progress

#: Strips of a chain, at most: for as many threads.
STRIPS = 4


@dataclasses.dataclass(frozen=True)
class Part:
    """Runs of items of one call of the chain.

    Attributes:
        call: its number in the chain.
        first, end: runs ``[first, end)`` of the call's ``Progress``.
    """

    call: int
    first: int
    end: int


#: Runs [first, end) of each call of a chain.
Share = list[tuple[int, int]]


def cut_strips(chain: Sequence[Progress], bands: int) -> list[list[list[Part]]]:
    """Strips of a chain in which each call reads what the one before has written.

    Args:
        chain: how each call goes through its image.
        bands: in which the images pass through the caches, in all.

    Returns:
        Groups of strips: one group after the other, the strips of a group beside each other.
        One group of one strip where the images are too low to be shared.
    """
    for count in range(min(STRIPS, len(chain[-1].items)), 0, -1):
        shares = [_share(chain, strip, count) for strip in range(count)]
        seams = [_seam(above, below) for above, below in itertools.pairwise(shares)]
        own = [_own(shares, seams, strip) for strip in range(count)]
        if all(first <= end for share in own for first, end in share):
            shared = [parts for parts in map(_parts, seams) if parts]
            strips = [list(_banded(chain, share, -(-bands // count))) for share in own]
            return [shared, strips] if shared else [strips]
    raise AssertionError("one strip has no seams")


def _share(chain: Sequence[Progress], strip: int, count: int) -> Share:
    """What a strip's part of the last image needs, of each call."""
    runs = len(chain[-1].items)
    share = [(-(-strip * runs // count), -(-(strip + 1) * runs // count))]
    for reader, writer in zip(chain[:0:-1], chain[-2::-1], strict=True):
        first, end = share[0]
        first = run_of(writer.begun, reader.first[first] + 1) if strip > 0 else 0
        last = strip == count - 1  # its share goes to the end, with rows that nobody reads
        share.insert(0, (first, len(writer.items) if last else runs_for(writer, reader, end)))
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


def _parts(share: Share) -> list[Part]:
    return [
        Part(number, first, end) for number, (first, end) in enumerate(share) if first < end
    ]


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


def group_bounds(strips: Sequence[int]) -> list[tuple[int, int]]:
    """First and last call of each call's group; of a call without a strip, itself.

    Args:
        strips: of all calls of a plan.
    """
    bounds: list[tuple[int, int]] = []
    for number, strip in enumerate(strips):
        starts = (
            strip == 0 or number == 0 or strips[number - 1] == 0 or strip < strips[number - 1]
        )
        bounds.append((number if starts else bounds[-1][0], number))
    for number in reversed(range(len(bounds) - 1)):
        if bounds[number][0] == bounds[number + 1][0]:
            bounds[number] = bounds[number + 1]
    return bounds
