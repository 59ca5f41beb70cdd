"""Copies of a box: transposes, slices, concatenation, split, padding, layout changes."""

from collections.abc import Sequence

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.movement import StridedCopy
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Dimension
from edgecomp.plan.values import Value, View
from edgecomp.schedules.builder import Expr, KernelBuilder
from edgecomp.schedules.cpu.iteration import Space, collapse
from edgecomp.schedules.cpu.move import Convert, bits_dtype, emit_move
from edgecomp.schedules.cpu.table import TableLookup, table_lanes
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "strided_copy"


def match(operation: Operation, target: Target) -> str:
    """Any copy between values of one element width (any width with a lookup)."""
    del target
    kind = operation.kind
    if not isinstance(kind, StridedCopy):
        return "not a copy"
    source, output = np.dtype(operation.inputs[0].dtype), np.dtype(operation.output.dtype)
    if kind.lookup is not None:
        if source.itemsize != 1:
            return f"table of {source}"
    elif source != output:
        return f"copy from {source} to {output}"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, StridedCopy)
    (source,) = operation.inputs
    if 0 in kind.shape:
        return []
    space = space_of(kind, source, output)
    builder = KernelBuilder()
    x = builder.pointer("x", bits_dtype(source.dtype), source.view.elements)
    tables, lanes, convert = conversion(builder, target, operation)
    y = builder.pointer("y", bits_dtype(output.dtype), output.view.elements)
    items = emit_move(builder, target, space, y, x, lanes, convert)
    return [KernelCall(builder.finish("copy"), (source, *tables, output), items)]


def conversion(
    builder: KernelBuilder, target: Target, operation: Operation
) -> tuple[list[Constant], int, Convert]:
    """What a copy does to each vector: tables that it reads, lanes of a vector, the step itself."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, StridedCopy)
    if kind.lookup is None:
        return [], target.lanes(8 * np.dtype(output.dtype).itemsize), _same
    table = kind.lookup.astype(output.dtype)
    lookup = TableLookup(builder, target, table, operation.inputs[0].dtype)
    return [lookup.constant], table_lanes(target, output.dtype), lookup


def _same(x: Expr) -> Expr:
    return x


def space_of(kind: StridedCopy, source: Value, output: Value) -> Space:
    """Strides of both sides along the box's dimensions."""
    rank = len(kind.shape)
    source_view, output_view = _cut(source, kind.in_shape), _cut(output, kind.out_shape)
    source_strides: list[Dimension] = [0] * rank
    for stride, step, follows in zip(
        source_view.strides, kind.in_step, kind.permutation, strict=True
    ):
        if follows >= 0:
            source_strides[follows] += stride * step
    output_strides = [
        stride * step for stride, step in zip(output_view.strides, kind.out_step, strict=True)
    ]
    return collapse(
        kind.shape,
        [output_strides, source_strides],
        [_start(output_view, kind.out_start), _start(source_view, kind.in_start)],
    )


def _cut(value: Value, shape: tuple[Dimension, ...] | None) -> View:
    return value.view if shape is None else value.view.refined(shape)


def _start(view: View, index: Sequence[Dimension]) -> Dimension:
    return view.offset + sum(i * s for i, s in zip(index, view.strides, strict=True))
