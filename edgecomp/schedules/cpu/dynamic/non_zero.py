"""Positions of the elements that are not zero: counted first, then written."""

from collections.abc import Callable, Sequence

from edgecomp.device.target import Target
from edgecomp.plan.counting import NonZero
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Dimension, largest
from edgecomp.plan.values import Order, Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.cpu.move import bits_dtype
from edgecomp.schedules.cpu.operand import INTEGERS
from edgecomp.schedules.schedule import KernelCall

NAME = "non_zero"
#: dtype -> bits that are not the sign: a negative zero is a zero.
_MAGNITUDES = {"float16": 0x7FFF, "bfloat16": 0x7FFF}
_PLAIN = INTEGERS | {"float32", "float64", "bool"}


def match(operation: Operation, target: Target) -> str:
    """Row-major values."""
    del target
    if not isinstance(operation.kind, NonZero):
        return "not a search for elements that are not zero"
    x = operation.inputs[0]
    if x.dtype not in _PLAIN and x.dtype not in _MAGNITUDES:
        return f"elements of {x.dtype}"
    return "" if x.order is Order.ROW_MAJOR else "elements of an image"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel of one work item."""
    (x,), (y, count) = operation.inputs, operation.outputs
    rank, most = y.shape[0], largest(y.shape[1])
    builder = KernelBuilder(target.core.isa)
    is_bits = x.dtype in _MAGNITUDES or x.dtype == "bool"
    dtype = bits_dtype(x.dtype) if is_bits else x.dtype
    elements = builder.pointer("x", dtype, largest(x.elements))
    positions = builder.pointer("positions", "int64", rank * most)
    counted = builder.pointer("count", "int64", 1)
    found = builder.array("found", "int32", 1)
    builder.store(found, 0, tirx.const(0, "int32"))
    shape = x.shape or (1,)
    is_set = _test(elements, x)

    def count_it(_: Sequence[Expr], at: Expr) -> None:
        builder.store(found, 0, load(found, 0) + tirx.Cast("int32", is_set(at)))

    def write(indices: Sequence[Expr], at: Expr) -> None:
        with builder.condition(tirx.And(is_set(at), load(found, 0) < stride)):
            for d, index in enumerate(indices):
                place = stride * d + load(found, 0)
                builder.store(positions, place, tirx.Cast("int64", index))
            builder.store(found, 0, load(found, 0) + 1)

    with builder.loop("once", builder.lo, builder.hi):
        _each(builder, shape, [], 0, count_it)
        total = builder.let("total", load(found, 0))
        builder.store(counted, 0, tirx.Cast("int64", total))
        stride = builder.let("stride", tirx.Min(total, most))
        builder.store(found, 0, tirx.const(0, "int32"))
        _each(builder, shape, [], 0, write)
    return [dynamic_call(builder, NAME, (x, y, count), (1, 1))]


def _test(elements: Buffer, x: Value) -> Callable[[Expr], Expr]:
    def is_set(at: Expr) -> Expr:
        element = load(elements, at)
        if x.dtype in _MAGNITUDES:
            element = element & tirx.const(_MAGNITUDES[x.dtype], str(element.dtype))
        return tirx.NE(element, tirx.const(0, str(element.dtype)))

    return is_set


def _each(
    builder: KernelBuilder,
    shape: Sequence[Dimension],
    indices: list[Expr],
    base: Expr,
    body: Callable[[Sequence[Expr], Expr], None],
) -> None:
    """Nested loops over all elements: their indices and places."""
    if len(indices) == len(shape):
        body(indices, base)
        return
    extent = builder.size(shape[len(indices)])
    with builder.loop("i", 0, extent) as index:
        place = builder.let("place", base * extent + index)
        _each(builder, shape, [*indices, index], place, body)
