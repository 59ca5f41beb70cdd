"""Layer normalisation of rows whose length is known only when the model runs.

The static schedule's numbers (layer_norm.py). The last vector of a row goes on behind it: what is
there does not count, and is not stored.
"""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import LayerNorm
from edgecomp.plan.sizes import has_dynamic, largest, largest_shape
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant, load, splat
from edgecomp.schedules.cpu import layer_norm, quantize
from edgecomp.schedules.cpu.dynamic.largest import Twin, items_of
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.cpu.dynamic.row import DynamicRow
from edgecomp.schedules.cpu.vectors import named
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = layer_norm.NAME


def match(operation: Operation, target: Target) -> str:
    """What the static schedule takes, where a shorter row is the beginning of a longer one."""
    kind = operation.kind
    if not isinstance(kind, LayerNorm):
        return "not a layer normalisation"
    shape = operation.inputs[0].shape
    if has_dynamic(shape[kind.axis % len(shape) + 1 :]):
        return "layer normalisation over a dynamic dimension behind others"
    return layer_norm.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is a row."""
    kind = operation.kind
    assert isinstance(kind, LayerNorm)
    source, *parameters = operation.inputs
    axis = kind.axis % len(source.shape)
    inner = largest_shape(source.shape[axis:])
    constants = []
    for value in parameters:
        contents = np.broadcast_to(np.asarray(value.constant), inner).reshape(-1)
        constants.append(Constant(value.name, np.pad(contents, (0, quantize.LANES))))
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", largest(source.elements))
    names = ("scale", "bias", *("factor",) * (len(constants) - 2))
    scales, biases, *factors = (
        builder.pointer(name, "float32", each.array.size)
        for name, each in zip(names, constants, strict=True)
    )
    results = [
        layer_norm.Result(builder, output, target, name)
        for output, name in zip(operation.outputs, ("y", "z"), strict=False)
    ]
    size, lanes = builder.size(items_of(source.shape[axis:])), target.lanes(32)
    row = DynamicRow(builder, size, lanes)
    count = tirx.Cast("float32", size)

    def plus(a: Expr, b: Expr) -> Expr:
        return a + b

    with builder.loop("item", builder.lo, builder.hi) as item:
        base = builder.let("base", item * size)
        total = row.fold(0.0, plus, lambda at: load(x, base + at, lanes))
        mean = named(builder, "mean", total / count)
        means = named(builder, "means", splat(mean, lanes))

        def square(at: Expr) -> Expr:
            deviation = named(builder, "deviation", load(x, base + at, lanes) - means)
            return deviation * deviation

        variance = row.fold(0.0, plus, square) / count
        inverse = constant(1.0, "float32") / tirx.sqrt(
            variance + constant(kind.epsilon, "float32")
        )
        inverse = named(builder, "one", inverse)
        for result in results:
            wide = quantize.LANES if result.narrow else lanes
            wide_means = named(builder, "means", splat(mean, wide))
            inverses = named(builder, "inverse", splat(inverse, wide))

            def normalised(
                at: Expr,
                result: layer_norm.Result = result,
                wide: int = wide,
                means: Expr = wide_means,
                inverses: Expr = inverses,
            ) -> Expr:
                centred = (load(x, base + at, wide) - means) * inverses
                value = centred * load(scales, at, wide) + load(biases, at, wide)
                value = named(builder, "normalised", value)
                for factor in factors if result.narrow else ():
                    value = named(builder, "multiplied", value * load(factor, at, wide))
                return result.convert(value)

            DynamicRow(builder, size, wide).map(result.buffer, base, normalised)
    rows = items_of(source.shape[:axis])
    arguments: list[Value | Constant] = [source, *constants, *operation.outputs]
    return [dynamic_call(builder, "layer_norm", arguments, (rows, 1))]
