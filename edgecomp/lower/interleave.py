"""Neighbouring calls in turns, band by band, where what is between them overflows the cache.

    expand: all rows, depthwise: all rows, reduce: all rows
    ->
    expand: rows 0-9, depthwise: rows 0-4, reduce: rows 0-4, expand: rows 10-17, ...

A call that reads a whole image of several megabytes finds it in memory or in a distant cache. In
turns it finds the band that was just written in the level-2 cache. Kernels and results are the
same: a call computes a part of its work items, of which its schedule says which rows they are
(``Progress``). Threads share such a chain by strips (``strips.py``).

Calls of a few microseconds are a chain too, whatever holds their images: what two threads gain by
sharing each they lose by waiting and by reading what the other has written.

All images of a chain live at once. One that would need much more memory than the calls one by one
is cut where an image in it is smallest, which a cache holds best.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from edgecomp.device.target import Target
from edgecomp.lower.grain import SHARE_NS, modelled_ns
from edgecomp.lower.select import Selected
from edgecomp.lower.strips import Part, cut_strips
from edgecomp.plan.plan import NO_STRIP_FLAGS, StripFlag
from edgecomp.plan.values import Value, largest_bytes
from edgecomp.schedules.cpu.bands import cache_bands
from edgecomp.schedules.schedule import KernelCall, Progress


@dataclasses.dataclass(frozen=True)
class Step:
    """A call of a kernel for some of its work items.

    Attributes:
        choice: the operation it belongs to.
        call: the whole call.
        first: its first work item.
        count: of work items.
        strip, strip_flags: as in ``PlanCall``.
    """

    choice: Selected
    call: KernelCall
    first: int
    count: int
    strip: int = 0
    strip_flags: StripFlag = NO_STRIP_FLAGS


Entry = tuple[Selected, KernelCall]

#: Calls that are modelled to take less are shared by strips of several.
SHORT_NS = 20000.0
#: Memory that the images of a chain may take, over that of the call of the plan that takes most.
MEMORY_SHARE = 1.25


def interleave(selected: Sequence[Selected], target: Target) -> list[Step]:
    """All calls in the order in which they run."""
    calls = [(choice, call) for choice in selected for call in choice.calls]
    most = MEMORY_SHARE * max((_image_bytes([entry]) for entry in calls), default=0)
    steps: list[Step] = []
    position = 0
    while position < len(calls):
        links = _longest_turns(_chain(calls, position, target), most, target)
        steps += links.steps
        position += sum(1 + len(link.fills) for link in links.chain)
    return steps


def _whole(entry: Entry) -> Step:
    choice, call = entry
    return Step(choice, call, 0, call.work_items)


@dataclasses.dataclass(frozen=True)
class _Link:
    """A call of a chain, and the calls before it that only fill memory, as halos."""

    entry: Entry
    fills: tuple[Entry, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Turns:
    """Links of a chain and the steps that they have become."""

    chain: Sequence[_Link]
    steps: list[Step]


def _only_fills(call: KernelCall) -> bool:
    return len(call.arguments) == 1 and call.launch is None


def _chain(calls: Sequence[Entry], start: int, target: Target) -> list[_Link]:
    """The longest chain from ``start`` on."""
    chain: list[_Link] = []
    pending: list[Entry] = []
    for entry in calls[start:]:
        if _only_fills(entry[1]):
            pending.append(entry)
            continue
        if chain and not _goes_on(chain, entry[1], pending, target):
            break
        chain.append(_Link(entry, tuple(pending)))
        pending = []
    return chain or [_Link(pending[0])]


def _goes_on(
    chain: Sequence[_Link], call: KernelCall, pending: Sequence[Entry], target: Target
) -> bool:
    """Whether a call belongs to a chain, with the fills between."""
    before = chain[-1].entry[1]
    image = before.arguments[-1]
    written = {id(_root(link.entry[1].arguments[-1])) for link in chain}
    others = {id(_root(argument)) for argument in call.arguments[1:]}
    return not (
        call.progress is None
        or before.progress is None
        or len(before.progress.items) == 1  # whole before its first row is complete
        or call.arguments[0] is not image
        or not isinstance(image, Value)
        or not (
            cache_bands(image.bytes, target.core.l2_bytes) > 1
            or _are_short(before, call, target)
        )
        or others & written
        or any(id(_root(fill.arguments[0])) in written for _, fill in pending)
    )


def _are_short(before: KernelCall, call: KernelCall, target: Target) -> bool:
    """Whether two neighbours are quick, but together worth sharing."""
    times = [modelled_ns(each, target) for each in (before, call)]
    return max(times) < SHORT_NS and sum(times) >= 2 * SHARE_NS


def _longest_turns(chain: Sequence[_Link], most: float, target: Target) -> _Turns:
    """Of as many of a chain's first calls as fit and gain by it; else the first one, whole."""
    for count in range(_fitting([link.entry for link in chain], most), 1, -1):
        steps = _in_turns(chain[:count], target)
        if steps:
            return _Turns(chain[:count], steps)
    first = chain[0]
    return _Turns(chain[:1], [_whole(entry) for entry in (*first.fills, first.entry)])


def _fitting(chain: Sequence[Entry], most: float) -> int:
    """How many of a chain's calls come first, so that their images take ``most`` bytes.

    It ends behind the smallest image that lets it fit, the last one of several. Two calls stay
    together whatever they take.
    """
    count = len(chain)
    while count > 2 and _image_bytes(chain[:count]) > most:
        ends = [_bytes_of(call.arguments[-1]) for _, call in chain[: count - 1]]
        count = max(range(1, count), key=lambda end: (-ends[end - 1], end))
    return count


def _image_bytes(calls: Sequence[Entry]) -> int:
    """Bytes of all that the calls read and write beside constants."""
    roots = {
        id(root): root
        for _, call in calls
        for root in map(_root, call.arguments)
        if isinstance(root, Value) and root.constant is None
    }
    return sum(largest_bytes(root) for root in roots.values())


def _bytes_of(argument: object) -> int:
    return largest_bytes(argument) if isinstance(argument, Value) else 0


def _root(argument: object) -> object:
    """The value whose memory an argument is."""
    while isinstance(argument, Value):
        below = argument.alias_of or argument.part_of
        if below is None:
            break
        argument = below
    return argument


def _in_turns(chain: Sequence[_Link], target: Target) -> list[Step]:
    """The chain's calls in bands: what the last one needs next comes just before it.

    Empty where a cache holds its images and no strips can be cut.
    """
    calls = [link.entry[1] for link in chain]
    progress = [call.progress for call in calls]
    images = [call.arguments[0].bytes for call in calls[1:]]  # type: ignore[union-attr]
    bands = cache_bands(max(images), target.core.l2_bytes)
    times = [modelled_ns(call, target) for call in calls]
    costs = [time / call.work_items for time, call in zip(times, calls, strict=True)]
    most = max(1, int(sum(times) / SHARE_NS))
    parts = cut_strips(progress, costs, bands, most)  # type: ignore[arg-type]
    if bands == 1 and parts[0].strip == 0:
        return []
    before, fills = _place_fills(chain, parts)
    steps = [
        step
        for number, part in enumerate(parts)
        for step in (*fills[number], _step(chain, part))
    ]
    if parts[0].strip:
        flags = steps[0].strip_flags | StripFlag.BEGINS
        flags = flags | StripFlag.SHORT if bands == 1 else flags
        steps[0] = dataclasses.replace(steps[0], strip_flags=flags)
    return before + steps


def _step(chain: Sequence[_Link], part: Part) -> Step:
    choice, call = chain[part.call].entry
    assert call.progress is not None
    first, end = _items(call.progress, part.first, part.end)
    return Step(choice, call, first, end - first, part.strip, part.flags)


def _items(progress: Progress, first: int, end: int) -> tuple[int, int]:
    """Work items of runs [first, end)."""
    ends = (0, *progress.items)
    return ends[first], ends[end]


def _place_fills(
    chain: Sequence[_Link], parts: Sequence[Part]
) -> tuple[list[Step], list[list[Step]]]:
    """The fills before the chain, and those before each part.

    A strip fills the halo of its own rows: a thread that filled all of them would have to give
    the others its cache lines, which takes longer than to write them.
    """
    before: list[Step] = []
    behind: list[list[Step]] = [[] for _ in parts]
    for number, link in enumerate(chain):
        for fill in link.fills:
            if parts[0].strip == 0 or not _is_halo_of(fill[1], link.entry[1]):
                before.append(_whole(fill))
                continue
            for place, step in _fill_by_strips(fill, link.entry[1], number, parts):
                behind[place].append(step)
    return before, behind


def _is_halo_of(fill: KernelCall, call: KernelCall) -> bool:
    """Whether a fill is that of the rows that a call of a chain writes."""
    return (
        fill.arguments[0] is call.arguments[-1]
        and fill.progress is not None
        and call.progress is not None
        and fill.progress.done[-1] == call.progress.done[-1]
    )


def _fill_by_strips(
    fill: Entry, call: KernelCall, number: int, parts: Sequence[Part]
) -> Iterator[tuple[int, Step]]:
    """For each strip and each seam the halo of the rows that it completes.

    Args:
        fill: of the halo.
        call: writes the rows.
        number: of the call in the chain.
        parts: of the chain.

    Yields:
        The first part of the strip or seam, and the step that belongs before it.
    """
    assert call.progress is not None
    assert fill[1].progress is not None
    done = (0, *call.progress.done)
    runs: dict[tuple[int, StripFlag], list[int]] = {}
    for place, part in enumerate(parts):
        if part.call == number:
            runs.setdefault((part.strip, part.flags & StripFlag.SEAM), []).append(place)
    for (strip, flags), places in runs.items():
        rows = done[parts[places[0]].first], done[parts[places[-1]].end]
        first, end = _items(fill[1].progress, *rows)
        if first < end:
            yield places[0], Step(*fill, first, end - first, strip, flags)
