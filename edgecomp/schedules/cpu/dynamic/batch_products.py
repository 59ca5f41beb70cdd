"""float32 product of two activations of which any dimension may be dynamic.

A work item is one column block of one batch, as in the static schedule. The last tile of rows
overlaps the one before; with fewer rows than a tile has, tiles of 8, 4, 2 and 1 rows make them
up. The last block of columns computes whole vectors and stores what is there of them.
"""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.plan.operations import BatchMatrixMultiply, Operation
from edgecomp.plan.sizes import Dimension, is_dynamic, largest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant
from edgecomp.schedules.cpu import batch_matrix_multiply
from edgecomp.schedules.cpu.arithmetic import Operands, RegisterTile
from edgecomp.schedules.cpu.arithmetic_f32 import arithmetic_f32
from edgecomp.schedules.cpu.batch_operands import Matrix, Panel, multiply
from edgecomp.schedules.cpu.dynamic.largest import Twin, items_of
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.cpu.dynamic.row import store_part
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.schedule import KernelCall

NAME = batch_matrix_multiply.NAME

#: Rows of tiles where there are fewer than a whole one's.
_FEW_ROWS = (8, 4, 2, 1)


def match(operation: Operation, target: Target) -> str:
    """What the static schedule takes, with contiguous columns or K in b and static strides."""
    if not isinstance(operation.kind, BatchMatrixMultiply):
        return "not a product of two values"
    if any(value.constant is not None for value in operation.inputs):
        return "product of a value and a constant of several dimensions"
    return batch_matrix_multiply.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel, with the tiles of the largest sizes."""
    emitter = _Emitter(operation, target)
    emitter.emit()
    a, b = operation.inputs
    call = dynamic_call(
        emitter.builder,
        NAME,
        (a, b, operation.output),
        emitter.items,
        workspace_bytes=4 * emitter.width * largest(emitter.depth),
        multiply_adds=largest(operation.output.elements * emitter.depth),
    )
    assert call.dynamic is not None
    dynamic = dataclasses.replace(call.dynamic, overrun_bytes=(0, 4 * emitter.width, 0))
    return [dataclasses.replace(call, dynamic=dynamic)]


class _Emitter:
    """Emits the kernel of one operation."""

    def __init__(self, operation: Operation, target: Target) -> None:
        kind, output = operation.kind, operation.output
        assert isinstance(kind, BatchMatrixMultiply)
        a, b = operation.inputs
        self.operation, self.alpha = operation, kind.alpha
        self.rows, self.columns = output.shape[-2:]
        self.depth: Dimension = a.shape[-2] if kind.transpose_a else a.shape[-1]
        self.batch = output.shape[:-2]
        self.a = Matrix.of(a.view, self.batch, transposed=kind.transpose_a)
        self.b = Matrix.of(b.view, self.batch, transposed=kind.transpose_b)
        self.output = Matrix.of(output.view, self.batch, transposed=False)
        self.arithmetic = arithmetic_f32(target)
        self.lanes = self.arithmetic.lanes
        params = batch_matrix_multiply.default_params(Twin(operation).operation, target)
        self.tile_rows, self.vectors = params.rows.large, params.vectors.large
        self.width = self.vectors * self.lanes
        self.builder = KernelBuilder(target.core.isa)

    @property
    def items(self) -> tuple[Dimension, int]:
        """Work items: column blocks of every batch."""
        batches = items_of(self.batch)
        if not is_dynamic(self.columns):
            return batches * -(-self.columns // self.width), 1
        # Blocks are rounded up for each batch: at most one more than the columns' share.
        return batches * (self.columns + (self.width - 1)), self.width

    def emit(self) -> None:
        """The whole kernel."""
        builder = self.builder
        operands = (*self.operation.inputs, self.operation.output)
        a, b, output = (
            builder.pointer(name, "float32", largest(value.view.elements))
            for name, value in zip(("a", "b", "output"), operands, strict=True)
        )
        panel = builder.pointer("panel", "float32", self.width * largest(self.depth))
        packing = Panel(
            builder=builder,
            source=b,
            panel=panel,
            matrix=self.b,
            depth=self.depth,
            columns=self.columns,
            vectors=self.vectors,
            lanes=self.lanes,
        )
        columns = builder.size(self.columns)
        blocks = tirx.truncdiv(columns + (self.width - 1), self.width)
        blocks = builder.let("blocks", blocks) if is_dynamic(self.columns) else blocks
        with builder.loop("item", builder.lo, builder.hi) as item:
            batch = builder.let("batch", tirx.truncdiv(item, blocks))
            column = builder.let("column", (item - batch * blocks) * self.width)
            with builder.condition(batch < builder.size(items_of(self.batch))):
                places = self._places(batch)
                packing.fill(places[1], column)
                self._all_rows((a, panel, output), (places[0], places[2]), column)

    def _places(self, batch: Expr) -> tuple[Expr, Expr, Expr]:
        """Index of the first element of a, b and output in one batch."""
        indices = unravel(self.builder, batch, self.batch)
        found = []
        for matrix in (self.a, self.b, self.output):
            total = tirx.const(0, "int32") + self.builder.size(matrix.view.offset)
            for index, stride in zip(indices, matrix.batch, strict=True):
                total = total + index * self.builder.size(stride)
            found.append(self.builder.let("place", total.astype("int64"), "int64"))
        return found[0], found[1], found[2]

    def _all_rows(
        self, buffers: tuple[Buffer, Buffer, Buffer], places: tuple[Expr, Expr], column: Expr
    ) -> None:
        """All tiles of rows of one column block."""
        builder, tile = self.builder, self.tile_rows
        rows = builder.size(self.rows)
        if isinstance(rows, int):
            whole = rows // tile
            with builder.loop("tile", 0, whole) as number:
                self._tile(buffers, places, column, builder.let("row", number * tile), tile)
            if rows % tile:
                self._tile(buffers, places, column, whole * tile, rows % tile)
            return
        tiles = tirx.truncdiv(rows + (tile - 1), tile)
        with builder.condition(rows >= tile), builder.loop("tile", 0, tiles) as number:
            row = builder.let("row", tirx.min(number * tile, rows - tile))
            self._tile(buffers, places, column, row, tile)
        with builder.condition(rows < tile):
            self._few_rows(buffers, places, column, rows)

    def _few_rows(
        self,
        buffers: tuple[Buffer, Buffer, Buffer],
        places: tuple[Expr, Expr],
        column: Expr,
        rows: Expr,
    ) -> None:
        """Fewer rows than a tile has: tiles of the greatest size, then one of each smaller."""
        builder = self.builder
        sizes = [size for size in _FEW_ROWS if size < self.tile_rows]
        for few in sizes:
            first = 0 if few == sizes[0] else tirx.truncdiv(rows, 2 * few) * 2 * few
            count = tirx.truncdiv(rows - first, few)
            with builder.loop("tile", 0, count) as number:
                row = builder.let("row", first + number * few)
                self._tile(buffers, places, column, row, few)

    def _tile(
        self,
        buffers: tuple[Buffer, Buffer, Buffer],
        places: tuple[Expr, Expr],
        column: Expr,
        row: Expr,
        rows: int,
    ) -> None:
        """One tile: all of K, then the stores."""
        builder = self.builder
        a, panel, output = buffers
        stride = builder.size(self.a.rows)
        operands = Operands(
            x=a,
            x_rows=[
                builder.let("x_row", places[0] + (row + i) * stride, "int64")
                for i in range(rows)
            ],
            x_stride=builder.size(self.a.columns),
            weights=panel,
            weight_index=0,
            weight_stride=0,
        )
        depth = builder.size(self.depth)
        sums = multiply(builder, self.arithmetic, operands, self.vectors, depth)
        at = places[1] + row * builder.size(self.output.rows) + column
        at = builder.let("at", at, "int64")
        left = builder.let("left", builder.size(self.columns) - column)
        with builder.condition(left >= self.width):
            self._store(output, at, sums, None)
        if is_dynamic(self.columns) or self.columns % self.width:
            with builder.condition(left < self.width):
                self._store(output, at, sums, left)

    def _store(self, output: Buffer, at: Expr, sums: RegisterTile, left: Expr | None) -> None:
        """Scale and store a tile, or the ``left`` columns that there are of it."""
        builder, lanes = self.builder, self.lanes
        stride = builder.size(self.output.rows)
        for vector in range(sums.vectors):
            for test, count in self._cases(vector, left):
                with builder.condition(test):
                    for row in range(sums.rows):
                        value = sums.get(row, vector)
                        if self.alpha != 1.0:
                            value = value * constant(self.alpha, "float32", lanes)
                        index = at + row * stride + vector * lanes
                        store_part(builder, output, index, value, lanes, count)

    def _cases(self, vector: int, left: Expr | None) -> list[tuple[Expr | None, Expr | None]]:
        """(condition, elements to store or None for all) of one vector of columns."""
        if left is None:
            return [(None, None)]
        first, lanes = vector * self.lanes, self.lanes
        return [
            (left >= first + lanes, None),
            (tirx.And(left > first, left < first + lanes), left - first),
        ]
