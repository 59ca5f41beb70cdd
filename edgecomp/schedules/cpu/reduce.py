"""Reductions over any axes of a value in any order, global pools included.

Dimensions that lie in memory without a gap are merged. The one with stride 1 goes into vector
lanes: a kept one ("across": each lane is an output, no lane meets another; the global pool of
an NHWC image) or a reduced one ("along": the lanes of a row are folded at its end).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan import sizes
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import Reduce
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, load, splat
from edgecomp.schedules.cpu import windows
from edgecomp.schedules.cpu.bounds import clamp
from edgecomp.schedules.cpu.epilogue import vector_dtype
from edgecomp.schedules.cpu.reduce_loops import Loops, Run, fold_lanes
from edgecomp.schedules.cpu.reduce_steps import MAXIMUM, OPERATORS, Steps, integer_steps
from edgecomp.schedules.cpu.windows import GroupRun, Lanes, Walk
from edgecomp.schedules.schedule import KernelCall

NAME = "reduce"

#: An int32 sum of this many 8-bit values cannot overflow.
_MAXIMUM_INTEGER_COUNT = 1 << 23
#: Nor one of as many 16-bit values.
_MAXIMUM_WIDE_COUNT = (1 << 16) - 1
_STORED = ("uint8", "int8", "int16")
#: Vectors of neighbouring outputs that one work item computes.
_VECTORS = 4
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One dimension after merging; ``out`` is 0 for reduced ones. Strides in elements."""

    size: sizes.Dimension
    x: sizes.Dimension
    out: sizes.Dimension


@dataclasses.dataclass(frozen=True)
class Shape:
    """Kept and reduced dimensions, outermost first, without those of size 1."""

    kept: tuple[Dimension, ...]
    reduced: tuple[Dimension, ...]

    @property
    def count(self) -> sizes.Dimension:
        """Elements that make one output."""
        return math.prod(d.size for d in self.reduced)


def match(operation: Operation, target: Target) -> str:  # noqa: ARG001
    """Claim float32 reductions and the requantized mean of 8-bit values."""
    kind = operation.kind
    if not isinstance(kind, Reduce):
        return "not a reduction"
    x, output = operation.inputs[0], operation.output
    if min(x.shape, default=1) == 0:
        return "no elements"
    if kind.centred:
        return _centred_refusal(operation)
    if kind.requantize is None:
        if x.dtype != "float32" or output.dtype != "float32":
            return f"{x.dtype} to {output.dtype}"
        return "" if kind.operator in OPERATORS else kind.operator
    if kind.operator not in ("ReduceMean", "ReduceSum"):
        return f"integer {kind.operator}"
    if x.dtype not in _STORED or output.dtype not in _STORED:
        return f"{x.dtype} to {output.dtype}"
    if kind.requantize.multiplier.size != 1:
        return "a multiplier per channel"
    most = _MAXIMUM_WIDE_COUNT if x.dtype == "int16" else _MAXIMUM_INTEGER_COUNT
    if shape_of(operation).count > most:
        return "more elements than an int32 sum holds"
    return ""


def _centred_refusal(operation: Operation) -> str:
    """Claim squares of what is left beside a value that lies as the result does."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Reduce)
    x, centre = operation.inputs
    if {x.dtype, centre.dtype, output.dtype} != {"float32"}:
        return f"{x.dtype} beside {centre.dtype} to {output.dtype}"
    if not OPERATORS[kind.operator].squares or kind.requantize is not None:
        return f"{kind.operator} of what is left"
    if centre.constant is not None or centre.shape != output.shape:
        return "a centre that is no value of the result's shape"
    if centre.view.strides != output.view.strides:
        return "a centre in another order than the result"
    kept = shape_of(operation).kept
    is_across = bool(kept) and kept[-1].x == 1
    return "results that do not lie side by side" if is_across and kept[-1].out != 1 else ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; work items are outputs, or vectors of them."""
    kind, x = operation.kind, operation.inputs[0]
    assert isinstance(kind, Reduce)
    shape = shape_of(operation)
    if kind.requantize is None:
        steps = OPERATORS[kind.operator]
    else:
        steps = integer_steps(kind, kind.requantize, target, operation.output.dtype)
    emitter = _Emitter(operation, shape, steps, target)
    items = emitter.emit()
    return [
        KernelCall(
            kernel=emitter.builder.finish(f"{NAME}_{kind.operator.lower()}_{x.dtype}"),
            arguments=(*operation.inputs, operation.output),
            work_items=items,
        )
    ]


def shape_of(operation: Operation) -> Shape:
    """Strides of the kept and the reduced dimensions, merged."""
    kind, x = operation.kind, operation.inputs[0]
    assert isinstance(kind, Reduce)
    view, out = x.view, operation.output.view
    axes = {axis % len(x.shape) for axis in kind.axes}
    out_strides = list(out.strides)
    kept, reduced = [], []
    for d, (size, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        if d in axes:
            reduced.append(Dimension(size, stride, 0))
            if kind.keepdims:
                out_strides.pop(0)
        else:
            kept.append(Dimension(size, stride, out_strides.pop(0)))
    return Shape(_merge(kept), _merge(reduced))


def _merge(dimensions: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """Order by the stride in x, merge neighbours without a gap, drop size 1."""
    merged: list[Dimension] = []
    long = (d for d in dimensions if sizes.is_dynamic(d.size) or d.size > 1)
    for d in sorted(long, key=lambda d: -sizes.largest(d.x)):
        outer = merged[-1] if merged else None
        if outer and (outer.x, outer.out) == (d.x * d.size, d.out * d.size):
            merged[-1] = Dimension(outer.size * d.size, d.x, d.out)
        else:
            merged.append(d)
    return tuple(merged)


class _Emitter:
    """Emits one kernel."""

    def __init__(
        self, operation: Operation, shape: Shape, steps: Steps, target: Target
    ) -> None:
        self.shape, self.steps, self.target = shape, steps, target
        self.x, self.output = operation.inputs[0], operation.output
        self.centre = operation.inputs[1] if len(operation.inputs) > 1 else None
        self.lanes = target.lanes(32)
        self.builder = KernelBuilder(target.core.isa)
        self.x_buffer = self.builder.pointer("x", self.x.dtype, self.x.view.elements)
        if self.centre is not None:
            self.centre_buffer = self.builder.pointer(
                "centre", self.centre.dtype, self.centre.view.elements
            )
        self.out_buffer = self.builder.pointer(
            "out", self.output.dtype, self.output.view.elements
        )

    def emit(self) -> int:
        """Emit the loops; return the number of work items."""
        kept, reduced = self.shape.kept, self.shape.reduced
        if reduced and reduced[-1].x == 1:
            return self._emit_single(min(self.lanes, _power_of_two_to(reduced[-1].size)))
        if kept and kept[-1].x == 1:
            return self._emit_across()
        return self._emit_single(1)

    def _emit_across(self) -> int:
        """Lanes are neighbouring outputs."""
        *outer, inner = self.shape.kept
        most = 1 if self.steps.shifted else _VECTORS
        vectors = min(most, -(-inner.size // self.lanes))
        walk = Walk(lanes=self.lanes, vectors=vectors, blocks=1, columns=1)

        def body(run: GroupRun, group: Expr, begin: Expr, end: Expr) -> None:
            first = self.builder.let("first", run.first_channel + group * run.channels)
            with self.builder.loop("row", begin, end) as row:
                x_at, out_at = self._offsets(row, outer)
                cut = run.segments[0].vectors
                centres = self._centres(out_at + first, cut)
                results = self._results(self.builder.let("x_at", x_at + first), cut, centres)
                for vector, result in zip(cut, results, strict=True):
                    at = out_at + (first + vector.offset) * inner.out
                    self._store(at, result, vector, inner.out)

        runs = windows.channel_groups(inner.size, walk)
        rows = math.prod(d.size for d in outer)
        items: int = windows.walk_groups(self.builder, runs, rows, body)
        return items

    def _emit_single(self, lanes: int) -> int:
        """One output at a time: lanes are neighbours within a row, or one for no vectors."""
        with self.builder.loop("row", self.builder.lo, self.builder.hi) as row:
            x_at, out_at = self._offsets(row, self.shape.kept)
            cut = (Lanes(0, lanes, lanes),)
            centres = self._centres(out_at, (Lanes(0, 1, 1),))
            (result,) = self._results(self.builder.let("x_at", x_at), cut, centres, along=True)
            self._store(out_at, result, Lanes(0, 1, 1), 1)
        return math.prod(d.size for d in self.shape.kept)

    def _offsets(self, row: Expr, dimensions: Sequence[Dimension]) -> tuple[Expr, Expr]:
        """Indices in x and the output of a row-major number over dimensions."""
        x_at, out_at = self.x.view.offset, self.output.view.offset
        for d in reversed(dimensions[1:]):
            outer = self.builder.let("outer", tirx.truncdiv(row, d.size))
            index = row - outer * d.size
            x_at, out_at = x_at + index * d.x, out_at + index * d.out
            row = outer
        if dimensions:
            x_at, out_at = x_at + row * dimensions[0].x, out_at + row * dimensions[0].out
        return x_at, out_at

    def _centres(self, out_at: Expr, vectors: tuple[Lanes, ...]) -> list[Expr]:
        """What is taken off the elements of the outputs from ``out_at`` on; none for nothing."""
        if self.centre is None:
            return []
        moved = self.centre.view.offset - self.output.view.offset
        return [
            self.builder.let(
                "centre",
                load(self.centre_buffer, out_at + moved + vector.offset, vector.lanes),
                vector_dtype("float32", vector.lanes),
            )
            for vector in vectors
        ]

    def _results(
        self,
        x_at: Expr,
        vectors: tuple[Lanes, ...],
        centres: list[Expr],
        *,
        along: bool = False,
    ) -> list[Expr]:
        """Outputs made from the elements from ``x_at`` on: one per lane, or one in all."""
        builder, steps = self.builder, self.steps
        lanes = [1 if along else vector.lanes for vector in vectors]
        shifts = list(centres)
        if steps.shifted:
            for value, width in zip(
                self._pass(x_at, vectors, MAXIMUM, [], along=along), lanes, strict=True
            ):
                finite = clamp(value, -_LARGEST_FLOAT, _LARGEST_FLOAT, builder.isa)
                shifts.append(builder.let("shift", finite, vector_dtype("float32", width)))
        results = []
        totals = self._pass(x_at, vectors, steps, shifts, along=along)
        for index, (total, width) in enumerate(zip(totals, lanes, strict=True)):
            named = builder.let("total", total, vector_dtype(steps.accumulator, width))
            result = steps.finish(builder, named, self.shape.count, width)
            results.append(result + shifts[index] if steps.shifted else result)
        return results

    def _pass(
        self,
        x_at: Expr,
        vectors: tuple[Lanes, ...],
        steps: Steps,
        shifts: list[Expr],
        *,
        along: bool,
    ) -> list[Expr]:
        """One pass over the reduced elements."""

        def element(index: int, x: Expr) -> Expr:
            lanes = vectors[index].lanes
            if shifts:
                shift = splat(shifts[index], lanes) if along else shifts[index]
                x = self.builder.let("moved", x - shift, vector_dtype("float32", lanes))
            return steps.element(self.builder, x, lanes)

        runs = [Run(d.size, d.x) for d in self.shape.reduced] or [Run(1, 1)]
        tail = 0
        if along and vectors[0].lanes > 1:
            *outer, inner = runs
            count, tail = divmod(inner.size, vectors[0].lanes)
            runs = [*outer, Run(count, vectors[0].lanes)]
        loops = Loops(
            builder=self.builder,
            x=self.x_buffer,
            vectors=vectors,
            steps=steps,
            element=element,
        )
        totals = loops.run(x_at, tuple(runs), tail)
        if not along:
            return totals
        return [fold_lanes(self.builder, steps, totals[0], vectors[0].lanes)]

    def _store(self, at: Expr, value: Expr, vector: Lanes, stride: int) -> None:
        if stride == 1 or vector.valid == 1:
            if vector.lanes == 1 or vector.valid == vector.lanes:
                windows.store_valid(self.builder, self.out_buffer, at, value, vector)
                return
        dtype = vector_dtype(self.output.dtype, vector.lanes)
        named = self.builder.let("result", value, dtype)
        if stride == 1:
            windows.store_valid(self.builder, self.out_buffer, at, named, vector)
            return
        for lane in range(vector.valid):
            element = windows.lanes_of(named, lane, 1)
            self.builder.store(self.out_buffer, at + lane * stride, element)


def _power_of_two_to(size: int) -> int:
    """The least power of two not below ``size``."""
    return 1 << (size - 1).bit_length()
