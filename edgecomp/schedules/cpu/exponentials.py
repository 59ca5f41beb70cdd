"""Exponentials of rows relative to their greatest, in 8 bits, and their sums.

A softmax whose division somebody else makes (softmax_rows.py): a work item is a row.
"""

from edgecomp.device.target import Target
from edgecomp.plan.attention import Exponentials
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Dimension, largest
from edgecomp.schedules.builder import KernelBuilder
from edgecomp.schedules.cpu import quantize
from edgecomp.schedules.cpu.iteration import collapse
from edgecomp.schedules.cpu.softmax_rows import SoftmaxRows, scratch_elements
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
    builder = KernelBuilder(target.core.isa)
    items, scratch_bytes = emit_rows(builder, operation, target)
    arguments = (*operation.inputs, *operation.outputs)
    kernel = builder.finish(NAME)
    return [KernelCall(kernel, arguments, items, workspace_bytes=scratch_bytes)]


def emit_rows(
    builder: KernelBuilder, operation: Operation, target: Target
) -> tuple[Dimension, int]:
    """All statements of the kernel, whose sizes and strides may be dynamic.

    Returns:
        Its work items, which are rows, and the bytes of its scratch.
    """
    (source,), (output, sums) = operation.inputs, operation.outputs
    size, lanes = output.shape[-1], target.lanes(32)
    elements = scratch_elements(size, lanes)
    x, y, totals = (
        builder.pointer(name, value.dtype, largest(value.view.elements))
        for name, value in (("x", source), ("y", output), ("sums", sums))
    )
    views = (output.view, source.view, sums.view)
    rows = SoftmaxRows(
        builder=builder,
        space=collapse(
            output.shape[:-1],
            [view.strides[:-1] for view in views],
            [view.offset for view in views],
        ),
        size=size,
        lanes=lanes,
        x=x,
        y=y,
        scratch=builder.pointer("exponentials", "float32", elements),
        convert=quantize.narrowing(builder, output, target),
        sums=totals,
    )
    return rows.emit(), 4 * elements
