"""Copies of boxes of dynamic sizes: transposes, slices, concatenation."""

from edgecomp.device.target import Target
from edgecomp.plan.movement import StridedCopy
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import largest
from edgecomp.schedules.builder import Expr, KernelBuilder, ramp
from edgecomp.schedules.cpu import strided_copy
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call, emit_nest
from edgecomp.schedules.cpu.move import bits_dtype, load_strided
from edgecomp.schedules.schedule import KernelCall

NAME = strided_copy.NAME


def match(operation: Operation, target: Target) -> str:
    """Any copy that the static schedule takes."""
    if not isinstance(operation.kind, StridedCopy):
        return "not a copy"
    return strided_copy.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, StridedCopy)
    (source,) = operation.inputs
    space = strided_copy.space_of(kind, source, output)
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", bits_dtype(source.dtype), largest(source.view.elements))
    tables, lanes, convert = strided_copy.conversion(builder, target, operation)
    y = builder.pointer("y", bits_dtype(output.dtype), largest(output.view.elements))

    def body(offsets: list[Expr], width: int) -> None:
        value = convert(load_strided(x, offsets[1], space.inner_stride(1), width))
        builder.store(y, ramp(offsets[0], width, space.inner_stride(0)), value)

    items = emit_nest(builder, space, lanes, body)
    return [dynamic_call(builder, NAME, (source, *tables, output), items)]
