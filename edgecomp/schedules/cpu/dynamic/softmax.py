"""Softmax and its logarithm along the last dimension of values of dynamic shapes.

A work item is a row. What does not fill a vector at the row's end is computed in a whole one, of
whose elements only those of the row count and are stored.
"""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation, Softmax
from edgecomp.plan.sizes import largest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, splat
from edgecomp.schedules.cpu import math, softmax
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.cpu.dynamic.row import DynamicRow
from edgecomp.schedules.cpu.vectors import named
from edgecomp.schedules.schedule import KernelCall

NAME = softmax.NAME
_MINUS_INFINITY = float("-inf")


def match(operation: Operation, target: Target) -> str:
    """float32 rows."""
    kind = operation.kind
    if not isinstance(kind, Softmax):
        return "not a softmax"
    value = operation.inputs[0]
    if operation.output.dtype != "float32":
        return f"a softmax of dynamic sizes as {operation.output.dtype}"
    if kind.axis % len(value.shape) != len(value.shape) - 1:
        return "softmax along another dimension than the last"
    if value.view.strides[-1] != 1 or operation.output.view.strides[-1] != 1:
        return "softmax of an image"
    return softmax.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Softmax)
    (source,) = operation.inputs
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", largest(source.view.elements))
    y = builder.pointer("y", "float32", largest(output.view.elements))
    row = DynamicRow(builder, builder.size(output.shape[-1]), target.lanes(32))
    with builder.loop("item", builder.lo, builder.hi) as item:
        base = builder.let("base", item * row.size)
        _emit_row(builder, row, y, x, base, logarithm=kind.logarithm)
    items = output.elements // output.shape[-1]
    return [dynamic_call(builder, NAME, (source, output), (items, 1))]


def _emit_row(
    builder: KernelBuilder,
    row: DynamicRow,
    y: Buffer,
    x: Buffer,
    base: Expr,
    *,
    logarithm: bool,
) -> None:
    lanes = row.lanes
    peak = row.fold(_MINUS_INFINITY, tirx.Max, lambda at: load(x, base + at, lanes))
    peaks = named(builder, "peak", splat(peak, lanes))

    def exponential(at: Expr) -> Expr:
        value = math.exp(builder, load(x, base + at, lanes) - peaks)
        return named(builder, "exponential", value)

    def keep(at: Expr, value: Expr, count: Expr | None) -> None:
        if not logarithm:
            row.store(y, base + at, value, count)

    total = row.fold(0.0, lambda a, b: a + b, exponential, keep)
    if logarithm:
        logarithms = named(builder, "logarithm", splat(math.log(builder, total), lanes))
        row.map(y, base, lambda at: (load(x, base + at, lanes) - peaks) - logarithms)
        return
    factors = named(builder, "factor", splat(constant(1.0, "float32") / total, lanes))
    row.map(y, base, lambda at: load(y, base + at, lanes) * factors)
