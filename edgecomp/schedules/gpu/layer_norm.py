"""Layer normalisation: a group of work items for each row.

Scales and biases of rows whose length differs from run to run are those of the longest: a shorter
row is the beginning of it.
"""

import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import LayerNorm
from edgecomp.plan.sizes import is_dynamic, largest, largest_shape
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant, splat
from edgecomp.schedules.cpu import layer_norm as cpu
from edgecomp.schedules.cpu.vectors import typed
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.gpu.rows import SharedRow, row_items, row_lanes
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "layer_norm"


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedule claims, with float results alone."""
    reason = cpu.match(operation, target)
    if reason:
        return reason
    dtypes = [value.dtype for value in operation.outputs]
    return "" if dtypes == ["float32"] else f"results of {' and '.join(dtypes)}"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, LayerNorm)
    source, *parameters = operation.inputs
    if not output.elements:
        return []
    axis = kind.axis % len(source.shape)
    inner = source.shape[axis:]
    size, rows = math.prod(inner), math.prod(source.shape[:axis])
    longest = largest_shape(inner)
    constants = [
        Constant(value.name, np.broadcast_to(value.constant, longest).reshape(-1).copy())
        for value in parameters
        if value.constant is not None
    ]
    lanes = row_lanes(size, 1)
    items = row_items(largest(size) // lanes, gpu_of(target))
    builder = GridBuilder((rows, 1, 1), (items, 1, 1))
    x = builder.pointer("x", source.stored, source.elements)
    scale = builder.pointer("scale", "float32", size)
    bias = builder.pointer("bias", "float32", size)
    y = builder.pointer("y", output.stored, output.elements)
    base = builder.let("base", builder.group(0) * builder.size(size))
    row, dtype = SharedRow(builder, size, items, lanes=lanes), typed("float32", lanes)

    def plus(a: Expr, b: Expr) -> Expr:
        return a + b

    def element(at: Expr) -> Expr:
        return load_vector(x, base + at, lanes)

    def deviation(at: Expr) -> Expr:
        return builder.let("moved", element(at) - splat(mean, lanes), dtype)

    def square(at: Expr) -> Expr:
        moved = deviation(at)
        return moved * moved

    def average(total: Expr) -> Expr:
        if is_dynamic(size):
            return total / tirx.Cast("float32", builder.size(size))
        return total * constant(1.0 / size, "float32")

    mean = builder.let("mean", average(row.fold(0.0, plus, element)), "float32")
    variance = average(row.fold(0.0, plus, square)) + constant(kind.epsilon, "float32")
    factor = builder.let("factor", constant(1.0, "float32") / tirx.sqrt(variance), "float32")
    with row.each() as at:
        scaled = deviation(at) * splat(factor, lanes) * load_vector(scale, at, lanes)
        result = scaled + load_vector(bias, at, lanes)
        store_vector(builder, y, base + at, result, lanes)
    return [builder.call(NAME, (source, *constants, output))]
