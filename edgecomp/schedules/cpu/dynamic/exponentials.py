"""Exponentials of rows of dynamic shapes relative to their greatest, in 8 bits, and their sums.

The static schedule's rows, of any length.
"""

from edgecomp.device.target import Target
from edgecomp.plan.attention import Exponentials
from edgecomp.plan.operations import Operation
from edgecomp.schedules.builder import KernelBuilder
from edgecomp.schedules.cpu import exponentials
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.schedule import KernelCall

NAME = exponentials.NAME


def match(operation: Operation, target: Target) -> str:
    """float32 rows without gaps, of at least one element."""
    if not isinstance(operation.kind, Exponentials):
        return "no exponentials with their sums"
    if any(v.view.strides[-1] != 1 for v in (operation.inputs[0], operation.outputs[0])):
        return "rows are not contiguous"
    return exponentials.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    builder = KernelBuilder(target.core.isa)
    items, scratch_bytes = exponentials.emit_rows(builder, operation, target)
    arguments = (*operation.inputs, *operation.outputs)
    return [dynamic_call(builder, NAME, arguments, (items, 1), workspace_bytes=scratch_bytes)]
