"""Softmax and its logarithm along any axis.

Along the contiguous dimension a work item is a row: maximum, exponentials and their sum, then
the product with the sum's reciprocal. Along any other, vectors of independent columns walk the
axis together.
"""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation, Softmax
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, ramp, splat
from edgecomp.schedules.cpu import math
from edgecomp.schedules.cpu.iteration import GRAIN_ELEMENTS, Space, collapse
from edgecomp.schedules.cpu.move import load_strided
from edgecomp.schedules.cpu.nest import advance, emit_nest, unravel
from edgecomp.schedules.cpu.rows import Row
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
    return ""


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
    y = builder.pointer("y", "float32", output.view.elements)
    size = output.shape[axis]
    steps = (output.view.strides[axis], source.view.strides[axis])
    keep = [d for d in range(len(output.shape)) if d != axis]
    rest = collapse(
        [output.shape[d] for d in keep],
        [[view.strides[d] for d in keep] for view in (output.view, source.view)],
        [output.view.offset, source.view.offset],
    )
    if size == 1 or steps == (1, 1):
        row = Row.of(builder, size, target.lanes(32))
        items = _emit_rows(builder, rest, row, y, x, kind.logarithm)
    else:
        columns = _Columns(builder, y, x, size, steps, rest, kind.logarithm)
        grain = max(1, GRAIN_ELEMENTS // size)
        items = emit_nest(builder, rest, target.lanes(32), columns.emit, grain)
    return [KernelCall(builder.finish("softmax"), (source, output), items)]


def _larger(a: Expr, b: Expr) -> Expr:
    return tirx.Max(a, b)


def _plus(a: Expr, b: Expr) -> Expr:
    return a + b


def _emit_rows(
    builder: KernelBuilder, rest: Space, row: Row, y: Buffer, x: Buffer, logarithm: bool
) -> int:
    lanes = row.lanes
    with builder.loop("item", builder.lo, builder.hi) as item:
        indices = unravel(builder, item, rest.sizes)
        bases = advance(builder, rest, range(len(rest.sizes)), indices, rest.offsets)
        to, base = bases
        peak = row.fold(_MINUS_INFINITY, _larger, lambda at: load(x, base + at, lanes))
        peaks = named(builder, "peak", splat(peak, lanes))

        def exponential(at: Expr) -> Expr:
            value = math.exp(builder, load(x, base + at, lanes) - peaks)
            value = named(builder, "exponential", value)
            if not logarithm:
                builder.store(y, ramp(to + at, lanes), value)
            return value

        total = row.fold(0.0, _plus, exponential)
        if logarithm:
            logarithms = named(builder, "logarithm", splat(math.log(builder, total), lanes))
            row.each(
                lambda at: builder.store(
                    y,
                    ramp(to + at, lanes),
                    (load(x, base + at, lanes) - peaks) - logarithms,
                )
            )
        else:
            _scale_in_place(builder, row, y, to, constant(1.0, "float32") / total)
    items: int = rest.elements
    return items


def _scale_in_place(
    builder: KernelBuilder, row: Row, y: Buffer, to: Expr, factor: Expr
) -> None:
    """Multiply a row by a number.

    The overlapping last vector is read before the others are written.
    """
    lanes = row.lanes
    factors = named(builder, "factor", splat(factor, lanes))
    last = None
    if row.size % lanes:
        last = builder.array("last", "float32", lanes)
        at = to + (row.size - lanes)
        builder.store(last, ramp(0, lanes), load(y, at, lanes) * factors)
    whole = Row(builder, row.size - row.size % lanes, lanes)
    whole.each(
        lambda at: builder.store(y, ramp(to + at, lanes), load(y, to + at, lanes) * factors)
    )
    if last is not None:
        builder.store(y, ramp(to + (row.size - lanes), lanes), load(last, 0, lanes))


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
