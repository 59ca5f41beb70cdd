"""DynamicQuantizeLinear: the least and greatest value, then 8 bits between them.

Two kernels: every work item of the first finds the extremes of its chunk; every item of the
second combines them again, which takes less than telling the others would, and quantizes its
chunk.
"""

from collections.abc import Callable

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.quantization import DynamicQuantize
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    Kernel,
    KernelBuilder,
    constant,
    load,
    ramp,
    splat,
)
from edgecomp.schedules.cpu.bounds import clamp
from edgecomp.schedules.cpu.iteration import space_of_views
from edgecomp.schedules.cpu.move import emit_move
from edgecomp.schedules.cpu.rounding import rounded
from edgecomp.schedules.cpu.rows import Combine, fold_lanes
from edgecomp.schedules.cpu.vectors import lanes_of, named, pinned, typed
from edgecomp.schedules.schedule import KernelCall

NAME = "dynamic_quantize_f32"
#: As in quantize.py: one register of bytes, several of float32.
LANES = 16


def match(operation: Operation, target: Target) -> str:
    """float32 in the order of the result."""
    del target
    if not isinstance(operation.kind, DynamicQuantize):
        return "not a DynamicQuantize"
    (x,) = operation.inputs
    if x.dtype != "float32" or x.order is not operation.outputs[0].order:
        return f"{x.dtype}, {x.order.value} to {operation.outputs[0].order.value}"
    return "" if x.elements else "no elements"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """Extremes, then the quantization."""
    (x,) = operation.inputs
    y, scale, zero, extremes = operation.outputs
    chunks = extremes.shape[1]
    # What a halo holds changes no extremes: 0 is among them anyway.
    first = _extremes(x.view.elements, chunks, target)
    second, items = _quantization(x, y, chunks, target)
    return [
        KernelCall(first, (x, extremes), chunks),
        KernelCall(second, (x, extremes, scale, zero, y), items),
    ]


def _extremes(elements: int, chunks: int, target: Target) -> Kernel:
    """Least and greatest element of each chunk, 0 among them."""
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", elements)
    out = builder.pointer("extremes", "float32", 2 * chunks)
    with builder.loop("item", builder.lo, builder.hi) as item:
        ends = [builder.array(name, "float32", LANES) for name in ("least", "most")]
        for end in ends:
            builder.store(end, ramp(0, LANES), constant(0.0, "float32", LANES))

        def take(at: Expr, lanes: int) -> None:
            value = named(builder, "value", load(x, at, lanes))
            for end, combine in zip(ends, (tirx.min, tirx.max), strict=True):
                builder.store(end, ramp(0, lanes), combine(load(end, 0, lanes), value))

        _each(builder, item, elements, chunks, take)
        for which, combine in enumerate((tirx.min, tirx.max)):
            whole = fold_lanes(builder, load(ends[which], 0, LANES), combine)
            builder.store(out, item + which * chunks, whole)
    return builder.finish("extremes")


def _quantization(
    source: Value, output: Value, chunks: int, target: Target
) -> tuple[Kernel, int]:
    """``clamp(round(x / scale)) + zero`` with what all chunks' extremes give; its work items."""
    elements, dtype = source.view.elements, output.dtype
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", elements)
    extremes = builder.pointer("extremes", "float32", 2 * chunks)
    scale_out = builder.pointer("scale", "float32", 1)
    zero_out = builder.pointer("zero", "uint8", 1)
    y = builder.pointer("y", dtype, output.view.elements)
    storage_shift = int(np.iinfo(dtype).min)
    least = _combined(builder, extremes, 0, chunks, tirx.min)
    most = _combined(builder, extremes, chunks, chunks, tirx.max)
    width = pinned(builder, "width", most - least)
    one = constant(1.0, "float32")
    scale = tirx.Select(
        width == constant(0.0, "float32"), one, width / constant(255.0, "float32")
    )
    scale = pinned(builder, "scale_value", scale)
    point = clamp(constant(0.0, "float32") - least / scale, 0.0, 255.0, builder.isa)
    zero = pinned(builder, "zero_value", rounded(point))
    low = pinned(builder, "low", tirx.Cast("float32", -zero))
    high = pinned(builder, "high", constant(255.0, "float32") + low)
    with builder.condition(builder.lo == 0):
        builder.store(scale_out, 0, scale)
        builder.store(zero_out, 0, tirx.Cast("uint8", zero))

    def quantized(value: Expr) -> Expr:
        lanes = lanes_of(value)
        steps = named(builder, "steps", value / splat(scale, lanes))
        bounded = tirx.min(tirx.max(steps, splat(low, lanes)), splat(high, lanes))
        stored = rounded(bounded) + splat(zero + storage_shift, lanes)
        return tirx.Cast(typed(dtype, lanes), stored)

    items = chunks
    if source.view == output.view:
        with builder.loop("item", builder.lo, builder.hi) as item:

            def quantize(at: Expr, lanes: int) -> None:
                builder.store(y, ramp(at, lanes), quantized(load(x, at, lanes)))

            _each(builder, item, elements, chunks, quantize)
    else:
        space = space_of_views([output.view, source.view])
        items = emit_move(builder, target, space, y, x, LANES, quantized)
    return builder.finish("dynamic_quantize"), items


def _each(
    builder: KernelBuilder,
    item: Expr,
    elements: int,
    chunks: int,
    body: Callable[[Expr, int], None],
) -> None:
    """``body(position, lanes)`` over the item's vectors; the first item has the rest too."""
    vectors, rest = divmod(elements, LANES)
    share = -(-vectors // chunks)
    if vectors:
        begin = builder.let("begin", tirx.min(item * share, vectors))
        end = builder.let("end", tirx.min(begin + share, vectors))
        with builder.loop("vector", begin, end) as vector:
            body(vector * LANES, LANES)
    if rest:
        with (
            builder.condition(item == 0),
            builder.loop("element", vectors * LANES, elements) as element,
        ):
            body(element, 1)


def _combined(
    builder: KernelBuilder, extremes: Buffer, first: int, count: int, combine: Combine
) -> Expr:
    """One of the extremes of all chunks."""
    total = builder.array("total", "float32", 1)
    builder.store(total, 0, load(extremes, first))
    with builder.loop("chunk", 1, count) as chunk:
        builder.store(total, 0, combine(load(total, 0), load(extremes, chunk + first)))
    return load(total, 0)
