"""float32 product of two activations, each with batch dimensions.

A work item is one column block of one batch: its panel of b is packed into the workspace of the
thread (transposed in registers where K is contiguous), then all rows of a run over it. With few
rows packing would cost more than it saves, so b is then read where it lies if its columns are
contiguous.
"""

import dataclasses
import math

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply
from edgecomp.plan.sizes import largest
from edgecomp.plan.values import Value
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    KernelBuilder,
    constant,
)
from edgecomp.schedules.cpu.arithmetic import Operands, RegisterTile
from edgecomp.schedules.cpu.arithmetic_f32 import arithmetic_f32
from edgecomp.schedules.cpu.batch_operands import Panel, multiply, views_of
from edgecomp.schedules.cpu.batch_walk import BatchWalk, Place
from edgecomp.schedules.cpu.tile_candidates import read_splits
from edgecomp.schedules.cpu.tiles import ProductShape, Split, cheapest_cut, ranked_cuts
from edgecomp.schedules.params import (
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
    require_range("packed", values["packed"], int(not _is_direct_possible(operation)), 1)
    shape = _shape(operation, target)
    rows, vectors = read_splits(values, shape, arithmetic_f32(target), target)
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
    return [FloatProduct(operation, kind, target, params).call()]


@dataclasses.dataclass(frozen=True)
class Weights:
    """A column block of b: where it begins, elements between rows of K (0 for a packed panel)."""

    buffer: Buffer
    index: Expr
    stride: int


class FloatProduct(BatchWalk[Weights]):
    """Emits the kernel of one operation; sizes and strides may be dynamic where the walk's may."""

    def __init__(
        self,
        operation: Operation,
        kind: BatchMatrixMultiply,
        target: Target,
        params: Params,
    ) -> None:
        super().__init__(
            views_of(operation),
            (kind.transpose_a, kind.transpose_b),
            arithmetic_f32(target),
            (params.rows, params.vectors),
            KernelBuilder(target.core.isa),
        )
        self._operation, self.alpha = operation, kind.alpha
        widest = params.vectors.large * self.arithmetic.lanes
        self._panel_elements: int = widest * largest(self.depth) if params.packed else 0

    def emit(self) -> None:
        """See the base class."""
        builder = self.builder
        self._a, self._b, output = (
            builder.pointer(name, "float32", largest(matrix.view.elements))
            for name, matrix in (("a", self.a), ("b", self.b), ("output", self.output))
        )
        self._packed: Buffer | None = None
        if self._panel_elements:
            self._packed = builder.pointer("panel", "float32", self._panel_elements)
        self.walk(output)

    @property
    def arguments(self) -> tuple[Value, ...]:
        """See the base class."""
        return (*self._operation.inputs, self._operation.output)

    @property
    def workspace_bytes(self) -> int:
        """See the base class."""
        return 4 * self._panel_elements

    @property
    def kernel_name(self) -> str:
        """See the base class."""
        return f"batch_matrix_multiply_float32_{self.tile_name}__{self.arithmetic.name}"

    def panel(self, place: Expr, column: Expr, vectors: int) -> Weights:
        """The block packed, or where it lies."""
        if self._packed is None:
            return Weights(self._b, place + column, self.b.rows)
        Panel(
            builder=self.builder,
            source=self._b,
            panel=self._packed,
            matrix=self.b,
            depth=self.depth,
            columns=self.columns,
            vectors=vectors,
            lanes=self.arithmetic.lanes,
        ).fill(place, column)
        return Weights(self._packed, 0, 0)

    def sums(self, rows: list[Expr], panel: Weights, vectors: int) -> RegisterTile:
        """See the base class."""
        operands = Operands(
            x=self._a,
            x_rows=rows,
            x_stride=self.builder.size(self.a.columns),
            weights=panel.buffer,
            weight_index=panel.index,
            weight_stride=panel.stride,
        )
        depth = self.builder.size(self.depth)
        return multiply(self.builder, self.arithmetic, operands, vectors, depth)

    def result(self, total: Expr, place: Place) -> Expr:
        """Scaled sums."""
        del place
        if self.alpha == 1.0:
            return total
        return total * constant(self.alpha, "float32", self.arithmetic.lanes)
