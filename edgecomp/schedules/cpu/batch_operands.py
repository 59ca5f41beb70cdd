"""What products of two activations read: matrices of every batch, panels of b, a tile's operands.

Sizes and strides may be dynamic.
"""

import dataclasses

from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply
from edgecomp.plan.sizes import Dimension
from edgecomp.plan.values import View
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load, ramp
from edgecomp.schedules.cpu.arithmetic import Arithmetic, Operands, RegisterTile, Start
from edgecomp.schedules.cpu.transpose import transpose_tiles

#: Elements of K and of columns that one round of the packing transposes.
_TRANSPOSED = 4


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A matrix for every batch: elements between neighbours along each dimension."""

    view: View
    rows: Dimension
    columns: Dimension
    batch: tuple[Dimension, ...]

    @classmethod
    def of(cls, own: View, batch: tuple[Dimension, ...], *, transposed: bool) -> "Matrix":
        """The matrices of a view whose batch dimensions are broadcast to ``batch``."""
        view = own.broadcast_to((*batch, *own.shape[-2:]))
        rows, columns = view.strides[-2:]
        if transposed:
            rows, columns = columns, rows
        return cls(view, rows, columns, view.strides[:-2])


def views_of(operation: Operation) -> tuple[View, View, View]:
    """Where the elements of a, b and the output of a product lie."""
    kind, (a, b) = operation.kind, operation.inputs
    assert isinstance(kind, BatchMatrixMultiply)
    return kind.a or a.view, kind.b or b.view, kind.output or operation.output.view


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """A column block of b as [K][columns].

    Attributes:
        builder: receives what fills it.
        source: buffer of b.
        panel: buffer that is filled.
        matrix: where b's elements lie.
        depth: elements of K.
        columns: of b.
        vectors: of columns in the block.
        lanes: of a vector.
    """

    builder: KernelBuilder
    source: Buffer
    panel: Buffer
    matrix: Matrix
    depth: Dimension
    columns: Dimension
    vectors: int
    lanes: int

    def fill(self, place: Expr, column: Expr) -> None:
        """Copy the block that begins at ``column`` of the batch whose b begins at ``place``."""
        builder, b, lanes = self.builder, self.source, self.lanes
        if self.matrix.columns == 1:
            stride = builder.size(self.matrix.rows)
            with builder.loop("k", 0, builder.size(self.depth)) as k:
                for vector in range(self.vectors):
                    at = place + k * stride + column + vector * lanes
                    to = ramp(k * self._width + vector * lanes, lanes)
                    builder.store(self.panel, to, load(b, at, lanes))
            return
        stride, last = builder.size(self.matrix.columns), builder.size(self.columns) - 1
        with builder.loop("vector", 0, self.vectors) as vector:
            first = builder.let("first", column + vector * lanes)
            # Lanes beyond the last column repeat it.
            rows = [
                builder.let("source", place + tirx.min(first + lane, last) * stride, "int64")
                for lane in range(lanes)
            ]
            self._transpose(rows, vector * lanes)

    @property
    def _width(self) -> int:
        return self.vectors * self.lanes

    def _transpose(self, rows: list[Expr], target: Expr) -> None:
        """One vector of columns, each contiguous along K."""
        builder, size = self.builder, _TRANSPOSED
        if isinstance(self.depth, int):
            rounds = self.depth // size
            if rounds:
                with builder.loop("k", 0, rounds) as k:
                    self._transpose_round(rows, k, target)
            for k in range(rounds * size, self.depth):
                self._copy_element(rows, k, target)
            return
        depth = builder.size(self.depth)
        whole = builder.let("whole", tirx.truncdiv(depth, size))
        with builder.loop("k", 0, whole) as k:
            self._transpose_round(rows, k, target)
        with builder.loop("k", whole * size, depth) as k:
            self._copy_element(rows, k, target)

    def _transpose_round(self, rows: list[Expr], k: Expr, target: Expr) -> None:
        builder, lanes, size = self.builder, self.lanes, _TRANSPOSED
        tiles = lanes // size
        loaded = []
        for r in range(size):
            parts = [
                load(self.source, rows[t * size + r] + k * size, size) for t in range(tiles)
            ]
            loaded.append(parts[0] if tiles == 1 else tirx.Shuffle(parts, list(range(lanes))))
        for c, value in enumerate(transpose_tiles(builder, loaded, tiles)):
            at = (k * size + c) * self._width + target
            builder.store(self.panel, ramp(at, lanes), value)

    def _copy_element(self, rows: list[Expr], k: Expr, target: Expr) -> None:
        for lane in range(self.lanes):
            to = k * self._width + target + lane
            self.builder.store(self.panel, to, load(self.source, rows[lane] + k))


def multiply(
    builder: KernelBuilder,
    arithmetic: Arithmetic,
    operands: Operands,
    vectors: int,
    depth: Expr,
) -> RegisterTile:
    """Sums of one tile over all of K.

    Args:
        builder: receives the statements.
        arithmetic: does it.
        operands: of the first element of K.
        vectors: of columns in the tile.
        depth: elements of K.
    """
    sums = arithmetic.begin(builder, len(operands.x_rows), vectors, Start())
    stride = operands.weight_stride or vectors * arithmetic.lanes

    def emit_step(k: Expr, groups: int) -> None:
        shifted = dataclasses.replace(
            operands,
            x_rows=[row + k * operands.x_stride for row in operands.x_rows],
            weight_index=operands.weight_index + k * stride,
        )
        arithmetic.accumulate(builder, sums, shifted, groups)

    arithmetic.along_depth(builder, depth, emit_step)
    return sums
