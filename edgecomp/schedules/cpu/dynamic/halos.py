"""Constants into the halo of images whose height and width are known only when the model runs."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.movement import FillHalo
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Dimension, is_dynamic, largest
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder
from edgecomp.schedules.cpu import fill
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.cpu.fill import Filler
from edgecomp.schedules.cpu.small_types import memory_dtype
from edgecomp.schedules.schedule import KernelCall

NAME = fill.NAME


def match(operation: Operation, target: Target) -> str:
    """A halo around an image of static channels."""
    if not isinstance(operation.kind, FillHalo):
        return "not the halo of an image"
    if is_dynamic(operation.output.shape[1]):
        return "channels of dynamic number"
    return fill.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel, none where there is nothing to fill; a work item is a padded row."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, FillHalo)
    if not output.halo:
        return []
    builder = KernelBuilder(target.core.isa)
    dtype = memory_dtype(output.dtype)
    y: Buffer = builder.pointer("y", dtype, largest(output.view.elements))
    lanes = target.lanes(8 * np.dtype(output.dtype).itemsize)
    filler = Filler(builder, y, dtype, fill.stored(kind.value, output.dtype), lanes)
    images, channels, height, width = output.shape
    halo = output.halo
    rows: Dimension = halo.top + height + halo.bottom
    columns: Dimension = halo.left + width + halo.right
    padded = builder.size(rows)
    with builder.loop("item", builder.lo, builder.hi) as item:
        begin = builder.let("begin", item * builder.size(columns * channels))
        row = builder.let("row", item % padded)
        inside = (row >= halo.top) & (row < padded - halo.bottom)
        with builder.condition(inside):
            filler.run(begin, halo.left * channels)
            behind = begin + builder.size((halo.left + width) * channels)
            filler.run(builder.let("behind", behind), halo.right * channels)
        with builder.condition(~inside):
            _fill_row(builder, filler, begin, columns, channels)
    return [dynamic_call(builder, "fill_halo", (output,), (images * rows, 1))]


def _fill_row(
    builder: KernelBuilder, filler: Filler, begin: Expr, columns: Dimension, channels: int
) -> None:
    """All of a row, pixel by pixel."""
    with builder.loop("column", 0, builder.size(columns)) as column:
        filler.run(builder.let("pixel", begin + column * channels), channels)
