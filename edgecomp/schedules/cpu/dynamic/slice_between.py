"""Slice between indices that are known when the model runs."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.counting import SliceBetween
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import largest
from edgecomp.plan.values import Order
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load, ramp
from edgecomp.schedules.cpu.dynamic.largest import items_of
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.cpu.move import bits_dtype
from edgecomp.schedules.cpu.rows import Row
from edgecomp.schedules.schedule import KernelCall

NAME = "slice_between"


def match(operation: Operation, target: Target) -> str:
    """Row-major values of any dtype."""
    del target
    if not isinstance(operation.kind, SliceBetween):
        return "not a slice between indices"
    if operation.inputs[0].order is not Order.ROW_MAJOR:
        return "a slice of an image"
    dtypes = {value.dtype for value in operation.inputs[1:]}
    return "" if dtypes <= {"int32", "int64"} else f"indices of {', '.join(sorted(dtypes))}"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel of one work item: it counts, then copies."""
    kind, (x, begin, end), (y, count) = operation.kind, operation.inputs, operation.outputs
    assert isinstance(kind, SliceBetween)
    most, inner = largest(y.shape[kind.axis]), items_of(x.shape[kind.axis + 1 :])
    dtype = bits_dtype(x.dtype)
    builder = KernelBuilder(target.core.isa)
    source = builder.pointer("x", dtype, largest(x.elements))
    first = builder.pointer("begin", begin.dtype, 1)
    last = builder.pointer("end", end.dtype, 1)
    result = builder.pointer("y", dtype, largest(y.elements))
    counted = builder.pointer("count", "int64", 1)
    extent, width = builder.size(x.shape[kind.axis]), builder.size(inner)
    backwards = kind.step < 0
    with builder.loop("once", builder.lo, builder.hi):
        start = _inside(builder, first, extent, 0, extent - 1 if backwards else extent)
        low, high = (-1, extent - 1) if backwards else (0, extent)
        stop = _inside(builder, last, extent, low, high)
        way = start - stop if backwards else stop - start
        step = abs(kind.step)
        number = tirx.truncdiv(tirx.max(way, 0) + (step - 1), step)
        number = builder.let("number", number)
        builder.store(counted, 0, tirx.Cast("int64", number))
        kept = builder.let("kept", tirx.min(number, most))
        with (
            builder.loop("outer", 0, builder.size(items_of(x.shape[: kind.axis]))) as outer,
            builder.loop("k", 0, kept) as k,
        ):
            index = start + k * kind.step
            at = builder.let("at", (outer * extent + index) * width)
            to = builder.let("to", (outer * kept + k) * width)
            if isinstance(inner, int):
                row = Row.of(builder, inner, target.lanes(8 * np.dtype(x.dtype).itemsize))

                def copy(place: Expr, at: Expr = at, to: Expr = to, row: Row = row) -> None:
                    value = load(source, at + place, row.lanes)
                    builder.store(result, ramp(to + place, row.lanes), value)

                row.each(copy)
            else:
                with builder.loop("i", 0, width) as i:
                    builder.store(result, to + i, load(source, at + i))
    return [dynamic_call(builder, NAME, (x, begin, end, y, count), (1, 1))]


def _inside(
    builder: KernelBuilder, index: Buffer, extent: Expr, low: Expr, high: Expr
) -> Expr:
    """An index of ONNX: counted from the end where it is negative, then brought into bounds."""
    given = builder.let("given", tirx.Cast("int64", load(index, 0)), "int64")
    given = tirx.Select(given < 0, given + tirx.max(extent, tirx.const(0, "int64")), given)
    given = builder.let("wrapped", given, "int64")
    inside = tirx.max(tirx.min(given, high), low)
    return builder.let("inside", tirx.Cast("int32", inside))
