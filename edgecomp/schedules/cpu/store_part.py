"""StorePart: one part of a value along an axis, at an index known at run time."""

import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.movement import StorePart
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Order
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import KernelBuilder, constant, load, ramp
from edgecomp.schedules.cpu.move import bits_dtype
from edgecomp.schedules.cpu.rows import Row
from edgecomp.schedules.schedule import KernelCall

NAME = "store_part"


def match(operation: Operation, target: Target) -> str:
    """Row-major values of any dtype."""
    del target
    if not isinstance(operation.kind, StorePart):
        return "not a part that is stored"
    x, index = operation.inputs
    if x.order is not Order.ROW_MAJOR or operation.output.order is not Order.ROW_MAJOR:
        return "a part of an image"
    return "" if index.dtype == "int64" else f"an index of {index.dtype}"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is one run of neighbours.

    An index outside the value takes its nearest end, so that nothing reaches other memory.
    """
    kind, output = operation.kind, operation.output
    assert isinstance(kind, StorePart)
    x, index = operation.inputs
    if not x.elements:
        return []
    axis = kind.axis % len(output.shape)
    extent = output.shape[axis]
    inner = math.prod(output.shape[axis + 1 :])
    outer = math.prod(output.shape[:axis])
    dtype = bits_dtype(output.dtype)
    builder = KernelBuilder()
    source = builder.pointer("x", dtype, x.elements)
    position = builder.pointer("index", "int64", 1)
    y = builder.pointer("y", dtype, output.elements)
    row = Row.of(builder, inner, target.lanes(8 * np.dtype(output.dtype).itemsize))
    last, first = (constant(value, "int64") for value in (extent - 1, 0))
    inside = tirx.max(tirx.min(load(position, 0), last), first)
    at = builder.let("at", tirx.Cast("int32", inside))
    with builder.loop("item", builder.lo, builder.hi) as item:
        begin = builder.let("begin", item * inner)
        to = builder.let("to", (item * extent + at) * inner)
        row.each(
            lambda k: builder.store(
                y, ramp(to + k, row.lanes), load(source, begin + k, row.lanes)
            )
        )
    return [KernelCall(builder.finish("store_part"), (x, index, output), outer)]
