"""Softmax and its logarithm: a group of work items for each row."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation, Softmax
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant
from edgecomp.schedules.cpu import math
from edgecomp.schedules.cpu import softmax as cpu
from edgecomp.schedules.cpu.iteration import collapse
from edgecomp.schedules.cpu.nest import advance, unravel
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.gpu.rows import SharedRow, row_items
from edgecomp.schedules.gpu.vectors import load_vector
from edgecomp.schedules.schedule import KernelCall

NAME = "softmax"


def match(operation: Operation, target: Target) -> str:
    """float32, any axis, any orders."""
    return cpu.match(operation, target)


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
    items = row_items(size, gpu_of(target))
    builder = GridBuilder((int(rest.elements), 1, 1), (items, 1, 1))
    x = builder.pointer("x", source.stored, source.view.elements)
    y = builder.pointer("y", output.stored, output.view.elements)
    indices = unravel(builder, builder.group(0), rest.sizes)
    to, base = advance(builder, rest, range(len(rest.sizes)), indices, rest.offsets)
    row = SharedRow(builder, size, items)

    def element(at: Expr) -> Expr:
        return load_vector(x, base + at * views[1].strides[axis], 1)

    def exponential(at: Expr) -> Expr:
        return math.exp(builder, builder.let("moved", element(at) - peak, "float32"))

    peak = row.fold(float("-inf"), tirx.max, element)
    total = row.fold(0.0, lambda a, b: a + b, exponential)
    if kind.logarithm:
        last = builder.let("logarithm", math.log(builder, total), "float32")
    else:
        last = builder.let("factor", constant(1.0, "float32") / total, "float32")
    with row.each() as at:
        result = (element(at) - peak) - last if kind.logarithm else exponential(at) * last
        builder.store(y, to + at * views[0].strides[axis], result)
    return [KernelCall(builder.finish(NAME), (source, output), 1, launch=builder.launch)]
