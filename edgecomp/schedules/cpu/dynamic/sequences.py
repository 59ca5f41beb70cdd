"""Recurrent nets and cumulative totals along sequences whose length is known when the model runs."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.recurrence import Recurrence
from edgecomp.plan.reductions import Cumulative
from edgecomp.plan.sizes import has_dynamic, is_dynamic
from edgecomp.schedules.cpu import cumulative, recurrence
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.cpu.recurrence import RecurrenceKernel
from edgecomp.schedules.schedule import KernelCall

NAME = "sequences"


def match(operation: Operation, target: Target) -> str:
    """Steps and batch of recurrent nets; totals over static rows."""
    kind = operation.kind
    if isinstance(kind, Recurrence):
        if is_dynamic(operation.inputs[0].shape[-1]):
            return "inputs of dynamic number"
        return recurrence.match(Twin(operation).operation, target)
    if isinstance(kind, Cumulative):
        if has_dynamic(operation.output.shape[kind.axis + 1 :]):
            return "a dynamic dimension behind the one it runs along"
        return cumulative.match(Twin(operation).operation, target)
    return "neither a recurrent net nor a cumulative total"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    if isinstance(operation.kind, Recurrence):
        return [RecurrenceKernel(operation, target).call()]
    builder, items = cumulative.emit_loops(operation, target)
    arguments = (operation.inputs[0], operation.output)
    return [dynamic_call(builder, cumulative.NAME, arguments, (items, 1))]
