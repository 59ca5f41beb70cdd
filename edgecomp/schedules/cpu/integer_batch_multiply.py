"""Product of two 8-bit values, each with batch dimensions: sums exact in int32, results float or 8 bits.

As the float32 product of two values, with panels of b that are packed for the core's dot products.
What a's zero point adds to the sums of a column is taken off where they start: it is the product of
a row of such points with the panel. What b's adds where it is not in the middle is the same for all
of a row (byte_sums.py).
"""

import dataclasses
import math
from collections.abc import Collection, Sequence

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import IntegerBatchMultiply
from edgecomp.plan.sizes import Dimension, is_dynamic, largest
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    KernelBuilder,
    constant,
    ramp,
    splat,
)
from edgecomp.schedules.cpu import quantize
from edgecomp.schedules.cpu.arithmetic import Arithmetic, Operands, RegisterTile, Start
from edgecomp.schedules.cpu.arithmetic_dot import LaneDot
from edgecomp.schedules.cpu.arithmetic_s8_x86 import DotProduct, arithmetic_s8_x86
from edgecomp.schedules.cpu.arithmetic_widened import WidenedPairs
from edgecomp.schedules.cpu.batch_walk import BatchWalk, Place
from edgecomp.schedules.cpu.byte_panel import GROUP, BytePanel
from edgecomp.schedules.cpu.byte_sums import RowSums, each_step, in_groups
from edgecomp.schedules.cpu.product_steps import ProductSteps
from edgecomp.schedules.cpu.tile_candidates import read_splits
from edgecomp.schedules.cpu.tiles import ProductShape, Split, cheapest_cut, ranked_cuts
from edgecomp.schedules.cpu.vectors import named
from edgecomp.schedules.params import params_text, read_params, require_none
from edgecomp.schedules.schedule import KernelCall

NAME = "integer_batch_multiply"
#: Tiles to measure.
MOST_CUTS = 6
_LARGEST_SUM = 2**31 - 1
#: Of 32 bits in 256.
_HALF_LANES = 8
#: Zero point of values whose kernels are signed, by how they are stored.
SYMMETRIC_ZERO = {"uint8": 128, "int8": 0}


def arithmetic_of(target: Target, kind: IntegerBatchMultiply) -> Arithmetic:
    """The arithmetic of a product of two values, of which any element may be -128."""
    if target.core.isa == "x86_64":
        return _fitting(arithmetic_s8_x86(target), kind.output.shape[-1])
    per_cycle = 1.0 if target.core.in_order else 2.0
    if target.has("dotprod"):
        return LaneDot(
            multiplies_per_cycle=per_cycle,
            shallow=largest(kind.a.shape[-1]) <= 2 * LaneDot.step,
            in_order=target.core.in_order,
        )
    return WidenedPairs(
        products=1, arm32=target.core.isa == "armv7", multiplies_per_cycle=per_cycle
    )


def _fitting(arithmetic: Arithmetic, columns: Dimension) -> Arithmetic:
    """The same on 256 bits where these hold all columns, or the last vector would hold one.

    Of one column in 512 bits LLVM wants a single lane, and may never end where it has vpermb (TVM 0.27).
    """
    is_plain = not isinstance(arithmetic, DotProduct) or arithmetic.lanes == _HALF_LANES
    if is_plain or is_dynamic(columns):  # whose last vectors are cut off at run time
        return arithmetic
    if columns <= _HALF_LANES or columns % arithmetic.lanes == 1:
        return dataclasses.replace(arithmetic, lanes=_HALF_LANES)
    return arithmetic


def match(operation: Operation, target: Target) -> str:
    """Claim products whose b is contiguous in one direction; any zero point of it with dot products."""
    reason = refuse(operation, {target.activation_dtype})
    kind = operation.kind
    if reason or not isinstance(kind, IntegerBatchMultiply):
        return reason
    if _shift_of(operation) and not isinstance(
        arithmetic_of(target, kind), DotProduct | LaneDot
    ):
        # Products of 16 bits are about as fast as those of float32, and sums of rows slower.
        return "the zero point of b is not in the middle, and the core has no dot products"
    return ""


def refuse(operation: Operation, dtypes: Collection[str]) -> str:
    """Why an operation is for no kernel of these products, "" where it may be.

    Args:
        operation: of any kind.
        dtypes: of 8 bits, that kernels have.
    """
    kind = operation.kind
    if not isinstance(kind, IntegerBatchMultiply):
        return "not a product of two quantized values"
    if any(value.dtype not in dtypes for value in operation.inputs[:2]):
        return f"dtypes {[value.dtype for value in operation.inputs[:2]]}"
    output = operation.output
    if output.dtype != "float32" and output.dtype not in dtypes:
        return f"results of dtype {output.dtype}"
    if output.dtype != "float32" and output.quantization is None:
        return "results without a scale"
    if 0 in (*kind.output.shape, *kind.a.shape):
        return "empty"
    a, b = operation.inputs[:2]
    if a.quantization is None:
        return "no zero point of a"
    if b.quantization is None:
        return "no zero point of b"
    reach = 128 + abs(_shift_of(operation))
    if largest(kind.a.shape[-1]) * 255 * reach > _LARGEST_SUM:
        return f"a sum of {kind.a.shape[-1]} products could overflow int32"
    if kind.a.strides[-1] != 1 and kind.a.shape[-1] > 1:
        return "K of a is not contiguous"
    if 1 not in kind.b.strides[-2:]:
        return "neither columns nor K of b are contiguous"
    if kind.output.strides[-1] != 1:
        return "columns of the output are not contiguous"
    return _steps_of(operation, kind).refusal()


def _shift_of(operation: Operation) -> int:
    """How far the zero point of b is from the middle of its type."""
    b = operation.inputs[1]
    assert b.quantization is not None
    return SYMMETRIC_ZERO[b.dtype] - b.quantization.zero_point


def _steps_of(operation: Operation, kind: IntegerBatchMultiply) -> ProductSteps:
    return ProductSteps(kind.steps, operation.inputs[2:], kind.output.shape)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind = operation.kind
    assert isinstance(kind, IntegerBatchMultiply)
    return _emit(operation, kind, target, default_splits(operation, target))


def default_splits(operation: Operation, target: Target) -> list[Split]:
    """The cheapest ones of rows and of vectors of columns."""
    kind = operation.kind
    assert isinstance(kind, IntegerBatchMultiply)
    arithmetic = arithmetic_of(target, kind)
    _, *splits = cheapest_cut(shape_of(kind, arithmetic), arithmetic, target)
    return splits


def candidates(operation: Operation, target: Target) -> list[str]:
    """Tiles to measure, the cheapest of the cost model first."""
    kind = operation.kind
    if match(operation, target):
        return []
    assert isinstance(kind, IntegerBatchMultiply)
    arithmetic = arithmetic_of(target, kind)
    ranked = ranked_cuts(shape_of(kind, arithmetic), arithmetic, target)
    return [_text(rows, vectors) for _, (_, rows, vectors) in ranked[:MOST_CUTS]]


def emit_candidate(operation: Operation, target: Target, params: str) -> list[KernelCall]:
    """One kernel with given tiles."""
    require_none(match(operation, target))
    kind = operation.kind
    assert isinstance(kind, IntegerBatchMultiply)
    arithmetic = arithmetic_of(target, kind)
    values = read_params(params, ("rows", "vectors"))
    splits = read_splits(values, shape_of(kind, arithmetic), arithmetic, target)
    return _emit(operation, kind, target, splits)


def _text(rows: Split, vectors: Split) -> str:
    return params_text({"rows": rows.large, "vectors": vectors.large})


def _emit(
    operation: Operation, kind: IntegerBatchMultiply, target: Target, splits: Sequence[Split]
) -> list[KernelCall]:
    return [IntegerProduct(operation, kind, target, splits).call()]


def shape_of(kind: IntegerBatchMultiply, arithmetic: Arithmetic) -> ProductShape:
    """What the choice of tiles depends on."""
    depth = -(-kind.a.shape[-1] // GROUP) * GROUP
    return ProductShape(
        rows=(kind.output.shape[-2],),
        vectors=-(-kind.output.shape[-1] // arithmetic.lanes),
        groups=math.prod(kind.output.shape[:-2]),
        depth=depth,
        row_bytes=depth,
    )


class IntegerProduct(BatchWalk[RegisterTile]):
    """Emits the kernel of one operation; a block's panel is known by its first sums.

    Sizes and strides may be dynamic where the walk's may.
    """

    def __init__(
        self,
        operation: Operation,
        kind: IntegerBatchMultiply,
        target: Target,
        splits: Sequence[Split],
    ) -> None:
        self.steps = _steps_of(operation, kind)
        super().__init__(
            (kind.a, kind.b, kind.output),
            (False, False),
            arithmetic_of(target, kind),
            splits,
            KernelBuilder(target.core.isa),
            self.steps.views,
        )
        self.operation, self.alpha, self.target = operation, kind.alpha, target
        self._shift = _shift_of(operation)
        widest = self.vector_split.large * self.arithmetic.lanes
        self._panel_elements: int = widest * in_groups(largest(self.depth)) * GROUP

    @property
    def arguments(self) -> tuple[Value, ...]:
        """See the base class."""
        operation = self.operation
        return (*operation.inputs[:2], *self.steps.pointers, operation.output)

    @property
    def workspace_bytes(self) -> int:
        """See the base class."""
        return self._panel_elements * self.arithmetic.weight_bytes

    @property
    def kernel_name(self) -> str:
        """See the base class."""
        return f"batch_matrix_multiply_int8_{self.tile_name}__{self.arithmetic.name}"

    def emit(self) -> None:
        """See the base class."""
        builder, output = self.builder, self.operation.output
        a, b = self.operation.inputs[:2]
        self._a = builder.pointer("a", a.dtype, largest(self.a.view.elements))
        self._b = builder.pointer("b", b.dtype, largest(self.b.view.elements))
        self._further = [
            builder.pointer(f"x{number}", "float32", largest(value.view.elements))
            for number, value in enumerate(self.steps.pointers)
        ]
        results = builder.pointer("output", output.dtype, largest(self.output.view.elements))
        dtype = self.arithmetic.weight_dtype
        self._packed = builder.pointer("panel", dtype, self._panel_elements)
        self._narrow = quantize.narrowing(builder, output, self.target)
        self.walk(results)

    def panel(self, place: Expr, column: Expr, vectors: int) -> RegisterTile:
        """Pack the block; its sums start from what a's zero point adds, negative."""
        builder, arithmetic = self.builder, self.arithmetic
        BytePanel(
            builder=builder,
            source=self._b,
            dtype=self.operation.inputs[1].dtype,
            panel=self._packed,
            matrix=self.b,
            depth=self.depth,
            columns=self.columns,
            vectors=vectors,
            arithmetic=arithmetic,
        ).fill(place, column)
        start = builder.array("start", "int32", vectors * arithmetic.lanes)
        a = self.operation.inputs[0]
        assert a.quantization is not None
        tile = arithmetic.begin(builder, 1, vectors, Start())
        if a.quantization.zero_point:
            points = builder.array("points", a.dtype, arithmetic.step)
            point = constant(a.quantization.zero_point, a.dtype, arithmetic.step)
            builder.store(points, ramp(0, arithmetic.step), point)
            self._accumulate(tile, points, [0], stride=0)
        first = constant(0, "int32", arithmetic.lanes)
        if self._shift:
            self._row_sums = RowSums.of(builder, arithmetic, self.depth)
            apart = builder.size(self.depth) * (-self._shift * a.quantization.zero_point)
            first = splat(tirx.const(0, "int32") + apart, arithmetic.lanes)
        for vector in range(vectors):
            at = ramp(vector * arithmetic.lanes, arithmetic.lanes)
            builder.store(start, at, first - tile.get(0, vector))
        return RegisterTile(1, vectors, arithmetic.lanes, [start])

    def sums(self, rows: list[Expr], panel: RegisterTile, vectors: int) -> RegisterTile:
        """See the base class."""
        builder, lanes = self.builder, self.arithmetic.lanes
        of_rows = self._row_sums.add(self._a, rows) if self._shift else None
        tile = self.arithmetic.begin(builder, len(rows), vectors, Start(panel.sums[0], 0))
        if of_rows is not None:
            shift = constant(self._shift, "int32", lanes)
            for row in range(len(rows)):
                more = named(builder, "more", of_rows.get(row, 0) * shift)
                for vector in range(vectors):
                    tile.set(builder, row, vector, tile.get(row, vector) + more)
        self._accumulate(tile, self._a, rows, stride=1)
        return tile

    def _accumulate(
        self, tile: RegisterTile, x: Buffer, rows: list[Expr], *, stride: int
    ) -> None:
        """All of K, in steps: of x the same one again where ``stride`` is 0."""
        builder, arithmetic = self.builder, self.arithmetic

        def step(k: Expr, groups: int) -> None:
            operands = Operands(
                x=x,
                x_rows=[row + k * stride for row in rows],
                weights=self._packed,
                weight_index=arithmetic.panel_index(tile.vectors, k),
            )
            arithmetic.accumulate(builder, tile, operands, groups)

        groups = in_groups(builder.size(self.depth))
        if not isinstance(groups, int):
            groups = builder.let("groups", groups)
        each_step(builder, arithmetic, groups, step)

    def result(self, total: Expr, place: Place) -> Expr:
        """Scaled sums, the steps behind them, and what Quantize makes of these."""
        lanes = self.arithmetic.lanes
        value = total.astype(f"float32x{lanes}") * constant(self.alpha, "float32", lanes)
        further = list(zip(self._further, self.further, strict=True))
        return self._narrow(self.steps.emit(self.builder, self.target, value, further, place))
