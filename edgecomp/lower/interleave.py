"""Neighbouring calls in turns, band by band, where what is between them overflows the cache.

    expand: all rows, depthwise: all rows, reduce: all rows
    ->
    expand: rows 0-9, depthwise: rows 0-4, reduce: rows 0-4, expand: rows 10-17, ...

A call that reads a whole image of several megabytes finds it in memory or in a distant cache. In
turns it finds the band that was just written in the level-2 cache. Kernels and results are the
same: a call computes a part of its work items, of which its schedule says which rows they are
(``Progress``). Threads share such a chain by strips (``strips.py``).
"""

import dataclasses
from collections.abc import Iterator, Sequence

from edgecomp.device.target import Target
from edgecomp.lower.select import Selected
from edgecomp.lower.strips import Part, cut_strips
from edgecomp.plan.values import Value
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
        strip: as in ``PlanCall``.
    """

    choice: Selected
    call: KernelCall
    first: int
    count: int
    strip: int = 0


Entry = tuple[Selected, KernelCall]


def interleave(selected: Sequence[Selected], target: Target) -> list[Step]:
    """All calls in the order in which they run."""
    calls = [(choice, call) for choice in selected for call in choice.calls]
    steps: list[Step] = []
    position = 0
    while position < len(calls):
        chain, fills = _chain(calls, position, target)
        if len(chain) > 1:
            steps += [_whole(entry) for entry in fills]
            steps += _in_turns(chain, target)
            position += len(chain) + len(fills)
        else:
            steps.append(_whole(calls[position]))
            position += 1
    return steps


def _whole(entry: Entry) -> Step:
    choice, call = entry
    return Step(choice, call, 0, call.work_items)


def _chain(
    calls: Sequence[Entry], start: int, target: Target
) -> tuple[list[Entry], list[Entry]]:
    """The longest chain from ``start`` on, and the calls between that only fill halos."""
    chain, fills, pending = [calls[start]], [], []
    if calls[start][1].progress is None:
        return chain, []
    l2_bytes = target.core.l2_bytes
    for entry in calls[start + 1 :]:
        call = entry[1]
        if len(call.arguments) == 1 and call.launch is None:
            pending.append(entry)
            continue
        image = chain[-1][1].arguments[-1]
        written = {id(_root(other.arguments[-1])) for _, other in chain}
        others = {id(_root(argument)) for argument in call.arguments[1:]}
        if (
            call.progress is None
            or call.arguments[0] is not image
            or not isinstance(image, Value)
            or cache_bands(image.bytes, l2_bytes) == 1
            or others & written
            or any(id(_root(fill.arguments[0])) in written for _, fill in pending)
        ):
            break
        chain.append(entry)
        fills += pending
        pending = []
    return chain, fills


def _root(argument: object) -> object:
    """The value whose memory an argument is."""
    while isinstance(argument, Value):
        below = argument.alias_of or argument.part_of
        if below is None:
            break
        argument = below
    return argument


def _in_turns(chain: list[Entry], target: Target) -> list[Step]:
    """The chain's calls in bands: what the last one needs next comes just before it."""
    progress = [call.progress for _, call in chain]
    images = [call.arguments[0].bytes for _, call in chain[1:]]  # type: ignore[union-attr]
    bands = cache_bands(max(images), target.core.l2_bytes)
    cut = cut_strips(progress, bands)  # type: ignore[arg-type]
    return [step for group in cut for step in _group(chain, group)]


def _group(chain: list[Entry], strips: list[list[Part]]) -> Iterator[Step]:
    """Strips that run beside each other; a single one is shared call by call."""
    for number, parts in enumerate(strips, start=1):
        for part in parts:
            choice, call = chain[part.call]
            assert call.progress is not None
            ends = (0, *call.progress.items)
            first, last = ends[part.first], ends[part.end]
            yield Step(choice, call, first, last - first, number if len(strips) > 1 else 0)
