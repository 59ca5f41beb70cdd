"""GatherND: parts of a value at positions that are known at run time; sizes may be dynamic."""

from collections.abc import Sequence

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.movement import Gather, GatherParts
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Dimension, largest
from edgecomp.plan.values import Order
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load, ramp
from edgecomp.schedules.cpu.dynamic.largest import items_of
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.cpu.move import bits_dtype
from edgecomp.schedules.cpu.rows import Row
from edgecomp.schedules.schedule import KernelCall

NAME = "gather_parts"


def match(operation: Operation, target: Target) -> str:
    """Row-major values of any dtype, 32 or 64-bit indices; a Gather is one of parts, too."""
    del target
    if not isinstance(operation.kind, (Gather, GatherParts)):
        return "not a gather"
    if any(v.order is not Order.ROW_MAJOR for v in (*operation.inputs, operation.output)):
        return "gather from or into an image"
    dtype = operation.inputs[1].dtype
    return "" if dtype in ("int32", "int64") else f"indices of {dtype}"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is one part."""
    kind, (source, indices), output = operation.kind, operation.inputs, operation.output
    if not largest(output.elements):
        return []
    if isinstance(kind, GatherParts):
        batch = items_of(source.shape[: kind.batch_dims])
        depth = indices.shape[-1]
        bounded = source.shape[kind.batch_dims : kind.batch_dims + depth]
        inner = items_of(source.shape[kind.batch_dims + depth :])
        parts = items_of(indices.shape[kind.batch_dims : -1])
        is_shared = False
    else:
        assert isinstance(kind, Gather)
        axis = kind.axis % len(source.shape)
        batch, bounded = items_of(source.shape[:axis]), source.shape[axis : axis + 1]
        inner, parts, is_shared = items_of(source.shape[axis + 1 :]), indices.elements, True
    dtype = bits_dtype(source.dtype)
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", dtype, largest(source.elements))
    positions = builder.pointer("indices", indices.dtype, largest(indices.elements))
    y = builder.pointer("y", dtype, largest(output.elements))
    width, count = builder.size(inner), builder.size(parts)
    with builder.loop("item", builder.lo, builder.hi) as item:
        block = builder.let("block", tirx.truncdiv(item, count))
        first = item - block * count if is_shared else item
        first = builder.let("first", first * len(bounded))
        begin = _place(builder, positions, first, block, bounded)
        begin = builder.let("begin", begin * width)
        to = builder.let("to", item * width)
        lanes = target.lanes(8 * np.dtype(output.dtype).itemsize)
        _copy(builder, x, begin, y, to, inner, lanes)
    return [dynamic_call(builder, NAME, (source, indices, output), (batch * parts, 1))]


def _place(
    builder: KernelBuilder,
    positions: Buffer,
    first: Expr,
    block: Expr,
    bounded: Sequence[Dimension],
) -> Expr:
    """Number of the part that the indices from ``first`` on point to."""
    place = block
    for d, extent in enumerate(bounded):
        size = builder.size(extent)
        index = tirx.Cast("int64", load(positions, first + d))
        index = tirx.max(tirx.min(index, size - 1), 0 - size)
        index = builder.let("index", tirx.Cast("int32", index))
        index = tirx.Select(index < 0, index + size, index)
        place = builder.let("place", place * size + index)
    return place


def _copy(
    builder: KernelBuilder,
    x: Buffer,
    begin: Expr,
    y: Buffer,
    to: Expr,
    inner: Dimension,
    lanes: int,
) -> None:
    if isinstance(inner, int):
        row = Row.of(builder, inner, lanes)
        row.each(
            lambda at: builder.store(
                y, ramp(to + at, row.lanes), load(x, begin + at, row.lanes)
            )
        )
        return
    with builder.loop("i", 0, builder.size(inner)) as i:
        builder.store(y, to + i, load(x, begin + i))
