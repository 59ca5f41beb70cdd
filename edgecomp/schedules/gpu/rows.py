"""Rows that a group of work items shares: each walks every n-th element, then all join."""

import contextlib
from collections.abc import Callable, Iterator

from edgecomp.device.target import Gpu
from edgecomp.plan.sizes import Dimension
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, load
from edgecomp.schedules.cpu.vectors import typed
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import LANES, is_multiple


def row_lanes(size: Dimension, *strides: Dimension) -> int:
    """Elements of a row that a work item loads at once, given the steps between them."""
    return LANES if is_multiple(size, LANES) and set(strides) == {1} else 1


def row_items(size: int, gpu: Gpu) -> int:
    """Work items for a row: a power of two, at most one for each element."""
    items = 1
    while items * 2 <= min(size, gpu.group_items):
        items *= 2
    return items


class SharedRow:
    """Steps over one row by a group of work items, which is all of the kernel's grid but one axis.

    Args:
        builder: of the kernel, whose groups have ``items`` work items along the first axis.
        size: elements of the row.
        items: a power of two.
        dtype: of partial results.
        lanes: elements that a work item has side by side; the size is a multiple of them.
    """

    def __init__(
        self,
        builder: GridBuilder,
        size: Dimension,
        items: int,
        dtype: str = "float32",
        lanes: int = 1,
    ) -> None:
        self._builder, self._items, self._dtype = builder, items, dtype
        self._size, self._lanes = size // lanes, lanes
        self._own = builder.item(0)
        self._shared = builder.shared_array("shared", dtype, items) if items > 1 else None

    @contextlib.contextmanager
    def each(self) -> Iterator[Expr]:
        """Statements for every element, or first one of a vector, that this work item has."""
        builder = self._builder
        with builder.loop("i", 0, builder.parts_of(self._size, self._items)) as i:
            at = builder.let("at", i * self._items + self._own)
            whole = is_multiple(self._size, self._items)
            with builder.condition(None if whole else at < builder.size(self._size)):
                yield at if self._lanes == 1 else builder.let("at", at * self._lanes)

    def fold(
        self,
        start: float,
        combine: Callable[[Expr, Expr], Expr],
        element: Callable[[Expr], Expr],
    ) -> Expr:
        """Combine something of all elements; every work item gets the result."""
        builder, zero = self._builder, tirx.const(0, "int32")
        own = builder.array("own", self._dtype, 1)
        if self._lanes == 1:
            builder.store(own, zero, constant(start, self._dtype))
            with self.each() as at:
                builder.store(own, zero, combine(load(own, zero), element(at)))
        else:
            builder.store(own, zero, self._fold_vectors(start, combine, element))
        if self._shared is None:
            return builder.let("all", load(own, zero), self._dtype)
        return self._join(own, combine, self._shared)

    def _fold_vectors(
        self,
        start: float,
        combine: Callable[[Expr, Expr], Expr],
        element: Callable[[Expr], Expr],
    ) -> Expr:
        """Something of this work item's vectors, lane by lane, then of the lanes."""
        builder, zero, dtype = (
            self._builder,
            tirx.const(0, "int32"),
            typed(self._dtype, self._lanes),
        )
        wide = builder.array("wide", dtype, 1)
        builder.store(wide, zero, constant(start, self._dtype, self._lanes))
        with self.each() as at:
            builder.store(wide, zero, combine(load(wide, zero), element(at)))
        whole = builder.let("whole", load(wide, zero), dtype)
        lanes = [tirx.Shuffle([whole], [k]) for k in range(self._lanes)]
        while len(lanes) > 1:
            lanes = [combine(*lanes[k : k + 2]) for k in range(0, len(lanes), 2)]
        return lanes[0]

    def _join(
        self, own: Buffer, combine: Callable[[Expr, Expr], Expr], shared: Buffer
    ) -> Expr:
        builder, zero = self._builder, tirx.const(0, "int32")
        builder.barrier()  # results of the last fold are read
        builder.store(shared, self._own, load(own, zero))
        builder.barrier()
        half = self._items // 2
        while half:
            with builder.condition(self._own < half):
                both = combine(load(shared, self._own), load(shared, self._own + half))
                builder.store(shared, self._own, both)
            builder.barrier()
            half //= 2
        return builder.let("all", load(shared, zero), self._dtype)
