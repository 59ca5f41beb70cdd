"""Rows that a group of work items shares: each walks every n-th element, then all join."""

import contextlib
from collections.abc import Callable, Iterator

from edgecomp.device.target import Gpu
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, load
from edgecomp.schedules.gpu.builder import GridBuilder


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
    """

    def __init__(
        self, builder: GridBuilder, size: int, items: int, dtype: str = "float32"
    ) -> None:
        self._builder, self._size, self._items, self._dtype = builder, size, items, dtype
        self._own = builder.item(0)
        self._shared = builder.shared_array("shared", dtype, items) if items > 1 else None

    @contextlib.contextmanager
    def each(self) -> Iterator[Expr]:
        """Statements for every element that this work item has."""
        builder, rounds = self._builder, -(-self._size // self._items)
        with builder.loop("i", 0, rounds) as i:
            at = builder.let("at", i * self._items + self._own)
            whole = self._size % self._items == 0
            with builder.condition(None if whole else at < self._size):
                yield at

    def fold(
        self,
        start: float,
        combine: Callable[[Expr, Expr], Expr],
        element: Callable[[Expr], Expr],
    ) -> Expr:
        """Combine something of all elements; every work item gets the result."""
        builder, zero = self._builder, tirx.const(0, "int32")
        own = builder.array("own", self._dtype, 1)
        builder.store(own, zero, constant(start, self._dtype))
        with self.each() as at:
            builder.store(own, zero, combine(load(own, zero), element(at)))
        if self._shared is None:
            return builder.let("all", load(own, zero), self._dtype)
        return self._join(own, combine, self._shared)

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
