"""Layer normalisation of rows: mean, mean square deviation, then scale and bias."""

import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import LayerNorm, Operation
from edgecomp.plan.values import Order
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant, load, ramp, splat
from edgecomp.schedules.cpu.rows import Row
from edgecomp.schedules.cpu.vectors import named
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "layer_norm_f32"


def match(operation: Operation, target: Target) -> str:
    """float32 rows with constant scale and bias."""
    del target
    if not isinstance(operation.kind, LayerNorm):
        return "not a layer normalisation"
    x, scale, bias = operation.inputs
    if x.dtype != "float32":
        return f"layer normalisation of {x.dtype}"
    if Order.NHWC in (x.order, operation.output.order):
        return "layer normalisation of an image"
    if scale.constant is None or bias.constant is None:
        return "scale or bias is no constant"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is a row."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, LayerNorm)
    source, scale, bias = operation.inputs
    if not output.elements:
        return []
    axis = kind.axis % len(source.shape)
    inner = source.shape[axis:]
    size = math.prod(inner)
    rows = math.prod(source.shape[:axis])
    constants = [
        Constant(value.name, np.broadcast_to(value.constant, inner).reshape(-1).copy())
        for value in (scale, bias)
        if value.constant is not None
    ]
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", source.elements)
    scales = builder.pointer("scale", "float32", size)
    biases = builder.pointer("bias", "float32", size)
    y = builder.pointer("y", "float32", output.elements)
    row = Row.of(builder, size, target.lanes(32))
    lanes = row.lanes

    def plus(a: Expr, b: Expr) -> Expr:
        return a + b

    with builder.loop("item", builder.lo, builder.hi) as item:
        base = builder.let("base", item * size)
        total = row.fold(0.0, plus, lambda at: load(x, base + at, lanes))
        mean = named(builder, "mean", splat(total * constant(1.0 / size, "float32"), lanes))

        def square(at: Expr) -> Expr:
            deviation = named(builder, "deviation", load(x, base + at, lanes) - mean)
            return deviation * deviation

        squares = row.fold(0.0, plus, square)
        variance = squares * constant(1.0 / size, "float32")
        inverse = constant(1.0, "float32") / tirx.sqrt(
            variance + constant(kind.epsilon, "float32")
        )
        inverse = named(builder, "inverse", splat(named(builder, "one", inverse), lanes))

        def normalise(at: Expr) -> None:
            centred = (load(x, base + at, lanes) - mean) * inverse
            value = centred * load(scales, at, lanes) + load(biases, at, lanes)
            builder.store(y, ramp(base + at, lanes), value)

        row.each(normalise)
    kernel = builder.finish("layer_norm")
    return [KernelCall(kernel, (source, *constants, output), rows)]
