"""Sums and products of two quantized values, broadcast.

Every intermediate is an integer below 2^24, so float32 arithmetic is exact and in any order:
one conversion per operand and two multiply-adds replace the integer products, which are slow
on x86.
"""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.elementwise import QuantizedAdd, QuantizedMultiply
from edgecomp.plan.finish import IntegerAdd, Requantize
from edgecomp.plan.operations import Operation
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, ramp
from edgecomp.schedules.cpu.iteration import Space, space_of_views
from edgecomp.schedules.cpu.move import load_strided
from edgecomp.schedules.cpu.nest import Body, emit_nest
from edgecomp.schedules.cpu.quantize import EIGHT_BITS, LANES
from edgecomp.schedules.cpu.rounding import as_float, is_power_of_two, to_quantized
from edgecomp.schedules.cpu.vectors import lanes_of
from edgecomp.schedules.schedule import KernelCall

NAME = "quantized_binary"
_EXACT = 1 << 24


def match(operation: Operation, target: Target) -> str:
    """8-bit operands and result, accumulators that float32 holds."""
    del target
    kind = operation.kind
    if not isinstance(kind, QuantizedAdd | QuantizedMultiply):
        return "neither QuantizedAdd nor QuantizedMultiply"
    for value in (*operation.inputs, operation.output):
        if value.dtype not in EIGHT_BITS:
            return f"{value.dtype} operand or result"
    if isinstance(kind, QuantizedAdd):
        add = kind.integer_add
        if (abs(add.weight_a) + abs(add.weight_b)) * 255 >= _EXACT:
            return "weights of the sum need more than 24 bits"
        if not is_power_of_two(_multiplier(add.requantize)):
            return "multiplier of the sum is no power of two"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, QuantizedAdd | QuantizedMultiply)
    if not output.elements:
        return []
    a, b = operation.inputs
    builder = KernelBuilder(target.core.isa)
    buffers = [
        builder.pointer(name, value.dtype, value.view.elements)
        for name, value in (("a", a), ("b", b))
    ]
    y = builder.pointer("y", output.dtype, output.view.elements)
    views = [value.view.broadcast_to(output.shape) for value in (a, b)]
    space = space_of_views([output.view, *views])
    items = emit_nest(builder, space, LANES, body_of(builder, operation, (*buffers, y), space))
    return [KernelCall(builder.finish(name_of(operation)), (a, b, output), items)]


def name_of(operation: Operation) -> str:
    """Of the kernel's kind."""
    return (
        "quantized_add" if isinstance(operation.kind, QuantizedAdd) else "quantized_multiply"
    )


def body_of(
    builder: KernelBuilder, operation: Operation, buffers: tuple[Buffer, ...], space: Space
) -> Body:
    """The work of one vector of a space; buffers are a, b and the output."""
    *operands, y = buffers

    def body(offsets: list[Expr], lanes: int) -> None:
        left, right = (
            load_strided(buffer, offset, space.inner_stride(k), lanes)
            for k, (buffer, offset) in enumerate(
                zip(operands, offsets[1:], strict=True), start=1
            )
        )
        value = result_of(builder, operation, left, right)
        builder.store(y, ramp(offsets[0], lanes, space.inner_stride(0)), value)

    return body


def result_of(builder: KernelBuilder, operation: Operation, left: Expr, right: Expr) -> Expr:
    """What becomes of a vector of each operand."""
    kind = operation.kind
    assert isinstance(kind, QuantizedAdd | QuantizedMultiply)
    a, b = as_float(left), as_float(right)
    if isinstance(kind, QuantizedAdd):
        requantize, scaled = kind.integer_add.requantize, _scaled_sum(a, b, kind.integer_add)
    else:
        requantize, scaled = kind.requantize, _scaled_product(a, b, kind)
    return to_quantized(
        builder,
        scaled,
        requantize.zero_point,
        requantize.low,
        requantize.high,
        operation.output.dtype,
    )


def _multiplier(requantize: Requantize) -> float:
    return float(np.float32(requantize.multiplier.reshape(-1)[0]))


def _scaled_sum(a: Expr, b: Expr, add: IntegerAdd) -> Expr:
    """The accumulator times 2^-k: the power of two goes into the weights."""
    lanes = lanes_of(a)
    unit = _multiplier(add.requantize)
    shift = -add.zero_a * add.weight_a - add.zero_b * add.weight_b
    return a * constant(add.weight_a * unit, "float32", lanes) + (
        b * constant(add.weight_b * unit, "float32", lanes)
        + constant(shift * unit, "float32", lanes)
    )


def _scaled_product(a: Expr, b: Expr, kind: QuantizedMultiply) -> Expr:
    lanes = lanes_of(a)
    left = a - constant(float(kind.zero_a), "float32", lanes)
    right = b - constant(float(kind.zero_b), "float32", lanes)
    return left * right * constant(_multiplier(kind.requantize), "float32", lanes)
