"""Place tensors in one block of memory so that those alive at one time do not overlap."""

import dataclasses
from collections.abc import Callable, Sequence

ALIGNMENT_BYTES = 64


@dataclasses.dataclass(frozen=True)
class Block:
    """Memory wanted from call ``first`` to call ``last``, both included."""

    bytes: int
    first: int
    last: int

    def meets(self, other: "Block") -> bool:
        """Whether both are alive at one time."""
        return self.first <= other.last and other.first <= self.last


def plan_arena(blocks: Sequence[Block]) -> tuple[list[int], int]:
    """Choose an offset for every block.

    Several greedy orders are tried (by size, by start, by size times lifetime) and the least
    peak kept: offset assignment is NP-hard, and on networks these orders reach the lower bound
    or come within a few per cent (Pisarchyk and Lee, "Efficient Memory Management for Deep
    Neural Net Inference", 2020).

    Returns:
        Offsets in bytes, each a multiple of 64, and the peak.
    """
    bound = lower_bound(blocks)
    best: tuple[list[int], int] | None = None
    for key in ORDERS:
        order = sorted(range(len(blocks)), key=lambda i: key(blocks[i]))
        offsets, peak = _place(blocks, order)
        if best is None or peak < best[1]:
            best = offsets, peak
        if peak == bound:
            break
    assert best is not None
    return best


def alive_through(loops: Sequence[tuple[int, int]], first: int, last: int) -> tuple[int, int]:
    """When a value is alive that is touched first and last at these calls.

    After the last call of a loop comes its first again: what is read in a loop and was made
    before it is alive until the loop is over, and what is made in a loop and read after it may
    not be overwritten by the loop's other calls. What is made and read inside one round is free
    between two rounds.

    Args:
        loops: first and last call of each.
        first: call that touches the value first.
        last: call that touches it last.
    """
    inner_first = sorted(loops, key=lambda loop: loop[1] - loop[0])
    for begin, end in inner_first:
        if first < begin <= last:
            last = max(last, end)
        if begin <= first <= end < last:
            first = begin
    return first, last


def lower_bound(blocks: Sequence[Block]) -> int:
    """Largest sum of blocks alive at one call: no placement can need less."""
    events: dict[int, int] = {}
    for block in blocks:
        size = _aligned(block.bytes)
        events[block.first] = events.get(block.first, 0) + size
        events[block.last + 1] = events.get(block.last + 1, 0) - size
    alive = peak = 0
    for time in sorted(events):
        alive += events[time]
        peak = max(peak, alive)
    return peak


ORDERS: tuple[Callable[[Block], tuple[int, ...]], ...] = (
    lambda b: (-b.bytes, b.first, b.last),
    lambda b: (b.first, -b.bytes, b.last),
    lambda b: (-b.bytes * (b.last - b.first + 1), b.first, b.last),
    lambda b: (-(b.last - b.first), -b.bytes, b.first),
    lambda b: (b.last, -b.bytes, b.first),
)


def _place(blocks: Sequence[Block], order: Sequence[int]) -> tuple[list[int], int]:
    """Lowest free offset for each block in turn."""
    offsets = [0] * len(blocks)
    placed: list[int] = []
    peak = 0
    for index in order:
        block = blocks[index]
        size = _aligned(block.bytes)
        offset = 0
        for other in sorted(placed, key=lambda i: offsets[i]):
            if not block.meets(blocks[other]):
                continue
            if offset + size <= offsets[other]:
                break
            offset = max(offset, offsets[other] + _aligned(blocks[other].bytes))
        offsets[index] = offset
        placed.append(index)
        peak = max(peak, offset + size)
    return offsets, peak


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
