"""Copies of boxes of dynamic sizes: transposes, slices, concatenation."""

from collections.abc import Sequence

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation, StridedCopy
from edgecomp.plan.sizes import Dimension, largest
from edgecomp.plan.values import Value, View
from edgecomp.schedules.builder import Expr, KernelBuilder, ramp
from edgecomp.schedules.cpu import strided_copy
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call, dynamic_space, emit_nest
from edgecomp.schedules.cpu.iteration import Space
from edgecomp.schedules.cpu.move import Convert, bits_dtype, load_strided
from edgecomp.schedules.cpu.table import TableLookup, table_lanes
from edgecomp.schedules.schedule import Constant, KernelCall

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
    space = _space_of(kind, source, output)
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", bits_dtype(source.dtype), largest(source.view.elements))
    arguments: list[Value | Constant] = [source]
    convert: Convert = _same
    lanes = target.lanes(8 * np.dtype(output.dtype).itemsize)
    if kind.lookup is not None:
        lookup = TableLookup(builder, target, kind.lookup.astype(output.dtype), source.dtype)
        arguments.append(lookup.constant)
        lanes, convert = table_lanes(target, output.dtype), lookup
    y = builder.pointer("y", bits_dtype(output.dtype), largest(output.view.elements))

    def body(offsets: list[Expr], width: int) -> None:
        value = convert(load_strided(x, offsets[1], space.inner_stride(1), width))
        builder.store(y, ramp(offsets[0], width, space.inner_stride(0)), value)

    items = emit_nest(builder, space, lanes, body)
    return [dynamic_call(builder, NAME, (*arguments, output), items)]


def _same(x: Expr) -> Expr:
    return x


def _space_of(kind: StridedCopy, source: Value, output: Value) -> Space:
    """Strides of both sides along the box's dimensions."""
    source_view, output_view = _cut(source, kind.in_shape), _cut(output, kind.out_shape)
    source_strides: list[Dimension] = [0] * len(kind.shape)
    for stride, step, follows in zip(
        source_view.strides, kind.in_step, kind.permutation, strict=True
    ):
        if follows >= 0:
            source_strides[follows] += stride * step
    output_strides = [
        stride * step for stride, step in zip(output_view.strides, kind.out_step, strict=True)
    ]
    return dynamic_space(
        kind.shape,
        [output_strides, source_strides],
        [_start(output_view, kind.out_start), _start(source_view, kind.in_start)],
    )


def _cut(value: Value, shape: tuple[Dimension, ...] | None) -> View:
    return value.view if shape is None else value.view.refined(shape)


def _start(view: View, index: Sequence[Dimension]) -> Dimension:
    total: Dimension = view.offset
    for i, stride in zip(index, view.strides, strict=True):
        total = total + i * stride
    return total
