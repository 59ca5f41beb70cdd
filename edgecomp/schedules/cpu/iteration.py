"""Iteration spaces: which elements of several operands belong together, in few loops.

A space is a box of sizes with one stride per dimension and operand. Dimensions of size 1 go,
the others are ordered by the output's strides, and neighbours that every operand walks without
a gap become one: a contiguous operation of any rank is one flat loop. Sizes, strides and
offsets may be dynamic: neighbours then become one where that holds at every size.
"""

import dataclasses
import math
from collections.abc import Sequence

from edgecomp.plan.sizes import Dimension, largest
from edgecomp.plan.values import View

#: A work item covers at least this many elements, unless the whole space is smaller: enough to
#: hide the division that finds the item's place, small enough to share a layer among threads.
GRAIN_ELEMENTS = 2048


@dataclasses.dataclass(frozen=True)
class Space:
    """A box and where each operand's elements lie; operand 0 is the output.

    Attributes:
        sizes: outermost first; at least one.
        strides: per operand, per dimension, in elements.
        offsets: per operand, of the element at index 0.
    """

    sizes: tuple[Dimension, ...]
    strides: tuple[tuple[Dimension, ...], ...]
    offsets: tuple[Dimension, ...]

    @property
    def elements(self) -> Dimension:
        """Elements of the box."""
        return math.prod(self.sizes)

    def inner_stride(self, operand: int) -> Dimension:
        """Stride of an operand along the innermost dimension."""
        return self.strides[operand][-1]

    def without(self, *dimensions: int) -> "Space":
        """The space of the other dimensions, at index 0 of these."""
        keep = [d for d in range(len(self.sizes)) if d not in dimensions]
        return Space(
            tuple(self.sizes[d] for d in keep),
            tuple(tuple(own[d] for d in keep) for own in self.strides),
            self.offsets,
        )


def collapse(
    sizes: Sequence[Dimension],
    strides: Sequence[Sequence[Dimension]],
    offsets: Sequence[Dimension],
) -> Space:
    """The same box with the fewest dimensions; operand 0 is the output."""
    order = [d for d, size in enumerate(sizes) if size != 1]
    order.sort(key=lambda d: -abs(largest(strides[0][d])))
    merged: list[tuple[Dimension, tuple[Dimension, ...]]] = []
    for d in order:
        own = tuple(operand[d] for operand in strides)
        if merged:
            size, outer = merged[-1]
            if all(o == s * sizes[d] for o, s in zip(outer, own, strict=True)):
                merged[-1] = (size * sizes[d], own)
                continue
        merged.append((sizes[d], own))
    if not merged:
        merged = [(1, (1,) * len(strides))]
    return Space(
        tuple(size for size, _ in merged),
        tuple(zip(*(own for _, own in merged), strict=True)),
        tuple(offsets),
    )


def space_of_views(views: Sequence[View]) -> Space:
    """The space of views of one shape (after ``View.broadcast_to``); the first is written."""
    return collapse(
        views[0].shape, [view.strides for view in views], [view.offset for view in views]
    )


@dataclasses.dataclass(frozen=True)
class Split:
    """How a space becomes work items.

    An item is one index of each dimension before ``dimension`` and one chunk of it; chunks are
    ``chunk`` long, the last one takes what remains (less than two chunks).

    Attributes:
        dimension: the one that is cut.
        chunk: indices per item.
        chunks: items along it.
        items: in all.
    """

    dimension: int
    chunk: int
    chunks: int
    items: int


def split(sizes: Sequence[int], grain_elements: int = GRAIN_ELEMENTS, align: int = 1) -> Split:
    """Cut a box into work items of about ``grain_elements``.

    Args:
        sizes: outermost first.
        grain_elements: least elements of an item, where the box has them.
        align: chunks of the innermost dimension are multiples of this (a power of two).
    """
    for d in range(len(sizes)):
        inner = math.prod(sizes[d + 1 :])
        if inner >= grain_elements:
            continue
        chunk = -(-grain_elements // inner)
        if d == len(sizes) - 1:
            chunk = -(-chunk // align) * align
        chunks = max(1, sizes[d] // chunk)
        if chunks == 1:
            chunk = sizes[d]
        return Split(d, chunk, chunks, math.prod(sizes[:d]) * chunks)
    raise AssertionError  # the innermost dimension has an inner product of 1


def power_of_two_below(limit: int) -> int:
    """The greatest power of two not above ``limit`` (at least 1)."""
    return 1 << (limit.bit_length() - 1)
