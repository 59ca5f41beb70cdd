"""Maximum and average over windows of NHWC images: a work item for each vector of channels."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import Pool
from edgecomp.plan.sizes import has_dynamic
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, load, splat
from edgecomp.schedules.cpu import pool as cpu
from edgecomp.schedules.cpu.epilogue import requantize
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.cpu.vectors import typed
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import LANES, flat_target, gpu_of
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "pool"


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedule claims."""
    return cpu.match(operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, x_value, output = operation.kind, operation.inputs[0], operation.output
    assert isinstance(kind, Pool)
    batch, channels, height, width = output.shape
    lanes = LANES if channels % LANES == 0 else 1
    blocks = channels // lanes
    count = batch * height * width * blocks
    builder = GridBuilder.line(count, gpu_of(target).group_items)
    x = builder.pointer("x", x_value.stored, x_value.view.elements)
    averages = not kind.maximum and x_value.dtype == "float32"
    by_table = averages and not has_dynamic((height, width))
    table = []
    if by_table:
        divisors = cpu.divisors_of(kind, x_value, output)
        table = [Constant("divisors", divisors.reshape(-1))]
        divisor = builder.pointer("divisors", "float32", divisors.size)
    y = builder.pointer("y", output.stored, output.view.elements)
    view, out = x_value.view, output.view
    with builder.each(count) as at:
        image, row, column, block = unravel(builder, at, (batch, height, width, blocks))
        channel = builder.let("channel", block * lanes)
        first = (
            image * builder.size(view.strides[0])
            + (row * kind.strides[0] - kind.pads[0]) * builder.size(view.strides[2])
            + (column * kind.strides[1] - kind.pads[1]) * view.strides[3]
        )
        x_at = builder.let("x_at", first + builder.size(view.offset) + channel)
        result = _walked(builder, kind, x_value, x, x_at, lanes)
        if by_table:
            index = row * width + column
            result = result / splat(load(divisor, index), lanes)
        elif averages:
            result = result / splat(_divisor(builder, kind, x_value, row, column), lanes)
        elif not kind.maximum:
            result = _requantized(kind, result, target, lanes)
        to = (
            image * builder.size(out.strides[0])
            + row * builder.size(out.strides[2])
            + column * out.strides[3]
            + builder.size(out.offset)
        )
        store_vector(
            builder, y, to + channel, tirx.Cast(typed(output.dtype, lanes), result), lanes
        )
    return [builder.call(NAME, (x_value, *table, output))]


def _walked(
    builder: GridBuilder, kind: Pool, x_value: Value, x: Buffer, x_at: Expr, lanes: int
) -> Expr:
    """Maximum or sum of a window.

    Args:
        builder: of the kernel.
        kind: of the operation.
        x_value: its input.
        x: where that lies.
        x_at: place of the window's first element.
        lanes: channels side by side.
    """
    view, element = x_value.view, _sum_dtype(kind, x_value.dtype)
    dtype, zero = typed(element, lanes), tirx.const(0, "int32")
    total = builder.array("total", dtype, 1)
    builder.store(total, zero, constant(_start(kind, x_value.dtype), element, lanes))
    with (
        builder.loop("i", 0, kind.window[0]) as i,
        builder.loop("j", 0, kind.window[1]) as j,
    ):
        place = (
            x_at
            + i * builder.size(view.strides[2] * kind.dilations[0])
            + j * (kind.dilations[1] * view.strides[3])
        )
        value = tirx.Cast(dtype, load_vector(x, place, lanes))
        so_far = load(total, zero)
        joined = tirx.max(so_far, value) if kind.maximum else so_far + value
        builder.store(total, zero, joined)
    return load(total, zero)


def _divisor(builder: GridBuilder, kind: Pool, x: Value, row: Expr, column: Expr) -> Expr:
    """Elements that an output of an image of dynamic size averages."""
    if kind.count_include_pad or not any(kind.pads):
        return constant(kind.window[0] * kind.window[1], "float32")
    inside: Expr = tirx.const(1, "int32")
    for d, at in enumerate((row, column)):
        first = at * kind.strides[d] - kind.pads[d]
        behind = tirx.Min(first + kind.window[d], _expr(builder.size(x.shape[2 + d])))
        taken = behind - tirx.Max(first, tirx.const(0, "int32"))
        inside = inside * tirx.Max(taken, tirx.const(1, "int32"))
    return tirx.Cast("float32", builder.let("inside", inside))


def _expr(number: Expr) -> Expr:
    return tirx.const(number, "int32") if isinstance(number, int) else number


def _requantized(kind: Pool, total: Expr, target: Target, lanes: int) -> Expr:
    """The quantized average of integers."""
    assert kind.requantize is not None
    elements = kind.window[0] * kind.window[1]
    centred = total - constant(elements * kind.zero_x, "int32", lanes)
    scale = float(np.float32(kind.requantize.multiplier.reshape(-1)[0]))
    multiplier = constant(scale, "float32", lanes)
    return requantize(flat_target(target), centred, multiplier, kind.requantize, lanes)


def _sum_dtype(kind: Pool, dtype: str) -> str:
    return dtype if kind.maximum or dtype == "float32" else "int32"


def _start(kind: Pool, dtype: str) -> float:
    if not kind.maximum:
        return 0
    return float("-inf") if dtype == "float32" else int(np.iinfo(dtype).min)
