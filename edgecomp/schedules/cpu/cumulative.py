"""CumSum and CumProd: totals of all elements up to each one, along an axis."""

import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import Cumulative
from edgecomp.plan.sizes import Dimension, largest
from edgecomp.plan.values import Order
from edgecomp.schedules.builder import KernelBuilder, constant, load, ramp
from edgecomp.schedules.cpu.operand import HALVES, INTEGERS
from edgecomp.schedules.cpu.rows import Row
from edgecomp.schedules.schedule import KernelCall

NAME = "cumulative"
_DTYPES = INTEGERS | {"float32", "float64"}


def match(operation: Operation, target: Target) -> str:
    """Row-major numbers that the machine computes with."""
    del target
    if not isinstance(operation.kind, Cumulative):
        return "not a cumulative total"
    (x,), y = operation.inputs, operation.output
    if x.dtype not in _DTYPES or y.dtype != x.dtype:
        reason = "in half precision" if x.dtype in HALVES else f"of {x.dtype}"
        return f"totals {reason}"
    if Order.NHWC in (x.order, y.order):
        return "totals of an image"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is everything behind one index of the dimensions before the axis.

    Vectors run along the dimensions behind the axis, where there are any.
    """
    (x,), y = operation.inputs, operation.output
    if not y.elements:
        return []
    builder, items = emit_loops(operation, target)
    return [KernelCall(builder.finish(NAME), (x, y), items)]


def emit_loops(operation: Operation, target: Target) -> tuple[KernelBuilder, Dimension]:
    """The kernel but for its name, and its work items; the dimensions to the axis may be dynamic."""
    kind, (x,), y = operation.kind, operation.inputs, operation.output
    assert isinstance(kind, Cumulative)
    inner = math.prod(x.shape[kind.axis + 1 :])
    builder = KernelBuilder(target.core.isa)
    extent = builder.size(x.shape[kind.axis])
    source = builder.pointer("x", x.dtype, largest(x.elements))
    result = builder.pointer("y", y.dtype, largest(y.elements))
    row = Row.of(builder, inner, target.lanes(8 * np.dtype(x.dtype).itemsize))
    lanes = row.lanes
    total = builder.array("total", x.dtype, lanes)
    with builder.loop("item", builder.lo, builder.hi) as item:
        base = builder.let("base", item * builder.size(x.shape[kind.axis] * inner))

        def totals(at: object) -> None:
            start = constant(1 if kind.product else 0, x.dtype, lanes)
            builder.store(total, ramp(0, lanes), start)
            with builder.loop("step", 0, extent) as step:
                place = extent - 1 - step if kind.reverse else step
                index = builder.let("index", base + place * inner + at)
                element, before = load(source, index, lanes), load(total, 0, lanes)
                if kind.exclusive:
                    builder.store(result, ramp(index, lanes), before)
                after = before * element if kind.product else before + element
                builder.store(total, ramp(0, lanes), after)
                if not kind.exclusive:
                    builder.store(result, ramp(index, lanes), load(total, 0, lanes))

        row.each(totals)
    return builder, math.prod(x.shape[: kind.axis])
