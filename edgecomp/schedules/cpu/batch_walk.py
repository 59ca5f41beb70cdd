"""The loops of a product of two values, each with batch dimensions.

A work item is one column block of one batch: its panel of b is made ready, then all rows of a run
over it.
"""

import abc
import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Generic, TypeVar

from edgecomp.plan.sizes import Dimension, largest
from edgecomp.plan.values import Value, View
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder
from edgecomp.schedules.cpu.arithmetic import Arithmetic, RegisterTile
from edgecomp.schedules.cpu.batch_operands import Matrix
from edgecomp.schedules.cpu.epilogue import store_columns
from edgecomp.schedules.cpu.row_tiles import part_start
from edgecomp.schedules.cpu.tiles import Split
from edgecomp.schedules.schedule import KernelCall

_Panel = TypeVar("_Panel")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a vector of results lies.

    Attributes:
        row, column: of its first element in the product.
        further: index of the first element of each further matrix in the batch.
    """

    row: Expr
    column: Expr
    further: tuple[Expr, ...]


@dataclasses.dataclass(frozen=True)
class Block(Generic[_Panel]):
    """A column block that is ready.

    Attributes:
        column: its first.
        vectors: of columns.
        panel: of b.
        edge: says which of the columns there are, where some may not be: in a static product
            whether it is the last block.
    """

    column: Expr
    vectors: int
    panel: _Panel
    edge: Expr | None


class BatchWalk(abc.ABC, Generic[_Panel]):
    """Emits the kernel of one operation: what it reads and adds is its subclasses'.

    Attributes:
        a, b, output: matrices of every batch.
        further: matrices that results are made of beside the sums.
        rows, columns, depth: of one product.
        arithmetic: of the inner step.
        row_split, vector_split: of the rows into register tiles, of the columns into blocks.
        builder: receives the statements.
    """

    def __init__(
        self,
        views: tuple[View, View, View],
        transposed: tuple[bool, bool],
        arithmetic: Arithmetic,
        splits: Sequence[Split],
        builder: KernelBuilder,
        further: Sequence[View] = (),
    ) -> None:
        a, b, output = views
        self.rows, self.columns = output.shape[-2:]
        self.depth: Dimension = a.shape[-2] if transposed[0] else a.shape[-1]
        self.batch = output.shape[:-2]
        self.a = Matrix.of(a, self.batch, transposed=transposed[0])
        self.b = Matrix.of(b, self.batch, transposed=transposed[1])
        self.output = Matrix.of(output, self.batch, transposed=False)
        self.further = tuple(Matrix.of(v, self.batch, transposed=False) for v in further)
        self.arithmetic = arithmetic
        self.row_split, self.vector_split = splits
        self.builder = builder

    @property
    def work_items(self) -> int:
        """Of the kernel."""
        return self.vector_split.count * math.prod(self.batch)

    @property
    def multiply_adds(self) -> int:
        """Of the whole product."""
        return largest(math.prod(self.output.view.shape) * self.depth)

    @property
    def tile_name(self) -> str:
        """Rows x columns of the register tile."""
        return f"{self.row_split.large}x{self.vector_split.large * self.arithmetic.lanes}"

    @property
    @abc.abstractmethod
    def kernel_name(self) -> str:
        """Of the kernel's kind."""

    @property
    @abc.abstractmethod
    def arguments(self) -> tuple[Value, ...]:
        """Of the kernel: a, b, what else results are made of, and the output."""

    @property
    @abc.abstractmethod
    def workspace_bytes(self) -> int:
        """Of a thread, for a panel."""

    @abc.abstractmethod
    def emit(self) -> None:
        """All statements of the kernel."""

    def call(self) -> KernelCall:
        """The call of the kernel, emitted."""
        self.emit()
        return KernelCall(
            kernel=self.builder.finish(self.kernel_name),
            arguments=self.arguments,
            work_items=self.work_items,
            workspace_bytes=self.workspace_bytes,
            multiply_adds=self.multiply_adds,
        )

    @abc.abstractmethod
    def panel(self, place: Expr, column: Expr, vectors: int) -> _Panel:
        """Make a column block ready.

        Args:
            place: index of b's first element in the batch.
            column: first of the block.
            vectors: of columns.
        """

    @abc.abstractmethod
    def sums(self, rows: list[Expr], panel: _Panel, vectors: int) -> RegisterTile:
        """All of K for some rows of a, given by the indices of their first elements."""

    @abc.abstractmethod
    def result(self, total: Expr, place: Place) -> Expr:
        """What becomes of a vector of sums."""

    def walk(self, output: Buffer) -> None:
        """All work items of the kernel's range."""
        builder, split = self.builder, self.vector_split
        with builder.loop("item", builder.lo, builder.hi) as item:
            batch = builder.let("batch", tirx.truncdiv(item, split.count))
            block = builder.let("block", item - batch * split.count)
            places = self._batch_offsets(batch)
            start = 0
            for vectors, count in split.classes():
                test = None
                if split.large_count < split.count:
                    test = block < count if start == 0 else block >= start
                with builder.condition(test):
                    first = builder.let("first", part_start(block, split, vectors))
                    is_last = (
                        block == split.count - 1 if start + count == split.count else None
                    )
                    self._block(output, places, first, vectors, is_last)
                start += count

    def _batch_offsets(self, batch: Expr) -> list[Expr]:
        """Index of the first element of each matrix in one batch."""
        matrices = (self.a, self.b, self.output, *self.further)
        totals: list[Expr] = [tirx.const(matrix.view.offset, "int32") for matrix in matrices]
        for d in range(len(self.batch) - 1, -1, -1):
            quotient = batch if d == 0 else tirx.truncdiv(batch, self.batch[d])
            index = batch if d == 0 else batch - quotient * self.batch[d]
            for i, matrix in enumerate(matrices):
                totals[i] = totals[i] + index * matrix.batch[d]
            batch = quotient
        return [self.builder.let("place", total.astype("int64"), "int64") for total in totals]

    def _block(
        self,
        output: Buffer,
        places: list[Expr],
        first: Expr,
        vectors: int,
        is_last: Expr | None,
    ) -> None:
        """One column block: its panel, then all rows."""
        column = self.builder.let("column", first * self.arithmetic.lanes)
        panel = self.panel(places[1], column, vectors)
        self._all_rows(output, places, Block(column, vectors, panel, is_last))

    def _all_rows(self, output: Buffer, places: list[Expr], block: Block[_Panel]) -> None:
        """All tiles of rows over one column block."""
        start = 0
        for rows, count in self.row_split.classes():
            with self.builder.loop("tile", 0, count) as number:
                row = self.builder.let("row", number * rows + start)
                self._tile(output, places, block, row, rows)
            start += rows * count

    def _tile(
        self, output: Buffer, places: list[Expr], block: Block[_Panel], row: Expr, rows: int
    ) -> None:
        """All of K for some rows, then the stores."""
        builder = self.builder
        stride = builder.size(self.a.rows)
        x_rows = [places[0] + (row + i) * stride for i in range(rows)]
        sums = self.sums(x_rows, block.panel, block.vectors)
        at = places[2] + row * builder.size(self.output.rows) + block.column
        at = builder.let("at", at, "int64")
        place = Place(row, block.column, tuple(places[3:]))
        self._store(output, at, sums, place, block.edge)

    def _store(
        self,
        output: Buffer,
        at: Expr,
        sums: RegisterTile,
        first: Place,
        is_last: Expr | None,
    ) -> None:
        """Results of a tile; only the last block's last vector may be partial."""
        builder, lanes = self.builder, self.arithmetic.lanes
        tail = self.columns % lanes
        stride = builder.size(self.output.rows)
        for row, vector in itertools.product(range(sums.rows), range(sums.vectors)):
            place = Place(first.row + row, first.column + vector * lanes, first.further)
            value = self.result(sums.get(row, vector), place)
            index = at + row * stride + vector * lanes
            if not tail or is_last is None or vector < sums.vectors - 1:
                store_columns(builder, output, index, value, lanes, lanes)
                continue
            with builder.condition(is_last):
                store_columns(builder, output, index, value, lanes, tail)
            if self.vector_split.count > 1:
                with builder.condition(tirx.Not(is_last)):
                    store_columns(builder, output, index, value, lanes, lanes)
