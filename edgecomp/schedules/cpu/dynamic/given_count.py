"""A number of the model's own as a count."""

from edgecomp.device.target import Target
from edgecomp.plan.counting import GivenCount
from edgecomp.plan.operations import Operation
from edgecomp.schedules.builder import KernelBuilder, load
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.schedule import KernelCall

NAME = "given_count"


def match(operation: Operation, target: Target) -> str:
    """int64."""
    del target
    if not isinstance(operation.kind, GivenCount):
        return "not a count"
    dtype = operation.inputs[0].dtype
    return "" if dtype == "int64" else f"a count of {dtype}"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel of one work item."""
    (number,), count = operation.inputs, operation.output
    builder = KernelBuilder(target.core.isa)
    source = builder.pointer("number", "int64", 1)
    counted = builder.pointer("count", "int64", 1)
    with builder.loop("once", builder.lo, builder.hi):
        builder.store(counted, 0, load(source, 0))
    return [dynamic_call(builder, NAME, (number, count), (1, 1))]
