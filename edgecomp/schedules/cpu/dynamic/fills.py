"""A constant into a whole value of any size: what Pad puts around its copy."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.movement import Fill
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import largest
from edgecomp.schedules.builder import KernelBuilder
from edgecomp.schedules.cpu import fill
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call, emit_nest
from edgecomp.schedules.cpu.iteration import space_of_views
from edgecomp.schedules.cpu.small_types import memory_dtype
from edgecomp.schedules.schedule import KernelCall

NAME = fill.NAME


def match(operation: Operation, target: Target) -> str:
    """What the static schedule takes."""
    if not isinstance(operation.kind, Fill):
        return "not a constant everywhere"
    return fill.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Fill)
    dtype = memory_dtype(output.dtype)
    builder = KernelBuilder(target.core.isa)
    y = builder.pointer("y", dtype, largest(output.view.elements))
    lanes = target.lanes(8 * np.dtype(output.dtype).itemsize)
    filler = fill.Filler(builder, y, dtype, fill.stored(kind.value, output.dtype), lanes)
    space = space_of_views([output.view])
    items = emit_nest(
        builder,
        space,
        lanes,
        lambda offsets, width: filler.store(offsets[0], width, space.inner_stride(0)),
    )
    return [dynamic_call(builder, "fill", (output,), items)]
