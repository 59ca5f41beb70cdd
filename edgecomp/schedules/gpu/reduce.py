"""Reductions over any axes, global pools included.

Where the outputs lie side by side in the input a work item has a vector of them; else a group of
work items shares the elements of each output.
"""

import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.graph.integer import average_multiplier
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import Reduce
from edgecomp.plan.sizes import Dimension as Extent
from edgecomp.plan.sizes import is_dynamic, largest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load
from edgecomp.schedules.cpu import reduce as cpu
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.cpu.reduce import Dimension, shape_of
from edgecomp.schedules.cpu.reduce_steps import OPERATORS, Steps, integer_steps
from edgecomp.schedules.cpu.vectors import typed
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import LANES, flat_target, gpu_of, is_multiple
from edgecomp.schedules.gpu.rows import SharedRow, row_items
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "reduce"


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedule claims, apart from what takes two passes."""
    kind = operation.kind
    reason = cpu.match(operation, target)
    if reason or not isinstance(kind, Reduce):
        return reason
    if kind.centred:
        return "squares of what is left"
    return "ReduceLogSumExp" if _steps(operation, target).shifted else ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    x, output = operation.inputs[0], operation.output
    if not output.elements:
        return []
    shape = shape_of(operation)
    across = bool(shape.kept) and shape.kept[-1].x == 1
    builder = (_emit_across if across else _emit_shared)(operation, target)
    tables = [_multipliers(operation)] if _has_table(operation) else []
    return [builder.call(NAME, (x, *tables, output))]


def _steps(operation: Operation, target: Target) -> Steps:
    kind, dtype = operation.kind, operation.output.dtype
    assert isinstance(kind, Reduce)
    if kind.requantize is None:
        return OPERATORS[kind.operator]
    return integer_steps(kind, kind.requantize, flat_target(target), dtype, _multiplier)


def _has_table(operation: Operation) -> bool:
    """Whether it is a mean of 8-bit values of which there are more or less from run to run."""
    kind = operation.kind
    assert isinstance(kind, Reduce)
    return kind.requantize is not None and is_dynamic(shape_of(operation).count)


def _multipliers(operation: Operation) -> Constant:
    """Those of 1, 2, 3 ... elements, in front of them a 0 that no run has.

    They are rounded from float64, which a kernel here could not divide in.
    """
    scales = [
        value.quantization.scale
        for value in (operation.inputs[0], operation.output)
        if value.quantization is not None
    ]
    counts = range(1, largest(shape_of(operation).count) + 1)
    each = [average_multiplier(scales[0], count, scales[1]).reshape(-1) for count in counts]
    return Constant("multipliers", np.concatenate([np.zeros(1, np.float32), *each]))


def _multiplier(builder: KernelBuilder, count: Extent) -> Expr:
    assert isinstance(builder, GridBuilder)
    return load(builder.tables[0], builder.size(count))


def _pointers(builder: GridBuilder, operation: Operation) -> tuple[Buffer, Buffer]:
    x, output = operation.inputs[0], operation.output
    source = builder.pointer("x", x.stored, x.view.elements)
    if _has_table(operation):
        elements = largest(shape_of(operation).count) + 1
        builder.tables = [builder.pointer("t", "float32", elements)]
    return source, builder.pointer("y", output.stored, output.view.elements)


def _place(
    builder: GridBuilder, number: Expr, dimensions: tuple[Dimension, ...], x: Expr, y: Expr
) -> tuple[Expr, Expr]:
    """Places in the input and the output of a row-major number over dimensions."""
    for dimension, index in zip(
        dimensions, unravel(builder, number, [d.size for d in dimensions]), strict=True
    ):
        x = x + index * builder.size(dimension.x)
        y = y + index * builder.size(dimension.out)
    return builder.let("x_at", x), builder.let("y_at", y)


def _emit_across(operation: Operation, target: Target) -> GridBuilder:
    """A work item walks all elements of neighbouring outputs."""
    x_value, output = operation.inputs[0], operation.output
    shape, steps = shape_of(operation), _steps(operation, target)
    inner = shape.kept[-1]
    lanes = LANES if is_multiple(inner.size, LANES) and inner.out == 1 else 1
    kept = (
        *shape.kept[:-1],
        Dimension(inner.size // lanes, lanes, inner.out * lanes),
    )
    count = math.prod(d.size for d in kept)
    builder = GridBuilder.line(count, gpu_of(target).group_items)
    x, y = _pointers(builder, operation)
    with builder.each(count) as at:
        offsets = (builder.size(value.view.offset) for value in (x_value, output))
        x_at, y_at = _place(builder, at, kept, *offsets)
        dtype, zero = typed(steps.accumulator, lanes), tirx.const(0, "int32")
        total = builder.array("total", dtype, 1)
        builder.store(total, zero, constant(steps.identity, steps.accumulator, lanes))

        def walk(dimensions: tuple[Dimension, ...], place: Expr) -> None:
            if dimensions:
                with builder.loop("k", 0, builder.size(dimensions[0].size)) as k:
                    walk(dimensions[1:], place + k * builder.size(dimensions[0].x))
                return
            stored = builder.let(
                "element", load_vector(x, place, lanes), typed(x_value.dtype, lanes)
            )
            element = steps.element(builder, stored, lanes)
            builder.store(total, zero, steps.combine(load(total, zero), element))

        walk(shape.reduced, x_at)
        whole = builder.let("whole", load(total, zero), dtype)
        store_vector(builder, y, y_at, steps.finish(builder, whole, shape.count, lanes), lanes)
    return builder


def _emit_shared(operation: Operation, target: Target) -> GridBuilder:
    """A group of work items for each output."""
    x_value, output = operation.inputs[0], operation.output
    shape, steps = shape_of(operation), _steps(operation, target)
    items = row_items(largest(shape.count), gpu_of(target))
    outputs = math.prod(d.size for d in shape.kept)
    builder = GridBuilder((outputs, 1, 1), (items, 1, 1))
    x, y = _pointers(builder, operation)
    offsets = (builder.size(value.view.offset) for value in (x_value, output))
    x_at, y_at = _place(builder, builder.group(0), shape.kept, *offsets)
    row = SharedRow(builder, shape.count, items, steps.accumulator)

    def element(at: Expr) -> Expr:
        place, _ = _place(builder, at, shape.reduced, x_at, 0)
        stored = builder.let("element", load_vector(x, place, 1), x_value.dtype)
        return steps.element(builder, stored, 1)

    total = row.fold(steps.identity, steps.combine, element)
    with builder.condition(builder.item(0) < 1):
        builder.store(y, y_at, steps.finish(builder, total, shape.count, 1))
    return builder
