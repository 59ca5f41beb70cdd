"""Softmax and its logarithm: a group of work items for each row."""

from edgecomp.device.target import Target
from edgecomp.plan.attention import Softmax
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import largest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant, splat
from edgecomp.schedules.cpu import math
from edgecomp.schedules.cpu import softmax as cpu
from edgecomp.schedules.cpu.iteration import collapse
from edgecomp.schedules.cpu.nest import advance, unravel
from edgecomp.schedules.cpu.vectors import typed
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.gpu.rows import SharedRow, row_items, row_lanes
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.schedule import KernelCall

NAME = "softmax"


def match(operation: Operation, target: Target) -> str:
    """float32, any axis, any orders; results of 8 bits are the processor's."""
    reason = cpu.match(operation, target)
    if reason:
        return reason
    dtype = operation.output.dtype
    return "" if dtype == "float32" else f"a softmax as {dtype}"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, output, source = operation.kind, operation.output, operation.inputs[0]
    assert isinstance(kind, Softmax)
    if not output.elements:
        return []
    axis = kind.axis % len(output.shape)
    size, views = output.shape[axis], (output.view, source.view)
    keep = [d for d in range(len(output.shape)) if d != axis]
    rest = collapse(
        [output.shape[d] for d in keep],
        [[view.strides[d] for d in keep] for view in views],
        [view.offset for view in views],
    )
    lanes = row_lanes(size, *(view.strides[axis] for view in views))
    items = row_items(largest(size) // lanes, gpu_of(target))
    builder = GridBuilder((rest.elements, 1, 1), (items, 1, 1))
    x = builder.pointer("x", source.stored, source.view.elements)
    y = builder.pointer("y", output.stored, output.view.elements)
    indices = unravel(builder, builder.group(0), rest.sizes)
    offsets = [builder.size(offset) for offset in rest.offsets]
    to, base = advance(builder, rest, range(len(rest.sizes)), indices, offsets)
    to_step, step = (builder.size(view.strides[axis]) for view in views)
    row, dtype = SharedRow(builder, size, items, lanes=lanes), typed("float32", lanes)

    def element(at: Expr) -> Expr:
        return load_vector(x, base + at * step, lanes)

    def exponential(at: Expr) -> Expr:
        return math.exp(builder, builder.let("moved", element(at) - splat(peak, lanes), dtype))

    peak = row.fold(float("-inf"), tirx.max, element)
    total = row.fold(0.0, lambda a, b: a + b, exponential)
    if kind.logarithm:
        last = builder.let("logarithm", math.log(builder, total), "float32")
    else:
        last = builder.let("factor", constant(1.0, "float32") / total, "float32")
    with row.each() as at:
        if kind.logarithm:
            result = (element(at) - splat(peak, lanes)) - splat(last, lanes)
        else:
            result = exponential(at) * splat(last, lanes)
        store_vector(builder, y, to + at * to_step, result, lanes)
    return [builder.call(NAME, (source, output))]
