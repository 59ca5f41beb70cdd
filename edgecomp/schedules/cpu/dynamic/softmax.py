"""Softmax and its logarithm along the last dimension of values of dynamic shapes.

The static schedule's rows (softmax_rows.py). What does not fill a vector at the end of a row of
dynamic length is computed in a whole one, of whose elements only those of the row count and are
stored.
"""

from edgecomp.device.target import Target
from edgecomp.plan.attention import Softmax
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import is_dynamic, largest
from edgecomp.schedules.builder import KernelBuilder
from edgecomp.schedules.cpu import quantize, softmax
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.cpu.softmax_rows import SoftmaxRows, scratch_elements
from edgecomp.schedules.schedule import KernelCall

NAME = softmax.NAME


def match(operation: Operation, target: Target) -> str:
    """float32 rows, to float32 or 8 bits."""
    kind = operation.kind
    if not isinstance(kind, Softmax):
        return "not a softmax"
    value = operation.inputs[0]
    if kind.axis % len(value.shape) != len(value.shape) - 1:
        return "softmax along another dimension than the last"
    if value.view.strides[-1] != 1 or operation.output.view.strides[-1] != 1:
        return "softmax of an image"
    return softmax.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is a row."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Softmax)
    (source,) = operation.inputs
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", largest(source.view.elements))
    y = builder.pointer("y", output.dtype, largest(output.view.elements))
    size, lanes = output.shape[-1], target.lanes(32)
    scratch, scratch_bytes = None, 0
    narrows = output.dtype != "float32"
    if narrows or (is_dynamic(size) and not kind.logarithm):
        elements = scratch_elements(size, lanes)
        scratch = builder.pointer("exponentials", "float32", elements)
        scratch_bytes = 4 * elements
    items = SoftmaxRows(
        builder=builder,
        space=softmax.space_beside(operation),
        size=size,
        lanes=lanes,
        x=x,
        y=y,
        logarithm=kind.logarithm,
        scratch=scratch,
        convert=quantize.narrowing(builder, output, target),
    ).emit()
    return [
        dynamic_call(
            builder,
            "softmax",
            (source, output),
            (items, 1),
            workspace_bytes=scratch_bytes,
        )
    ]
