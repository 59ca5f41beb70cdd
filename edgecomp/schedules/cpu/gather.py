"""Gather: slices of a table at indices that are known at run time."""

import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.movement import Gather
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Order
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import KernelBuilder, load, ramp
from edgecomp.schedules.cpu.move import bits_dtype
from edgecomp.schedules.cpu.rows import Row
from edgecomp.schedules.schedule import KernelCall

NAME = "gather"


def match(operation: Operation, target: Target) -> str:
    """Row-major values of any dtype, 32 or 64-bit indices."""
    del target
    if not isinstance(operation.kind, Gather):
        return "not a gather"
    for value in (*operation.inputs, operation.output):
        if value.order is not Order.ROW_MAJOR:
            return "gather from or into an image"
    if operation.inputs[1].dtype not in ("int32", "int64"):
        return f"indices of {operation.inputs[1].dtype}"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is one slice.

    An index outside the table takes its nearest end, so that no input can reach other memory.
    """
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Gather)
    source, indices = operation.inputs
    if not output.elements:
        return []
    axis = kind.axis % len(source.shape)
    extent, count = source.shape[axis], indices.elements
    inner = math.prod(source.shape[axis + 1 :])
    outer = math.prod(source.shape[:axis])
    dtype = bits_dtype(source.dtype)
    builder = KernelBuilder()
    x = builder.pointer("x", dtype, source.elements)
    positions = builder.pointer("indices", indices.dtype, count)
    y = builder.pointer("y", dtype, output.elements)
    row = Row.of(builder, inner, target.lanes(8 * np.dtype(output.dtype).itemsize))
    with builder.loop("item", builder.lo, builder.hi) as item:
        block = builder.let("block", tirx.truncdiv(item, count))
        index = load(positions, item - block * count)
        least, most = (tirx.const(v, indices.dtype) for v in (-extent, extent - 1))
        index = tirx.Cast("int32", tirx.Max(tirx.Min(index, most), least))
        index = builder.let("index", index)
        index = tirx.Select(index < 0, index + extent, index)
        begin = builder.let("begin", (block * extent + index) * inner)
        to = builder.let("to", item * inner)
        row.each(
            lambda at: builder.store(
                y, ramp(to + at, row.lanes), load(x, begin + at, row.lanes)
            )
        )
    kernel = builder.finish("gather")
    return [KernelCall(kernel, (source, indices, output), outer * count)]
