"""float32 product of two activations, each with batch dimensions.

A work item has a tile of four columns. Where the columns of b lie side by side it loads them as
vectors; where K does (a transposed b, as in attention) it forms dot products.
"""

import math

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply
from edgecomp.plan.sizes import Dimension, has_dynamic, is_dynamic, largest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, load, splat
from edgecomp.schedules.cpu import batch_matrix_multiply as cpu
from edgecomp.schedules.cpu.batch_operands import Matrix
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.gpu.builder import GridBuilder, Groups, parts_of
from edgecomp.schedules.gpu.places import LANES, gpu_of
from edgecomp.schedules.gpu.product_tiles import choose_tile, group_shape
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.schedule import KernelCall

NAME = "batch_matrix_multiply"


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedule claims of values in their own shapes."""
    kind = operation.kind
    reason = cpu.match(operation, target)
    if reason or not isinstance(kind, BatchMatrixMultiply):
        return reason
    return "operands that are views" if kind.a or kind.b or kind.output else ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kernel = _BatchKernel(operation, target)
    kernel.emit()
    work = largest(operation.output.elements * kernel.depth)
    return [kernel.builder.call(NAME, (*operation.inputs, operation.output), work)]


class _BatchKernel:
    """One kernel in the making."""

    def __init__(self, operation: Operation, target: Target) -> None:
        kind = operation.kind
        assert isinstance(kind, BatchMatrixMultiply)
        left, right = operation.inputs
        self.output, self.alpha = operation.output, kind.alpha
        *self.batch, self.rows, self.columns = self.output.shape
        batch = tuple(self.batch)
        self.a = Matrix.of(left.view, batch, transposed=kind.transpose_a)
        self.b = Matrix.of(right.view, batch, transposed=kind.transpose_b)
        self.depth = left.shape[-2 if kind.transpose_a else -1]
        gpu, images = gpu_of(target), math.prod(self.batch)
        most = largest(self.rows), largest(images), largest(self.columns)
        self.tile = choose_tile(*most, 1, gpu).rows
        self.is_dynamic = has_dynamic((*self.output.shape, self.depth))
        is_wide = not is_dynamic(self.columns) and self.columns >= LANES
        self.lanes = LANES if is_wide else 1
        self.blocks = self.columns if self.lanes == 1 else -(-self.columns // self.lanes)
        items = group_shape(largest(self.blocks), gpu)
        across = parts_of(self.blocks, items[0])
        groups: Groups
        if self.is_dynamic:
            groups = across, parts_of(self.rows, self.tile * items[1]), images
        else:
            self.tiles = -(-self.rows // self.tile)
            self.lines = self.tiles * images
            groups = across, parts_of(self.lines, items[1]), 1
        self.builder = GridBuilder(groups, items)
        self.x = self.builder.pointer("a", left.stored, left.view.elements)
        self.z = self.builder.pointer("b", right.stored, right.view.elements)
        self.y = self.builder.pointer("y", self.output.stored, self.output.view.elements)

    def emit(self) -> None:
        """All statements."""
        builder = self.builder
        block, line = builder.place(0), builder.place(1)
        lines = builder.parts_of(self.rows, self.tile) if self.is_dynamic else self.lines
        with builder.condition(tirx.And(block < builder.size(self.blocks), line < lines)):
            row: Expr = 0
            if self.is_dynamic:
                indices = unravel(builder, builder.group(2), self.batch)
            else:
                *indices, tile = unravel(builder, line, [*self.batch, self.tiles])
                row = self._first("row", tile, self.tile, self.rows)
            self.a_rows, self.y_rows = self._rows_of_tile(line)
            column = self._first("column", block, self.lanes, self.columns)
            a_at, b_at, y_at = (
                builder.let(
                    name,
                    sum(
                        (i * builder.size(s) for i, s in zip(indices, strides, strict=True)),
                        start=builder.size(offset),
                    )
                    + row * builder.size(by_row)
                    + column * builder.size(by_column),
                )
                for name, strides, offset, by_row, by_column in (
                    ("a_at", self.a.batch, self.a.view.offset, self.a.rows, 0),
                    ("b_at", self.b.batch, self.b.view.offset, 0, self.b.columns),
                    (
                        "y_at",
                        self.output.view.strides[:-2],
                        self.output.view.offset,
                        self.output.view.strides[-2],
                        1,
                    ),
                )
            )
            if self.b.columns == 1 or self.lanes == 1:
                self._by_vectors(a_at, b_at, y_at)
            else:
                self._by_dots(a_at, b_at, y_at)

    def _rows_of_tile(self, line: Expr) -> tuple[list[Expr], list[Expr]]:
        """Where the rows of the tile begin in a and in the output.

        From the first one; of dynamic rows from the image's, those behind the last being the last.
        """
        builder, steps = self.builder, (self.a.rows, self.output.view.strides[-2])
        if not self.is_dynamic:
            a, y = ([row * step for row in range(self.tile)] for step in steps)
            return a, y
        last = builder.size(self.rows) - 1
        rows = [
            builder.let("row", tirx.Min(line * self.tile + row, last))
            for row in range(self.tile)
        ]
        a, y = ([row * builder.size(step) for row in rows] for step in steps)
        return a, y

    def _first(self, name: str, number: Expr, step: int, size: Dimension) -> Expr:
        """Begin of a tile; the last one begins early enough to be whole."""
        if step == 1:
            return self.builder.let(name, number * step)
        first = number * step
        if size % step:
            first = tirx.Min(first, tirx.const(size - step, "int32"))
        return self.builder.let(name, first)

    def _sums(self, name: str, dtype: str, count: int) -> Buffer:
        sums = self.builder.array(name, dtype, count)
        lanes = self.lanes if "x" in dtype else 1
        for index in range(count):
            place = tirx.const(index, "int32")
            self.builder.store(sums, place, constant(0.0, "float32", lanes))
        return sums

    def _by_vectors(self, a_at: Expr, b_at: Expr, y_at: Expr) -> None:
        """Vectors of neighbouring columns times one element of each row."""
        builder, lanes = self.builder, self.lanes
        dtype = "float32" if lanes == 1 else f"float32x{lanes}"
        sums = self._sums("sums", dtype, self.tile)
        with builder.loop("k", 0, builder.size(self.depth)) as k:
            value = load_vector(self.z, b_at + k * builder.size(self.b.rows), lanes)
            vector = builder.let("b", value, dtype)
            for row in range(self.tile):
                place = a_at + self.a_rows[row] + k * builder.size(self.a.columns)
                element = load_vector(self.x, place, 1)
                place = tirx.const(row, "int32")
                total = tirx.call_pure_extern(
                    dtype, "mad", splat(element, lanes), vector, load(sums, place)
                )
                builder.store(sums, place, total)
        scale = constant(self.alpha, "float32", lanes)
        for row in range(self.tile):
            total = load(sums, tirx.const(row, "int32")) * scale
            at = y_at + self.y_rows[row]
            store_vector(builder, self.y, at, total, lanes)

    def _by_dots(self, a_at: Expr, b_at: Expr, y_at: Expr) -> None:
        """Vectors of neighbours along K of each row and each column."""
        builder = self.builder
        sums = self._sums("sums", "float32", self.tile * LANES)
        whole, depth = 0, builder.size(self.depth)
        if self.a.columns == 1:
            whole = depth // LANES if isinstance(depth, int) else tirx.truncdiv(depth, LANES)
        if not isinstance(whole, int) or whole:
            with builder.loop("k", 0, whole) as k:
                self._dot_step(sums, a_at + k * LANES, b_at + k * LANES, LANES)
        if not isinstance(depth, int) or depth > whole * LANES:
            by_a, by_b = builder.size(self.a.columns), builder.size(self.b.rows)
            with builder.loop("k", whole * LANES, depth) as k:
                self._dot_step(sums, a_at + k * by_a, b_at + k * by_b, 1)
        scale = constant(self.alpha, "float32")
        for row in range(self.tile):
            for lane in range(LANES):
                total = load(sums, tirx.const(row * LANES + lane, "int32")) * scale
                at = y_at + (self.y_rows[row] + lane)
                builder.store(self.y, at, total)

    def _dot_step(self, sums: Buffer, a_at: Expr, b_at: Expr, count: int) -> None:
        builder = self.builder
        dtype = "float32" if count == 1 else f"float32x{count}"
        rows = [
            builder.let("a", load_vector(self.x, a_at + begin, count), dtype)
            for begin in self.a_rows
        ]
        for lane in range(LANES):
            at = b_at + lane * builder.size(self.b.columns)
            vector = builder.let("b", load_vector(self.z, at, count), dtype)
            for row, value in enumerate(rows):
                place = tirx.const(row * LANES + lane, "int32")
                product = (
                    value * vector
                    if count == 1
                    else tirx.call_pure_extern("float32", "dot", value, vector)
                )
                builder.store(sums, place, load(sums, place) + product)
