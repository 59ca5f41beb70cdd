"""Resize of NHWC images from tables of source positions: a work item for each vector of a pixel.

Of images whose height or width differs from run to run the tables hold positions of the largest, as the
processor's do: ``cpu/resize.py`` says why these are those of smaller ones.
"""

from collections.abc import Callable

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.movement import Resize
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import has_dynamic
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, load, splat
from edgecomp.schedules.cpu import resize as cpu
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.move import bits_dtype
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import LANES, gpu_of
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.schedule import KernelCall

NAME = "resize"


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedule claims."""
    return cpu.match(operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, x_value, output = operation.kind, operation.inputs[0], operation.output
    assert isinstance(kind, Resize)
    batch, channels, height, width = output.shape
    lanes = LANES if channels % LANES == 0 else 1
    blocks = channels // lanes
    count = batch * height * width * blocks
    builder = GridBuilder.line(count, gpu_of(target).group_items)
    copies = kind.nearest and x_value.stored == output.stored
    bits = bits_dtype(output.stored)
    by_position = has_dynamic(x_value.shape[2:])
    tables = cpu.tables_of(operation if by_position else Twin(operation).operation)
    x = builder.pointer("x", bits if copies else x_value.stored, x_value.view.elements)
    pointers = [
        builder.pointer(f"t{k}", np.dtype(table.array.dtype).name, table.array.size)
        for k, table in enumerate(tables)
    ]
    y = builder.pointer("y", bits if copies else output.stored, output.view.elements)
    with builder.each(count) as at:
        image, row, column, block = unravel(builder, at, (batch, height, width, blocks))
        channel = builder.let("channel", block * lanes)
        first = image * builder.size(x_value.view.strides[0])
        base = builder.let("base", first + builder.size(x_value.view.offset) + channel)

        def distance(axis: int, entry: Expr) -> Expr:
            """Elements before a source row or column."""
            found = load(pointers[axis - 2], entry)
            if not by_position:
                return found
            last = builder.size(x_value.shape[axis] - 1)
            return tirx.min(found, last) * builder.size(x_value.view.strides[axis])

        def source(down: Expr, across: Expr) -> Expr:
            return load_vector(x, base + distance(2, down) + distance(3, across), lanes)

        if kind.nearest:
            result = source(row, column)
        else:
            result = _blend(pointers, source, row, column, lanes)
        view = output.view
        to = image * builder.size(view.strides[0]) + row * builder.size(view.strides[2])
        to = to + column * view.strides[3] + builder.size(view.offset)
        store_vector(builder, y, to + channel, result, lanes)
    return [builder.call(NAME, (x_value, *tables, output))]


def _blend(
    pointers: list[Buffer],
    source: Callable[[Expr, Expr], Expr],
    row: Expr,
    column: Expr,
    lanes: int,
) -> Expr:
    """Weighted sum of four pixels: along the rows first."""
    total: Expr = None
    for i in range(2):
        line: Expr = None
        for j in range(2):
            weight = splat(load(pointers[3], column * 2 + j), lanes)
            part = source(row * 2 + i, column * 2 + j) * weight
            line = part if line is None else line + part
        part = line * splat(load(pointers[2], row * 2 + i), lanes)
        total = part if total is None else total + part
    return total
