"""Distinct elements or slices: sorted by merging, then numbered in one pass."""

import dataclasses
import math

from edgecomp.device.target import Target
from edgecomp.plan.counting import Unique
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Dimension, largest
from edgecomp.plan.values import Order
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load
from edgecomp.schedules.cpu.dynamic.largest import items_of
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.cpu.move import bits_dtype
from edgecomp.schedules.cpu.operand import INTEGERS
from edgecomp.schedules.schedule import KernelCall

NAME = "unique"
_HALVES = ("float16", "bfloat16")
_PLAIN = INTEGERS | {"float32", "float64", "bool"}


def match(operation: Operation, target: Target) -> str:
    """Row-major numbers."""
    del target
    if not isinstance(operation.kind, Unique):
        return "not a search for distinct elements"
    x = operation.inputs[0]
    if x.dtype not in _PLAIN and x.dtype not in _HALVES:
        return f"elements of {x.dtype}"
    return "" if x.order is Order.ROW_MAJOR else "elements of an image"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel of one work item."""
    kind, (x,) = operation.kind, operation.inputs
    assert isinstance(kind, Unique)
    y, indices, inverse, counts, count = operation.outputs
    is_bits = x.dtype in _HALVES or x.dtype == "bool"
    dtype = bits_dtype(x.dtype) if is_bits else x.dtype
    builder = KernelBuilder(target.core.isa)
    elements = builder.pointer("x", dtype, largest(x.elements))
    distinct = builder.pointer("y", dtype, largest(y.elements))
    first, places, often, counted = (
        builder.pointer(name, "int64", largest(value.elements))
        for name, value in zip(
            ("first", "places", "often", "count"), operation.outputs[1:], strict=True
        )
    )
    if kind.axis is None:
        outer, size, inner = 1, x.elements, 1
    else:
        outer = items_of(x.shape[: kind.axis])
        size, inner = x.shape[kind.axis], items_of(x.shape[kind.axis + 1 :])
    slices = _Slices(builder, elements, x.dtype, outer, size, inner)
    most, bound = largest(size), largest(counts.shape[0])
    scratch = builder.pointer("order", "int32", 3 * max(1, most))
    extent = slices.extent
    with builder.loop("once", builder.lo, builder.hi):
        sorted_at = _sort(builder, scratch, slices, most)
        total = builder.array("total", "int32", 1)
        head = builder.array("head", "int32", 1)
        builder.store(total, 0, tirx.const(0, "int32"))
        numbers = 2 * most  # of each first one among the distinct
        with builder.loop("k", 0, extent) as k:
            item = builder.let("item", load(scratch, sorted_at + k))
            before = builder.let("before", load(scratch, sorted_at + tirx.max(k - 1, 0)))
            is_new = tirx.Or(tirx.EQ(k, 0), slices.less(before, item))
            with builder.condition(is_new):
                builder.store(head, 0, item)
                builder.store(scratch, numbers + item, load(total, 0))
                builder.store(total, 0, load(total, 0) + 1)
            builder.store(places, item, tirx.Cast("int64", load(head, 0)))
        if not kind.is_sorted:
            builder.store(total, 0, tirx.const(0, "int32"))
            with builder.loop("i", 0, extent) as i:
                is_first = tirx.EQ(tirx.Cast("int32", load(places, i)), i)
                with builder.condition(is_first):
                    builder.store(scratch, numbers + i, load(total, 0))
                    builder.store(total, 0, load(total, 0) + 1)
        found = builder.let("found", load(total, 0))
        builder.store(counted, 0, tirx.Cast("int64", found))
        kept = builder.let("kept", tirx.min(found, bound))
        with builder.loop("g", 0, kept) as g:
            builder.store(often, g, tirx.const(0, "int64"))
        with builder.loop("i", 0, extent) as i:
            leader = builder.let("leader", tirx.Cast("int32", load(places, i)))
            number = builder.let("number", load(scratch, numbers + leader))
            builder.store(places, i, tirx.Cast("int64", number))
            with builder.condition(number < kept):
                builder.store(often, number, load(often, number) + tirx.const(1, "int64"))
                with builder.condition(tirx.EQ(leader, i)):
                    builder.store(first, number, tirx.Cast("int64", i))
                    slices.copy(distinct, i, number, kept)
    arguments = (x, y, indices, inverse, counts, count)
    return [dynamic_call(builder, NAME, arguments, (1, 1), 3 * 4 * max(1, most))]


@dataclasses.dataclass
class _Slices:
    """What is compared: slices of a value [outer, size, inner] along its middle dimension."""

    builder: KernelBuilder
    buffer: Buffer
    dtype: str
    outer: Dimension
    size: Dimension
    inner: Dimension

    @property
    def extent(self) -> Expr:
        return self.builder.size(self.size)

    def less(self, a: Expr, b: Expr) -> Expr:
        """Whether a slice is before another one; statements are emitted for it."""
        builder = self.builder
        if isinstance(self.outer, int) and self.outer == 1 and self.inner == 1:
            return self._element(0, a, 0) < self._element(0, b, 0)
        order = builder.array("order", "int32", 1)
        builder.store(order, 0, tirx.const(0, "int32"))
        with (
            builder.loop("o", 0, builder.size(self.outer)) as o,
            builder.loop("c", 0, builder.size(self.inner)) as c,
            builder.condition(tirx.EQ(load(order, 0), 0)),
        ):
            left, right = self._element(o, a, c), self._element(o, b, c)
            above = tirx.Cast("int32", left > right)
            builder.store(order, 0, above - tirx.Cast("int32", left < right))
        return load(order, 0) < 0

    def copy(self, to: Buffer, item: Expr, number: Expr, kept: Expr) -> None:
        builder, width = self.builder, self.builder.size(self.inner)
        with (
            builder.loop("o", 0, builder.size(self.outer)) as o,
            builder.loop("c", 0, width) as c,
        ):
            value = load(self.buffer, (o * self.extent + item) * width + c)
            builder.store(to, (o * kept + number) * width + c, value)

    def _element(self, o: Expr, item: Expr, c: Expr) -> Expr:
        """A number in the order of the elements."""
        place = (o * self.extent + item) * self.builder.size(self.inner) + c
        element = load(self.buffer, place)
        if self.dtype not in _HALVES:
            return element
        bits = tirx.Cast("int32", element)
        magnitude = bits & 0x7FFF
        return tirx.Select(bits > 0x7FFF, 0 - magnitude, magnitude)


def _sort(builder: KernelBuilder, scratch: Buffer, slices: _Slices, most: int) -> int:
    """Item numbers in the order of the items, equal ones as they come; where they begin."""
    extent = slices.extent
    with builder.loop("i", 0, extent) as i:
        builder.store(scratch, i, i)
    passes = max(0, math.ceil(math.log2(most))) if most > 1 else 0
    width = builder.array("width", "int32", 1)
    one, other = (builder.array(name, "int32", 1) for name in ("one", "other"))
    builder.store(width, 0, tirx.const(1, "int32"))
    with builder.loop("pass", 0, passes) as turn:
        source = builder.let("source", tirx.truncmod(turn, 2) * most)
        half = builder.let("half", load(width, 0))
        blocks = tirx.truncdiv(extent + (2 * half - 1), 2 * half)
        with builder.loop("block", 0, builder.let("blocks", blocks)) as block:
            low = builder.let("low", block * (2 * half))
            middle = builder.let("middle", tirx.min(low + half, extent))
            high = builder.let("high", tirx.min(low + 2 * half, extent))
            builder.store(one, 0, low)
            builder.store(other, 0, middle)
            with builder.loop("k", low, high) as k:
                a, b = builder.let("a", load(one, 0)), builder.let("b", load(other, 0))
                left = builder.let("left", load(scratch, source + tirx.min(a, extent - 1)))
                right = builder.let("right", load(scratch, source + tirx.min(b, extent - 1)))
                is_before = slices.less(right, left)
                takes = tirx.And(b < high, tirx.Or(a >= middle, is_before))
                step = builder.let("step", tirx.Cast("int32", takes))
                taken = tirx.Select(step > 0, right, left)
                builder.store(scratch, (most - source) + k, taken)
                builder.store(one, 0, a + (1 - step))
                builder.store(other, 0, b + step)
        builder.store(width, 0, 2 * half)
    return (passes % 2) * most
