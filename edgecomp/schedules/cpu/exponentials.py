"""Exponentials of rows relative to their greatest, in 8 bits, and their sums.

A softmax whose division somebody else makes (softmax_rows.py): a work item is a row.
"""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Exponentials, Operation
from edgecomp.schedules.builder import KernelBuilder
from edgecomp.schedules.cpu import quantize
from edgecomp.schedules.cpu.iteration import Space, collapse
from edgecomp.schedules.cpu.softmax_rows import SoftmaxRows, rows_of
from edgecomp.schedules.schedule import KernelCall

NAME = "exponentials"


def match(operation: Operation, target: Target) -> str:
    """float32 rows without gaps."""
    del target
    if not isinstance(operation.kind, Exponentials):
        return "no exponentials with their sums"
    if any(
        value.shape[-1] > 1 and value.view.strides[-1] != 1
        for value in (*operation.inputs, operation.outputs[0])
    ):
        return "rows are not contiguous"
    return "" if operation.inputs[0].elements else "empty"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    (source,), (output, sums) = operation.inputs, operation.outputs
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", source.view.elements)
    y = builder.pointer("y", output.dtype, output.view.elements)
    totals = builder.pointer("sums", "float32", sums.view.elements)
    size = output.shape[-1]
    elements = rows_of(size) * size
    scratch = builder.pointer("exponentials", "float32", elements)
    items = SoftmaxRows(
        builder=builder,
        space=space_of_rows(operation),
        size=size,
        lanes=target.lanes(32),
        x=x,
        y=y,
        scratch=scratch,
        convert=quantize.narrowing(builder, output, target),
        sums=totals,
    ).emit()
    kernel = builder.finish(NAME)
    return [KernelCall(kernel, (source, output, sums), items, workspace_bytes=4 * elements)]


def space_of_rows(operation: Operation) -> Space:
    """The dimensions beside the rows, of the output, the input and the sums; any may be dynamic."""
    (source,), (output, sums) = operation.inputs, operation.outputs
    views = (output.view, source.view, sums.view)
    return collapse(
        output.shape[:-1],
        [view.strides[:-1] for view in views],
        [view.offset for view in views],
    )
