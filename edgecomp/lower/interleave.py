"""Neighbouring calls in turns, band by band, where what is between them overflows the cache.

    expand: all rows, depthwise: all rows, reduce: all rows
    ->
    expand: rows 0-9, depthwise: rows 0-4, reduce: rows 0-4, expand: rows 10-17, ...

A call that reads a whole image of several megabytes finds it in memory or in a distant cache. In
turns it finds the band that was just written in the level-2 cache. Kernels and results are the
same: a call computes a part of its work items, of which its schedule says which rows they are
(``Progress``).
"""

import bisect
import dataclasses
from collections.abc import Sequence

from edgecomp.device.target import Target
from edgecomp.lower.select import Selected
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
    """

    choice: Selected
    call: KernelCall
    first: int
    count: int


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
        if len(call.arguments) == 1:
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
    steps: list[Step] = []
    done = [0] * len(chain)  # runs of items of each call

    def advance(number: int, runs: int) -> None:
        """Compute the first ``runs`` runs of items of a call, and before what they need."""
        choice, call = chain[number]
        assert call.progress is not None
        if runs <= done[number]:
            return
        if number:
            advance(
                number - 1, _runs_with(chain[number - 1][1], call.progress.needed[runs - 1])
            )
        ends = (0, *call.progress.items)
        first, last = ends[done[number]], ends[runs]
        steps.append(Step(choice, call, first, last - first))
        done[number] = runs

    last = chain[-1][1].progress
    assert last is not None
    images = [call.arguments[0].bytes for _, call in chain[1:]]  # type: ignore[union-attr]
    count = len(last.items)
    bands = min(count, cache_bands(max(images), target.core.l2_bytes))
    for band in range(1, bands + 1):
        advance(len(chain) - 1, -(-band * count // bands))
    for number in range(len(chain) - 1):  # rows that nobody reads
        advance(number, len(chain[number][1].progress.items))  # type: ignore[union-attr]
    return steps


def _runs_with(call: KernelCall, rows: int) -> int:
    """How many runs of items it takes until the first ``rows`` rows are done."""
    assert call.progress is not None
    return min(bisect.bisect_left(call.progress.done, rows) + 1, len(call.progress.done))
