"""The loops of a product of two values of which any dimension may be dynamic.

As the static walk has them, with three differences. Where rows are dynamic the last tile overlaps
the one before; with fewer rows than a tile has, tiles of 8, 4, 2 and 1 rows make them up. Where
columns are, the last block is as narrow as they allow, by halves, and stores what is there of its
vectors. Where a batch is, its indices are divided when the model runs.
"""

import dataclasses
from collections.abc import Iterator
from typing import TypeVar

import numpy as np

from edgecomp.plan.sizes import is_dynamic, smallest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr
from edgecomp.schedules.cpu.arithmetic import RegisterTile
from edgecomp.schedules.cpu.batch_walk import BatchWalk, Block, Place
from edgecomp.schedules.cpu.dynamic.largest import items_of
from edgecomp.schedules.cpu.dynamic.nest import Items, dynamic_call
from edgecomp.schedules.cpu.dynamic.row import store_part
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.schedule import KernelCall

_Panel = TypeVar("_Panel")

#: Rows of tiles where there are fewer than a whole one's.
_FEW_ROWS = (8, 4, 2, 1)


class DynamicBatchWalk(BatchWalk[_Panel]):
    """Emits the kernel of one operation; splits are those of the largest sizes."""

    @property
    def items(self) -> Items:
        """Work items: column blocks of every batch."""
        batches = items_of(self.batch)
        if not is_dynamic(self.columns):
            return batches * self.vector_split.count, 1
        # Blocks are rounded up for each batch: at most one more than the columns' share.
        return batches * (self.columns + (self.width - 1)), self.width

    @property
    def width(self) -> int:
        """Columns of the widest block."""
        return self.vector_split.large * self.arithmetic.lanes

    def call(self) -> KernelCall:
        """See the base class."""
        self.emit()
        call = dynamic_call(
            self.builder,
            self.kernel_name,
            self.arguments,
            self.items,
            workspace_bytes=self.workspace_bytes,
            multiply_adds=self.multiply_adds,
        )
        assert call.dynamic is not None
        _, b, *others = self.arguments
        panel = self.width * np.dtype(b.dtype).itemsize  # b is read in whole vectors
        overrun = (0, panel, *(0 for _ in others))
        dynamic = dataclasses.replace(call.dynamic, overrun_bytes=overrun)
        return dataclasses.replace(call, dynamic=dynamic)

    def walk(self, output: Buffer) -> None:
        """See the base class."""
        if not is_dynamic(self.columns):
            super().walk(output)
            return
        builder, width = self.builder, self.width
        columns = builder.size(self.columns)
        blocks = builder.let("blocks", tirx.truncdiv(columns + (width - 1), width))
        # Without columns there are no blocks, and none to divide by.
        with (
            builder.condition(columns > 0),
            builder.loop("item", builder.lo, builder.hi) as item,
        ):
            batch = builder.let("batch", tirx.truncdiv(item, blocks))
            column = builder.let("column", (item - batch * blocks) * width)
            with builder.condition(batch < builder.size(items_of(self.batch))):
                places = self._batch_offsets(batch)
                left = builder.let("left", columns - column)
                for vectors, test in self._widths(left):
                    with builder.condition(test):
                        panel = self.panel(places[1], column, vectors)
                        block = Block(column, vectors, panel, left)
                        self._all_rows(output, places, block)

    def _widths(self, left: Expr) -> Iterator[tuple[int, Expr | None]]:
        """(vectors of a block, whether they are the fewest that hold the columns left)."""
        vectors = self.vector_split.large
        test: Expr | None = None
        while vectors > 1:
            enough = left > vectors // 2 * self.arithmetic.lanes
            yield vectors, enough if test is None else tirx.And(test, enough)
            vectors //= 2
            test = left <= vectors * self.arithmetic.lanes
        yield vectors, test

    def _batch_offsets(self, batch: Expr) -> list[Expr]:
        """See the base class."""
        indices = unravel(self.builder, batch, self.batch)
        found = []
        for matrix in (self.a, self.b, self.output, *self.further):
            total = tirx.const(0, "int32") + self.builder.size(matrix.view.offset)
            for index, stride in zip(indices, matrix.batch, strict=True):
                total = total + index * self.builder.size(stride)
            found.append(self.builder.let("place", total.astype("int64"), "int64"))
        return found

    def _all_rows(self, output: Buffer, places: list[Expr], block: Block[_Panel]) -> None:
        """See the base class."""
        builder, tile = self.builder, self.row_split.large
        if not is_dynamic(self.rows):
            super()._all_rows(output, places, block)
            return
        rows = builder.size(self.rows)
        are_enough = smallest(self.rows) >= tile
        tiles = tirx.truncdiv(rows + (tile - 1), tile)
        with (
            builder.condition(None if are_enough else rows >= tile),
            builder.loop("tile", 0, tiles) as number,
        ):
            row = builder.let("row", tirx.min(number * tile, rows - tile))
            self._tile(output, places, block, row, tile)
        if not are_enough:
            with builder.condition(rows < tile):
                self._few_rows(output, places, block)

    def _few_rows(self, output: Buffer, places: list[Expr], block: Block[_Panel]) -> None:
        """Fewer rows than a tile has: tiles of the greatest size, then one of each smaller."""
        builder, rows = self.builder, self.builder.size(self.rows)
        sizes = [size for size in _FEW_ROWS if size < self.row_split.large]
        for few in sizes:
            first = 0 if few == sizes[0] else tirx.truncdiv(rows, 2 * few) * 2 * few
            count = tirx.truncdiv(rows - first, few)
            with builder.loop("tile", 0, count) as number:
                row = builder.let("row", first + number * few)
                self._tile(output, places, block, row, few)

    def _store(
        self, output: Buffer, at: Expr, sums: RegisterTile, first: Place, edge: Expr | None
    ) -> None:
        """Results of a tile, or the columns that are left of them."""
        if not is_dynamic(self.columns):
            super()._store(output, at, sums, first, edge)
            return
        builder, lanes = self.builder, self.arithmetic.lanes
        stride = builder.size(self.output.rows)
        for vector in range(sums.vectors):
            for test, count in self._cases(vector, sums.vectors, edge):
                with builder.condition(test):
                    for row in range(sums.rows):
                        column = first.column + vector * lanes
                        place = Place(first.row + row, column, first.further)
                        value = self.result(sums.get(row, vector), place)
                        index = at + row * stride + vector * lanes
                        store_part(builder, output, index, value, lanes, count)

    def _cases(
        self, vector: int, vectors: int, left: Expr
    ) -> list[tuple[Expr | None, Expr | None]]:
        """(condition, elements to store or None for all) of one vector of columns."""
        if vector < vectors // 2:
            return [(None, None)]  # else the block would be narrower
        first, lanes = vector * self.arithmetic.lanes, self.arithmetic.lanes
        return [
            (left >= first + lanes, None),
            (tirx.And(left > first, left < first + lanes), left - first),
        ]
