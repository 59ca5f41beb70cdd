"""Gather, GatherElements and GatherND: parts of a value at indices that are known at run time.

A work item moves a vector of a part. An index outside takes its nearest end, as on the CPU.
"""

import math
from collections.abc import Sequence

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.movement import Gather, GatherParts
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Dimension, is_dynamic, largest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, load
from edgecomp.schedules.cpu import gather_parts as cpu
from edgecomp.schedules.cpu.move import bits_dtype
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.halves import HALVES
from edgecomp.schedules.gpu.places import LANES, gpu_of, is_multiple
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.schedule import KernelCall

NAME = "gather"

_MOST_BYTES = 8


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedules claim."""
    reason = cpu.match(operation, target)
    if reason:
        return reason
    dtype, table = operation.output.dtype, operation.inputs[0].dtype
    if table != dtype and not (dtype == "float32" and table in HALVES):
        return f"a table of {table} that becomes {dtype}"
    return f"elements of {dtype}" if np.dtype(dtype).itemsize > _MOST_BYTES else ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, output = operation.kind, operation.output
    source, indices = operation.inputs
    if not largest(output.elements):
        return []
    if isinstance(kind, Gather):
        axis = kind.axis % len(source.shape)
        before, bounded = source.shape[:axis], source.shape[axis : axis + 1]
        count = indices.elements
    else:
        assert isinstance(kind, GatherParts)
        counted = kind.batch_dims + indices.shape[-1]
        before, bounded = (
            source.shape[: kind.batch_dims],
            source.shape[kind.batch_dims : counted],
        )
        count = math.prod(indices.shape[kind.batch_dims : -1])
    batch, inner = math.prod(before), math.prod(source.shape[len(before) + len(bounded) :])
    lanes = LANES if is_multiple(inner, LANES) else 1
    blocks = inner // lanes
    vectors = batch * count * blocks
    builder = GridBuilder.line(vectors, gpu_of(target).group_items)
    copies = source.stored == output.stored
    bits = bits_dtype(source.stored)
    x = builder.pointer("x", bits if copies else source.stored, source.elements)
    positions = builder.pointer("indices", indices.dtype, indices.elements)
    y = builder.pointer("y", bits if copies else output.stored, output.elements)
    with builder.each(vectors) as at:
        outer, position, block = unravel(builder, at, (batch, count, blocks))
        if isinstance(kind, GatherParts):  # each of the batch has indices of its own
            position = builder.let("position", outer * builder.size(count) + position)
        part = _place(builder, positions, position, outer, bounded)
        begin = builder.let("begin", part * builder.size(inner))
        value = load_vector(x, begin + block * lanes, lanes)
        store_vector(builder, y, at * lanes, value, lanes)
    return [builder.call(NAME, (source, indices, output))]


def _place(
    builder: GridBuilder,
    positions: Buffer,
    position: Expr,
    place: Expr,
    bounded: Sequence[Dimension],
) -> Expr:
    """Number of the part that the indices at a position point to, of those of a batch's place."""
    first = position if len(bounded) == 1 else builder.let("first", position * len(bounded))
    for number, extent in enumerate(bounded):
        index = load(positions, first + number if number else first)
        dtype = positions.dtype.element
        index = builder.let("index", _inside(builder, index, extent, dtype))
        size = builder.size(extent)
        index = tirx.Select(index < 0, index + size, index)
        place = place * size + index
        if len(bounded) > 1:
            place = builder.let("place", place)
    return place


def _inside(builder: GridBuilder, index: Expr, extent: Dimension, dtype: str) -> Expr:
    """An index that is in a dimension, counted from its beginning or its end; int32."""
    if is_dynamic(extent):
        size = tirx.Cast(dtype, builder.size(extent))
        most, least = size - tirx.const(1, dtype), tirx.const(0, dtype) - size
    else:
        least, most = (tirx.const(v, dtype) for v in (-extent, extent - 1))
    return tirx.Cast("int32", tirx.Max(tirx.Min(index, most), least))
