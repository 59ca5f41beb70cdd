"""Reductions over dynamic dimensions, or of values whose other dimensions are dynamic.

Lanes are neighbouring outputs; where the reduced dimension is the contiguous one they are
neighbours within it.
"""

from collections.abc import Callable

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import Reduce
from edgecomp.plan.sizes import Dimension, is_dynamic, largest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, ramp, splat
from edgecomp.schedules.cpu import reduce
from edgecomp.schedules.cpu.dynamic.largest import Twin, items_of
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call, emit_nest
from edgecomp.schedules.cpu.dynamic.row import DynamicRow
from edgecomp.schedules.cpu.epilogue import requantize, vector_dtype
from edgecomp.schedules.cpu.iteration import Space, collapse
from edgecomp.schedules.cpu.move import load_strided
from edgecomp.schedules.cpu.nest import advance, unravel
from edgecomp.schedules.cpu.reduce_steps import OPERATORS, Steps, integer_steps
from edgecomp.schedules.cpu.vectors import named
from edgecomp.schedules.schedule import KernelCall

NAME = reduce.NAME
#: Accumulators that hide the latency of an addition.
_ACCUMULATORS = 4


def match(operation: Operation, target: Target) -> str:
    """Reductions of float32 but LogSumExp; 8-bit means."""
    kind = operation.kind
    if not isinstance(kind, Reduce):
        return "not a reduction"
    if kind.operator == "ReduceLogSumExp":
        return "ReduceLogSumExp"
    if kind.centred:
        return "squares of what is left"
    return reduce.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    return _Emitter(operation, target).emit()


class _Emitter:
    """Emits the kernel of one operation."""

    def __init__(self, operation: Operation, target: Target) -> None:
        kind, x, output = operation.kind, operation.inputs[0], operation.output
        assert isinstance(kind, Reduce)
        self.operation, self.operator, self.target = operation, kind.operator, target
        self.kind = kind
        if kind.requantize is None:
            self.steps: Steps = OPERATORS[kind.operator]
        else:
            self.steps = integer_steps(kind, kind.requantize, target, output.dtype)
        axes = {axis % len(x.shape) for axis in kind.axes}
        kept = [d for d in range(len(x.shape)) if d not in axes]
        out = list(output.view.strides)
        out_strides = [out[d] for d in kept] if kind.keepdims else out
        self.kept = collapse(
            [x.shape[d] for d in kept],
            [out_strides, [x.view.strides[d] for d in kept]],
            [output.view.offset, x.view.offset],
        )
        reduced = sorted(axes)
        strides = [x.view.strides[d] for d in reduced]
        self.reduced = collapse([x.shape[d] for d in reduced], [strides], [0])
        self.count: Dimension = items_of([x.shape[d] for d in reduced])
        self.builder = KernelBuilder(target.core.isa)
        self.x: Buffer = self.builder.pointer("x", x.dtype, largest(x.view.elements))
        self.y: Buffer = self.builder.pointer("y", output.dtype, largest(output.view.elements))

    def emit(self) -> list[KernelCall]:
        """The kernel and its call."""
        lanes = self.target.lanes(32)
        along = self.reduced.strides[0][-1] == 1 and self._is_long(self.reduced.sizes[-1])
        if along and self.kind.requantize is None:
            items: tuple[Dimension, int] = self._emit_rows(lanes), 1
        else:
            items = emit_nest(self.builder, self.kept, lanes, self._columns)
        arguments = (self.operation.inputs[0], self.operation.output)
        return [
            dynamic_call(self.builder, f"{NAME}_{self.operator.lower()}", arguments, items)
        ]

    def _is_long(self, size: Dimension) -> bool:
        return is_dynamic(size) or size > 1

    def _emit_rows(self, lanes: int) -> Dimension:
        """One output per work item; lanes lie along the last reduced dimension."""
        builder, kept = self.builder, self.kept
        start = [builder.size(offset) for offset in kept.offsets]
        outer = self.reduced.without(len(self.reduced.sizes) - 1)
        row = DynamicRow(builder, self._as_expression(self.reduced.sizes[-1]), lanes)
        with builder.loop("item", builder.lo, builder.hi) as item:
            indices = unravel(builder, item, kept.sizes)
            to, base = advance(builder, kept, range(len(kept.sizes)), indices, start)
            total = builder.array("total", "float32", 1)
            builder.store(total, 0, constant(self.steps.identity, "float32"))

            def one_row(at: Expr) -> None:
                part = row.fold(
                    self.steps.identity,
                    self.steps.combine,
                    lambda position: self.steps.element(
                        builder, load(self.x, at + position, lanes), lanes
                    ),
                )
                builder.store(total, 0, self.steps.combine(load(total, 0), part))

            self._over(outer, 0, base, one_row)
            builder.store(self.y, to, self._finish(load(total, 0), 1))
        return items_of(kept.sizes)

    def _as_expression(self, size: Dimension) -> Expr:
        found = self.builder.size(size)
        return tirx.const(found, "int32") if isinstance(found, int) else found

    def _columns(self, offsets: list[Expr], lanes: int) -> None:
        """One vector of outputs."""
        builder, stride = self.builder, self.kept.inner_stride(1)
        inner = self.reduced.sizes[-1]
        outer = self.reduced.without(len(self.reduced.sizes) - 1)
        step = self.reduced.strides[0][-1]
        dtype = self.steps.accumulator
        sums = [builder.array("sum", dtype, lanes) for _ in range(_ACCUMULATORS)]
        for array in sums:
            builder.store(array, ramp(0, lanes), constant(self.steps.identity, dtype, lanes))

        def add(which: int, at: Expr) -> None:
            value = named(builder, "x", load_strided(self.x, at, stride, lanes))
            value = self.steps.element(builder, value, lanes)
            combined = self.steps.combine(load(sums[which], 0, lanes), value)
            builder.store(sums[which], ramp(0, lanes), combined)

        def run(at: Expr) -> None:
            count = self._as_expression(inner)
            whole = builder.let("whole", tirx.truncdiv(count, _ACCUMULATORS))
            with builder.loop("group", 0, whole) as group:
                for which in range(_ACCUMULATORS):
                    add(which, at + (group * _ACCUMULATORS + which) * builder.size(step))
            with builder.loop("step", whole * _ACCUMULATORS, count) as index:
                add(0, at + index * builder.size(step))

        self._over(outer, 0, offsets[1], run)
        total = load(sums[0], 0, lanes)
        for array in sums[1:]:
            total = self.steps.combine(total, load(array, 0, lanes))
        result = self._finish(named(builder, "total", total), lanes)
        at = ramp(offsets[0], lanes, self.kept.inner_stride(0))
        builder.store(self.y, at, result)

    def _over(self, space: Space, d: int, base: Expr, body: Callable[[Expr], None]) -> None:
        """Loops over the outer reduced dimensions."""
        if d == len(space.sizes):
            body(base)
            return
        with self.builder.loop("reduced", 0, self.builder.size(space.sizes[d])) as index:
            stride = self.builder.size(space.strides[0][d])
            inner = self.builder.let("base", base + index * stride)
            self._over(space, d + 1, inner, body)

    def _finish(self, total: Expr, lanes: int) -> Expr:
        if self.kind.requantize is not None:
            return self._requantized(total, lanes)
        if self.operator in ("ReduceMean", "ReduceMeanSquare"):
            count = tirx.Cast("float32", self._as_expression(self.count))
            return total / splat(count, lanes)
        return self.steps.finish(self.builder, total, 0, lanes)

    def _requantized(self, total: Expr, lanes: int) -> Expr:
        """The mean of 8-bit values: its multiplier is that of the elements there are."""
        parameters = self.kind.requantize
        assert parameters is not None
        builder, (source,), output = self.builder, self.operation.inputs, self.operation.output
        multiplier = constant(float(parameters.multiplier.reshape(-1)[0]), "float32")
        count = self._as_expression(self.count)
        if is_dynamic(self.count):
            assert source.quantization is not None
            assert output.quantization is not None
            # As graph/integer.py has it: in float64, rounded once.
            scale_x, scale_y = (
                tirx.const(float(np.float32(value.quantization.scale)), "float64")
                for value in (source, output)
                if value.quantization is not None
            )
            exact = scale_x / (tirx.Cast("float64", count) * scale_y)
            multiplier = builder.let("multiplier", tirx.Cast("float32", exact), "float32")
        shift = builder.let("shift", count * self.kind.zero_x)
        centred = total - splat(shift, lanes)
        result = requantize(self.target, centred, splat(multiplier, lanes), parameters, lanes)
        return result.astype(vector_dtype(output.dtype, lanes))
