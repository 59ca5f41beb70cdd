"""Resize of NHWC images from tables of source positions: a work item for each vector of a pixel."""

from collections.abc import Callable

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation, Resize
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
    tables = cpu.tables_of(Twin(operation).operation)  # of fixed height and width
    x = builder.pointer("x", bits if copies else x_value.stored, x_value.view.elements)
    pointers = [
        builder.pointer(f"t{k}", np.dtype(table.array.dtype).name, table.array.size)
        for k, table in enumerate(tables)
    ]
    y = builder.pointer("y", bits if copies else output.stored, output.view.elements)
    with builder.each(count) as at:
        image, row, column, block = unravel(builder, at, (batch, height, width, blocks))
        channel = builder.let("channel", block * lanes)
        first = image * x_value.view.strides[0] + x_value.view.offset + channel
        base = builder.let("base", first)

        def source(down: Expr, across: Expr) -> Expr:
            return load_vector(
                x, base + load(pointers[0], down) + load(pointers[1], across), lanes
            )

        if kind.nearest:
            result = source(row, column)
        else:
            result = _blend(pointers, source, row, column, lanes)
        view = output.view
        to = image * view.strides[0] + row * view.strides[2] + column * view.strides[3]
        store_vector(builder, y, to + view.offset + channel, result, lanes)
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
