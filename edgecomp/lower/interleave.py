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
from collections.abc import Sequence

from edgecomp.device.target import Target
from edgecomp.lower.grain import SHARE_NS, modelled_ns
from edgecomp.lower.select import Selected
from edgecomp.lower.strips import cut_strips
from edgecomp.plan.plan import NO_STRIP_FLAGS, StripFlag
from edgecomp.plan.values import Value, largest_bytes
from edgecomp.schedules.cpu.bands import cache_bands
from edgecomp.schedules.schedule import KernelCall


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
        chain = _chain(calls, position, target)
        turns = _longest_turns([link.entry for link in chain], most, target)
        chain = chain[: len({id(step.call) for step in turns})]
        steps += [_whole(fill) for link in chain for fill in link.fills]
        steps += turns
        position += sum(1 + len(link.fills) for link in chain)
    return steps


def _whole(entry: Entry) -> Step:
    choice, call = entry
    return Step(choice, call, 0, call.work_items)


@dataclasses.dataclass(frozen=True)
class _Link:
    """A call of a chain, and the calls before it that only fill halos."""

    entry: Entry
    fills: tuple[Entry, ...] = ()


def _chain(calls: Sequence[Entry], start: int, target: Target) -> list[_Link]:
    """The longest chain from ``start`` on."""
    chain: list[_Link] = [_Link(calls[start])]
    pending: list[Entry] = []
    if calls[start][1].progress is None:
        return chain
    l2_bytes = target.core.l2_bytes
    for entry in calls[start + 1 :]:
        call = entry[1]
        if len(call.arguments) == 1 and call.launch is None:
            pending.append(entry)
            continue
        before = chain[-1].entry[1]
        image = before.arguments[-1]
        written = {id(_root(link.entry[1].arguments[-1])) for link in chain}
        others = {id(_root(argument)) for argument in call.arguments[1:]}
        if (
            call.progress is None
            or before.progress is None
            or len(before.progress.items) == 1  # whole before its first row is complete
            or call.arguments[0] is not image
            or not isinstance(image, Value)
            or not (cache_bands(image.bytes, l2_bytes) > 1 or _are_short(before, call, target))
            or others & written
            or any(id(_root(fill.arguments[0])) in written for _, fill in pending)
        ):
            break
        chain.append(_Link(entry, tuple(pending)))
        pending = []
    return chain


def _are_short(before: KernelCall, call: KernelCall, target: Target) -> bool:
    """Whether two neighbours are quick, but together worth sharing."""
    times = [modelled_ns(each, target) for each in (before, call)]
    return max(times) < SHORT_NS and sum(times) >= 2 * SHARE_NS


def _longest_turns(chain: Sequence[Entry], most: float, target: Target) -> list[Step]:
    """Of as many of a chain's first calls as fit and gain by it; else the first one, whole."""
    for count in range(_fitting(chain, most), 1, -1):
        turns = _in_turns(chain[:count], target)
        if turns:
            return turns
    return [_whole(chain[0])]


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


def _in_turns(chain: Sequence[Entry], target: Target) -> list[Step]:
    """The chain's calls in bands: what the last one needs next comes just before it.

    Empty where a cache holds its images and no strips can be cut.
    """
    progress = [call.progress for _, call in chain]
    images = [call.arguments[0].bytes for _, call in chain[1:]]  # type: ignore[union-attr]
    bands = cache_bands(max(images), target.core.l2_bytes)
    times = [modelled_ns(call, target) for _, call in chain]
    costs = [time / call.work_items for time, (_, call) in zip(times, chain, strict=True)]
    most = max(1, int(sum(times) / SHARE_NS))
    parts = cut_strips(progress, costs, bands, most)  # type: ignore[arg-type]
    if bands == 1 and parts[0].strip == 0:
        return []
    steps = []
    for part in parts:
        choice, call = chain[part.call]
        assert call.progress is not None
        ends = (0, *call.progress.items)
        first, last = ends[part.first], ends[part.end]
        short = bands == 1 and StripFlag.BEGINS in part.flags
        flags = part.flags | StripFlag.SHORT if short else part.flags
        steps.append(Step(choice, call, first, last - first, part.strip, flags))
    return steps
