"""Sizes as numbers that other kernels read."""

from edgecomp.device.target import Target
from edgecomp.plan.counting import Sizes
from edgecomp.plan.operations import Operation
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import KernelBuilder
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.schedule import KernelCall

NAME = "sizes"


def match(operation: Operation, target: Target) -> str:
    """Any list."""
    del target
    return "" if isinstance(operation.kind, Sizes) else "not a list of sizes"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel of one work item."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Sizes)
    builder = KernelBuilder(target.core.isa)
    y = builder.pointer("y", output.dtype, len(kind.numbers))
    with builder.loop("once", builder.lo, builder.hi):
        for place, number in enumerate(kind.numbers):
            size = builder.size(number)
            value = (
                tirx.const(size, output.dtype)
                if isinstance(size, int)
                else tirx.Cast(output.dtype, size)
            )
            builder.store(y, place, value)
    return [dynamic_call(builder, NAME, (output,), (1, 1))]
