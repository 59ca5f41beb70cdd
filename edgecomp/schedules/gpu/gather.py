"""Gather: slices of a table at indices that are known at run time; a work item for each vector."""

import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Gather, Operation
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import load
from edgecomp.schedules.cpu import gather as cpu
from edgecomp.schedules.cpu.move import bits_dtype
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.halves import HALVES
from edgecomp.schedules.gpu.places import LANES, gpu_of
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.schedule import KernelCall

NAME = "gather"

_MOST_BYTES = 8


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedule claims."""
    reason = cpu.match(operation, target)
    if reason:
        return reason
    dtype, table = operation.output.dtype, operation.inputs[0].dtype
    if table != dtype and not (dtype == "float32" and table in HALVES):
        return f"a table of {table} that becomes {dtype}"
    return f"elements of {dtype}" if np.dtype(dtype).itemsize > _MOST_BYTES else ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel. An index outside the table takes its nearest end, as on the CPU."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Gather)
    source, indices = operation.inputs
    if not output.elements:
        return []
    axis = kind.axis % len(source.shape)
    extent, count = source.shape[axis], indices.elements
    inner = math.prod(source.shape[axis + 1 :])
    lanes = LANES if inner % LANES == 0 else 1
    blocks = inner // lanes
    before = math.prod(source.shape[:axis])
    vectors = before * count * blocks
    builder = GridBuilder.line(vectors, gpu_of(target).group_items)
    copies = source.stored == output.stored
    bits = bits_dtype(source.stored)
    x = builder.pointer("x", bits if copies else source.stored, source.elements)
    positions = builder.pointer("indices", indices.dtype, count)
    y = builder.pointer("y", bits if copies else output.stored, output.elements)
    with builder.each(vectors) as at:
        outer, position, block = unravel(builder, at, (before, count, blocks))
        index = load(positions, position)
        least, most = (tirx.const(v, indices.dtype) for v in (-extent, extent - 1))
        index = tirx.Cast("int32", tirx.Max(tirx.Min(index, most), least))
        index = builder.let("index", index)
        index = tirx.Select(index < 0, index + extent, index)
        begin = builder.let("begin", (outer * extent + index) * inner)
        value = load_vector(x, begin + block * lanes, lanes)
        store_vector(builder, y, at * lanes, value, lanes)
    return [builder.call(NAME, (source, indices, output))]
