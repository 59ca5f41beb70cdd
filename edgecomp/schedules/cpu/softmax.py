"""Softmax and its logarithm along any axis.

Along the contiguous dimension a work item is a row (softmax_rows.py), whose results may be of 8
bits. Along any other, vectors of independent columns walk the axis together.
"""

from edgecomp.device.target import Target
from edgecomp.plan.attention import Softmax
from edgecomp.plan.operations import Operation
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, ramp
from edgecomp.schedules.cpu import math, quantize
from edgecomp.schedules.cpu.iteration import GRAIN_ELEMENTS, Space, collapse
from edgecomp.schedules.cpu.move import load_strided
from edgecomp.schedules.cpu.nest import emit_nest
from edgecomp.schedules.cpu.softmax_rows import SoftmaxRows, scratch_elements
from edgecomp.schedules.cpu.vectors import named
from edgecomp.schedules.schedule import KernelCall

NAME = "softmax_f32"
_MINUS_INFINITY = float("-inf")


def match(operation: Operation, target: Target) -> str:
    """float32, any axis, any orders."""
    del target
    if not isinstance(operation.kind, Softmax):
        return "not a softmax"
    if operation.inputs[0].dtype != "float32":
        return f"softmax of {operation.inputs[0].dtype}"
    if operation.output.dtype != "float32" and not is_along_rows(operation):
        return f"columns of {operation.output.dtype}"
    return ""


def is_along_rows(operation: Operation) -> bool:
    """Whether the axis is contiguous in what is read and in what is written."""
    kind, values = operation.kind, (*operation.inputs, *operation.outputs)
    assert isinstance(kind, Softmax)
    return all(
        value.shape[kind.axis] == 1 or value.view.strides[kind.axis] == 1 for value in values
    )


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Softmax)
    (source,) = operation.inputs
    if not output.elements:
        return []
    axis = kind.axis % len(output.shape)
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", source.view.elements)
    y = builder.pointer("y", output.dtype, output.view.elements)
    size = output.shape[axis]
    steps = (output.view.strides[axis], source.view.strides[axis])
    rest = space_beside(operation)
    scratch_bytes = 0
    if is_along_rows(operation):
        scratch = convert = None
        if output.dtype != "float32":
            elements = scratch_elements(size, target.lanes(32))
            scratch_bytes = 4 * elements
            scratch = builder.pointer("exponentials", "float32", elements)
            convert = quantize.narrowing(builder, output, target)
        items = SoftmaxRows(
            builder=builder,
            space=rest,
            size=size,
            lanes=target.lanes(32),
            x=x,
            y=y,
            logarithm=kind.logarithm,
            scratch=scratch,
            convert=convert,
        ).emit()
    else:
        columns = _Columns(builder, y, x, size, steps, rest, kind.logarithm)
        grain = max(1, GRAIN_ELEMENTS // size)
        items = emit_nest(builder, rest, target.lanes(32), columns.emit, grain)
    kernel = builder.finish("softmax")
    return [KernelCall(kernel, (source, output), items, workspace_bytes=scratch_bytes)]


def space_beside(operation: Operation) -> Space:
    """The dimensions beside the axis, of the output and the input; any may be dynamic."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Softmax)
    axis = kind.axis % len(output.shape)
    views = (output.view, operation.inputs[0].view)
    keep = [d for d in range(len(output.shape)) if d != axis]
    return collapse(
        [output.shape[d] for d in keep],
        [[view.strides[d] for d in keep] for view in views],
        [view.offset for view in views],
    )


class _Columns:
    """Softmax of neighbouring columns, one per lane."""

    def __init__(
        self,
        builder: KernelBuilder,
        y: Buffer,
        x: Buffer,
        size: int,
        steps: tuple[int, int],
        rest: Space,
        logarithm: bool,
    ) -> None:
        self._builder = builder
        self._y, self._x = y, x
        self._size, self._steps = size, steps
        self._strides = (rest.inner_stride(0), rest.inner_stride(1))
        self._logarithm = logarithm

    def emit(self, offsets: list[Expr], lanes: int) -> None:
        """All positions of the axis for one vector of columns."""
        builder = self._builder
        to, base = offsets
        peak = builder.array("peak", "float32", lanes)
        total = builder.array("total", "float32", lanes)
        whole = ramp(0, lanes)

        def element(index: Expr) -> Expr:
            at = base + index * self._steps[1]
            return load_strided(self._x, at, self._strides[1], lanes)

        def place(index: Expr) -> Expr:
            return ramp(to + index * self._steps[0], lanes, self._strides[0])

        builder.store(peak, whole, constant(_MINUS_INFINITY, "float32", lanes))
        builder.store(total, whole, constant(0.0, "float32", lanes))
        with builder.loop("i", 0, self._size) as i:
            builder.store(peak, whole, tirx.Max(load(peak, 0, lanes), element(i)))
        peaks = named(builder, "peaks", load(peak, 0, lanes))
        with builder.loop("i", 0, self._size) as i:
            value = named(builder, "value", math.exp(builder, element(i) - peaks))
            if not self._logarithm:
                builder.store(self._y, place(i), value)
            builder.store(total, whole, load(total, 0, lanes) + value)
        sums = named(builder, "sums", load(total, 0, lanes))
        if self._logarithm:
            logarithms = named(builder, "logarithms", math.log(builder, sums))
            with builder.loop("i", 0, self._size) as i:
                builder.store(self._y, place(i), (element(i) - peaks) - logarithms)
            return
        factors = named(builder, "factors", constant(1.0, "float32", lanes) / sums)
        with builder.loop("i", 0, self._size) as i:
            index = place(i)
            builder.store(self._y, index, tirx.BufferLoad(self._y, [index]) * factors)
