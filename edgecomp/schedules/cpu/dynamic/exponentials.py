"""Exponentials of rows of dynamic shapes relative to their greatest, in 8 bits, and their sums.

The static schedule's rows (softmax_rows.py): a work item is a row.
"""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Exponentials, Operation
from edgecomp.plan.sizes import is_dynamic, largest
from edgecomp.schedules.builder import KernelBuilder
from edgecomp.schedules.cpu import exponentials, quantize
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.cpu.softmax_rows import SoftmaxRows, rows_of
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
    (source,), (output, sums) = operation.inputs, operation.outputs
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", largest(source.view.elements))
    y = builder.pointer("y", output.dtype, largest(output.view.elements))
    totals = builder.pointer("sums", "float32", largest(sums.view.elements))
    size, lanes = output.shape[-1], target.lanes(32)
    behind = max(lanes, quantize.LANES) if is_dynamic(size) else 0
    elements = rows_of(largest(size)) * largest(size) + behind
    items = SoftmaxRows(
        builder=builder,
        space=exponentials.space_of_rows(operation),
        size=size,
        lanes=lanes,
        x=x,
        y=y,
        scratch=builder.pointer("exponentials", "float32", elements),
        convert=quantize.narrowing(builder, output, target),
        sums=totals,
    ).emit()
    arguments = (source, output, sums)
    return [dynamic_call(builder, NAME, arguments, (items, 1), workspace_bytes=4 * elements)]
