"""Range whose length is known when the model runs."""

from edgecomp.device.target import Target
from edgecomp.plan.counting import Progression
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import largest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, load
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.schedule import KernelCall

NAME = "progression"
_DTYPES = ("int16", "int32", "int64", "float32", "float64")
#: More than any bound: what is longer is refused when it runs.
_TOO_MANY = 2**40


def match(operation: Operation, target: Target) -> str:
    """The element types of Range."""
    del target
    if not isinstance(operation.kind, Progression):
        return "not a progression"
    dtype = operation.inputs[0].dtype
    return "" if dtype in _DTYPES else f"a progression of {dtype}"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel of one work item."""
    output, count = operation.outputs
    dtype, most = output.dtype, largest(output.shape[0])
    builder = KernelBuilder(target.core.isa)
    names = ("start", "limit", "step")
    start, limit, step = (load(builder.pointer(name, dtype, 1), 0) for name in names)
    y = builder.pointer("y", dtype, most)
    counted = builder.pointer("count", "int64", 1)
    with builder.loop("once", builder.lo, builder.hi):
        if dtype.startswith("float"):
            number = _quotient(start, limit, step)
        else:
            number = _steps(
                builder, *(tirx.Cast("int64", each) for each in (start, limit, step))
            )
        is_still = tirx.EQ(step, tirx.const(0, dtype))
        number = tirx.Select(is_still, tirx.const(-1, "int64"), number)
        number = builder.let("number", number, "int64")
        builder.store(counted, 0, number)
        fits = tirx.max(tirx.min(number, tirx.const(most, "int64")), tirx.const(0, "int64"))
        with builder.loop("i", 0, builder.let("length", tirx.Cast("int32", fits))) as i:
            builder.store(y, i, start + tirx.Cast(dtype, i) * step)
    return [dynamic_call(builder, NAME, (*operation.inputs, output, count), (1, 1))]


def _quotient(start: Expr, limit: Expr, step: Expr) -> Expr:
    """``ceil((limit - start) / step)`` of floats, 0 where that is negative or no number."""
    start, limit, step = (tirx.Cast("float64", each) for each in (start, limit, step))
    length = tirx.ceil((limit - start) / step)
    length = tirx.Select(length > 0.0, length, tirx.const(0.0, "float64"))
    return tirx.Cast("int64", tirx.min(length, tirx.const(float(_TOO_MANY), "float64")))


def _steps(builder: KernelBuilder, start: Expr, limit: Expr, step: Expr) -> Expr:
    """The same of integers."""
    one, zero = tirx.const(1, "int64"), tirx.const(0, "int64")
    way = tirx.Select(step > zero, limit - start, start - limit)
    length = tirx.Select(step > zero, step, zero - step)
    length = builder.let("each", tirx.max(length, one), "int64")
    return tirx.truncdiv(tirx.max(way, zero) + length - one, length)
