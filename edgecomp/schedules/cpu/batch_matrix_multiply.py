"""float32 product of two activations, each with batch dimensions.

A work item is one column block of one batch: its panel of b is packed into the workspace of the
thread (transposed in registers where K is contiguous), then all rows of a run over it. With few
rows packing would cost more than it saves, so b is then read where it lies if its columns are
contiguous.
"""

import dataclasses
import itertools
import math

from edgecomp.device.target import Target
from edgecomp.plan.operations import BatchMatrixMultiply, Operation
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    Kernel,
    KernelBuilder,
    constant,
)
from edgecomp.schedules.cpu.arithmetic import Operands, RegisterTile
from edgecomp.schedules.cpu.arithmetic_f32 import arithmetic_f32
from edgecomp.schedules.cpu.batch_operands import Matrix, Panel, multiply, views_of
from edgecomp.schedules.cpu.epilogue import store_columns
from edgecomp.schedules.cpu.row_tiles import part_start
from edgecomp.schedules.cpu.tiles import ProductShape, Split, cheapest_cut, ranked_cuts
from edgecomp.schedules.params import (
    ParamsError,
    params_text,
    read_params,
    require_none,
    require_range,
)
from edgecomp.schedules.schedule import KernelCall

NAME = "batch_matrix_multiply_f32"

#: Rows up to which b is read where it lies.
DIRECT_ROWS = 16
#: Tiles to measure.
MOST_CUTS = 6


@dataclasses.dataclass(frozen=True)
class Params:
    """How the product is cut.

    Attributes:
        rows: in register tiles.
        vectors: of the columns in blocks.
        packed: whether a panel of b is copied first.
    """

    rows: Split
    vectors: Split
    packed: bool

    @property
    def text(self) -> str:
        """See ``schedules.params``."""
        return params_text(
            {"rows": self.rows.large, "vectors": self.vectors.large, "packed": self.packed}
        )


def match(operation: Operation, target: Target) -> str:
    """Claim float32 products of two values whose columns or K are contiguous."""
    del target
    if not isinstance(operation.kind, BatchMatrixMultiply):
        return "not a product of two values"
    values = [*operation.inputs, operation.output]
    if any(value.dtype != "float32" for value in values):
        return f"dtypes {[value.dtype for value in values]}"
    a, b, output = views_of(operation)
    if any(len(view.shape) < 2 for view in (a, b, output)):
        return "an operand of rank below 2"
    if 0 in output.shape or 0 in a.shape:
        return "empty"
    if 1 not in b.strides[-2:]:
        return "neither columns nor K of b are contiguous"
    if output.strides[-1] != 1:
        return "columns of the output are not contiguous"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    return _emit(operation, target, default_params(operation, target))


def default_params(operation: Operation, target: Target) -> Params:
    """The cheapest tile; few rows read b where it lies if they can."""
    shape, arithmetic = _shape(operation, target), arithmetic_f32(target)
    packed = not _is_direct_possible(operation) or shape.rows[0] > DIRECT_ROWS
    _, rows, vectors = cheapest_cut(shape, arithmetic, target)
    return Params(rows, vectors, packed)


def candidates(operation: Operation, target: Target) -> list[str]:
    """Tiles to measure, with b packed and where it lies."""
    if match(operation, target):
        return []
    own = default_params(operation, target)
    ranked = ranked_cuts(_shape(operation, target), arithmetic_f32(target), target)
    found = [Params(rows, vectors, own.packed) for _, (_, rows, vectors) in ranked]
    found = found[:MOST_CUTS]
    if _is_direct_possible(operation):
        found += [dataclasses.replace(params, packed=not own.packed) for params in found[:2]]
    return [params.text for params in found]


def emit_candidate(operation: Operation, target: Target, params: str) -> list[KernelCall]:
    """One kernel with given tiles."""
    require_none(match(operation, target))
    values = read_params(params, ("rows", "vectors", "packed"))
    shape = _shape(operation, target)
    require_range("rows", values["rows"], 1, shape.rows[0])
    require_range("vectors", values["vectors"], 1, shape.vectors)
    require_range("packed", values["packed"], int(not _is_direct_possible(operation)), 1)
    rows = Split.by_size(shape.rows[0], values["rows"])
    vectors = Split.by_size(shape.vectors, values["vectors"])
    registers = target.core.vector_registers
    if not arithmetic_f32(target).fits(rows.large, vectors.large, registers):
        if rows.large > 1 or vectors.large > 1:
            raise ParamsError("the tile does not fit the registers")
    return _emit(operation, target, Params(rows, vectors, bool(values["packed"])))


def _is_direct_possible(operation: Operation) -> bool:
    """Whether columns of b are contiguous."""
    kind = operation.kind
    assert isinstance(kind, BatchMatrixMultiply)
    return views_of(operation)[1].strides[-2 if kind.transpose_b else -1] == 1


def _shape(operation: Operation, target: Target) -> ProductShape:
    """What the choice of tiles depends on."""
    kind, (a, _, output) = operation.kind, views_of(operation)
    assert isinstance(kind, BatchMatrixMultiply)
    depth = a.shape[-2 if kind.transpose_a else -1]
    return ProductShape(
        rows=(output.shape[-2],),
        vectors=-(-output.shape[-1] // arithmetic_f32(target).lanes),
        groups=math.prod(output.shape[:-2]),
        depth=depth,
        row_bytes=4 * depth,
    )


def _emit(operation: Operation, target: Target, params: Params) -> list[KernelCall]:
    kind = operation.kind
    assert isinstance(kind, BatchMatrixMultiply)
    emitter = _Emitter(operation, kind, target, params)
    kernel = emitter.emit()
    a, b = operation.inputs
    return [
        KernelCall(
            kernel=kernel,
            arguments=(a, b, operation.output),
            work_items=emitter.work_items,
            workspace_bytes=emitter.workspace_elements * 4,
            multiply_adds=math.prod(emitter.output.view.shape) * emitter.depth,
        )
    ]


class _Emitter:
    """Emits the kernel of one operation."""

    def __init__(
        self,
        operation: Operation,
        kind: BatchMatrixMultiply,
        target: Target,
        params: Params,
    ) -> None:
        a, b, output = views_of(operation)
        self.alpha = kind.alpha
        self.rows, self.columns = output.shape[-2:]
        self.depth = a.shape[-2] if kind.transpose_a else a.shape[-1]
        self.batch = output.shape[:-2]
        self.a = Matrix.of(a, self.batch, transposed=kind.transpose_a)
        self.b = Matrix.of(b, self.batch, transposed=kind.transpose_b)
        self.output = Matrix.of(output, self.batch, transposed=False)
        self.arithmetic = arithmetic_f32(target)
        self.params = params
        self.work_items = self.params.vectors.count * math.prod(self.batch)
        widest = self.params.vectors.large * self.arithmetic.lanes
        self.workspace_elements = widest * self.depth if params.packed else 0
        self.builder = KernelBuilder(target.core.isa)

    def emit(self) -> Kernel:
        """The whole kernel."""
        builder, split = self.builder, self.params.vectors
        a = builder.pointer("a", "float32", self.a.view.elements)
        b = builder.pointer("b", "float32", self.b.view.elements)
        output = builder.pointer("output", "float32", self.output.view.elements)
        panel = None
        if self.params.packed:
            panel = builder.pointer("panel", "float32", self.workspace_elements)
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
                    self._block((a, b, output, panel), places, first, vectors, is_last)
                start += count
        lanes = self.arithmetic.lanes
        tile = f"{self.params.rows.large}x{split.large * lanes}"
        return builder.finish(f"batch_matrix_multiply_float32_{tile}__{self.arithmetic.name}")

    def _batch_offsets(self, batch: Expr) -> tuple[Expr, Expr, Expr]:
        """Index of the first element of a, b and output in one batch."""
        totals: list[Expr] = [
            tirx.const(matrix.view.offset, "int32") for matrix in (self.a, self.b, self.output)
        ]
        for d in range(len(self.batch) - 1, -1, -1):
            quotient = batch if d == 0 else tirx.truncdiv(batch, self.batch[d])
            index = batch if d == 0 else batch - quotient * self.batch[d]
            for i, matrix in enumerate((self.a, self.b, self.output)):
                totals[i] = totals[i] + index * matrix.batch[d]
            batch = quotient
        a, b, output = (
            self.builder.let("place", total.astype("int64"), "int64") for total in totals
        )
        return a, b, output

    def _block(
        self,
        pointers: tuple[Buffer, Buffer, Buffer, Buffer | None],
        places: tuple[Expr, Expr, Expr],
        first: Expr,
        vectors: int,
        is_last: Expr | None,
    ) -> None:
        """One column block: pack, then all rows."""
        builder, split = self.builder, self.params.rows
        a, b, output, panel = pointers
        column = builder.let("column", first * self.arithmetic.lanes)
        weights, weight_index, weight_stride = b, places[1] + column, self.b.rows
        if panel is not None:
            self._panel(b, panel, vectors).fill(places[1], column)
            weights, weight_index, weight_stride = panel, 0, 0
        start = 0
        for rows, count in split.classes():
            with builder.loop("tile", 0, count) as number:
                row = builder.let("row", number * rows + start)
                operands = Operands(
                    x=a,
                    x_rows=[places[0] + (row + i) * self.a.rows for i in range(rows)],
                    x_stride=self.a.columns,
                    weights=weights,
                    weight_index=weight_index,
                    weight_stride=weight_stride,
                )
                sums = multiply(builder, self.arithmetic, operands, vectors, self.depth)
                at = places[2] + row * self.output.rows + column
                at = builder.let("at", at, "int64")
                self._store(output, at, sums, is_last)
            start += rows * count

    def _panel(self, b: Buffer, panel: Buffer, vectors: int) -> Panel:
        return Panel(
            builder=self.builder,
            source=b,
            panel=panel,
            matrix=self.b,
            depth=self.depth,
            columns=self.columns,
            vectors=vectors,
            lanes=self.arithmetic.lanes,
        )

    def _store(
        self, output: Buffer, at: Expr, sums: RegisterTile, is_last: Expr | None
    ) -> None:
        """Scale and store; only the last block's last vector may be partial."""
        builder, lanes = self.builder, self.arithmetic.lanes
        tail = self.columns % lanes
        for row, vector in itertools.product(range(sums.rows), range(sums.vectors)):
            value = sums.get(row, vector)
            if self.alpha != 1.0:
                value = value * constant(self.alpha, "float32", lanes)
            index = at + row * self.output.rows + vector * lanes
            if not tail or is_last is None or vector < sums.vectors - 1:
                store_columns(builder, output, index, value, lanes, lanes)
                continue
            with builder.condition(is_last):
                store_columns(builder, output, index, value, lanes, tail)
            if self.params.vectors.count > 1:
                with builder.condition(tirx.Not(is_last)):
                    store_columns(builder, output, index, value, lanes, lanes)
