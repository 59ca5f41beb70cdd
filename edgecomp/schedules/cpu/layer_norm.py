"""Layer normalisation of rows: mean, mean square deviation, then scale and bias; as 8 bits too."""

import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import LayerNorm
from edgecomp.plan.sizes import largest
from edgecomp.plan.values import Order, Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant, load, ramp, splat
from edgecomp.schedules.cpu import quantize
from edgecomp.schedules.cpu.rows import Row
from edgecomp.schedules.cpu.vectors import named
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "layer_norm_f32"


def match(operation: Operation, target: Target) -> str:
    """float32 rows with constant scale and bias."""
    del target
    if not isinstance(operation.kind, LayerNorm):
        return "not a layer normalisation"
    x, *parameters = operation.inputs
    if x.dtype != "float32":
        return f"layer normalisation of {x.dtype}"
    if any(value.order is Order.NHWC for value in (x, *operation.outputs)):
        return "layer normalisation of an image"
    if any(value.constant is None for value in parameters):
        return "scale, bias or factors are no constant"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is a row."""
    kind = operation.kind
    assert isinstance(kind, LayerNorm)
    source, *parameters = operation.inputs
    if not source.elements:
        return []
    axis = kind.axis % len(source.shape)
    inner = source.shape[axis:]
    size = math.prod(inner)
    rows = math.prod(source.shape[:axis])
    constants = [
        Constant(value.name, np.broadcast_to(value.constant, inner).reshape(-1).copy())
        for value in parameters
        if value.constant is not None
    ]
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", source.elements)
    scales = builder.pointer("scale", "float32", size)
    biases = builder.pointer("bias", "float32", size)
    factors = [builder.pointer("factor", "float32", size) for _ in parameters[2:]]
    results = [
        Result(builder, output, target, name)
        for output, name in zip(operation.outputs, ("y", "z"), strict=False)
    ]
    row = Row.of(builder, size, target.lanes(32))
    lanes = row.lanes
    narrows = any(output.dtype != "float32" for output in operation.outputs)
    results_row = Row.of(builder, size, quantize.LANES) if narrows else row

    def plus(a: Expr, b: Expr) -> Expr:
        return a + b

    with builder.loop("item", builder.lo, builder.hi) as item:
        base = builder.let("base", item * size)
        total = row.fold(0.0, plus, lambda at: load(x, base + at, lanes))
        mean = named(builder, "mean", total * constant(1.0 / size, "float32"))
        means = named(builder, "means", splat(mean, lanes))

        def square(at: Expr) -> Expr:
            deviation = named(builder, "deviation", load(x, base + at, lanes) - means)
            return deviation * deviation

        squares = row.fold(0.0, plus, square)
        variance = squares * constant(1.0 / size, "float32")
        inverse = constant(1.0, "float32") / tirx.sqrt(
            variance + constant(kind.epsilon, "float32")
        )
        inverse = named(builder, "one", inverse)
        wide = results_row.lanes
        wide_means = named(builder, "means", splat(mean, wide))
        inverses = named(builder, "inverse", splat(inverse, wide))

        def normalise(at: Expr) -> None:
            centred = (load(x, base + at, wide) - wide_means) * inverses
            value = centred * load(scales, at, wide) + load(biases, at, wide)
            value = named(builder, "normalised", value)
            for result in results:
                own = value
                if result.narrow:
                    for factor in factors:
                        own = named(builder, "multiplied", own * load(factor, at, wide))
                builder.store(result.buffer, ramp(base + at, wide), result.convert(own))

        results_row.each(normalise)
    kernel = builder.finish("layer_norm")
    return [KernelCall(kernel, (source, *constants, *operation.outputs), rows)]


class Result:
    """An output: its buffer, and what becomes of a vector for it."""

    def __init__(
        self, builder: KernelBuilder, output: Value, target: Target, name: str
    ) -> None:
        self.buffer = builder.pointer(name, output.dtype, largest(output.elements))
        self.convert = quantize.narrowing(builder, output, target)
        self.narrow = output.dtype != "float32"
