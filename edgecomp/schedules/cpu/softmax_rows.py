"""Softmax and its logarithm along a contiguous dimension, of some rows at a time.

First the maxima of all of them, then the exponentials and their sums, then the products with the
sums' reciprocals: each of these ends in a chain of dependent instructions, and those of several
rows run side by side. Where somebody else divides by the sums, exponentials stay as they are. Rows
of dynamic length keep their exponentials in ``scratch``, where a vector may end behind its row: the
next row's come after it.
"""

import dataclasses

from edgecomp.plan.sizes import Dimension, is_dynamic, largest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, ramp, splat
from edgecomp.schedules.cpu import math
from edgecomp.schedules.cpu.dynamic.row import DynamicRow
from edgecomp.schedules.cpu.iteration import Space
from edgecomp.schedules.cpu.move import Convert
from edgecomp.schedules.cpu.nest import advance, unravel
from edgecomp.schedules.cpu.quantize import LANES
from edgecomp.schedules.cpu.rows import Row
from edgecomp.schedules.cpu.vectors import named

#: Rows at a time, and bytes of exponentials that may lie in the level-1 cache meanwhile.
_MOST_ROWS = 8
_MOST_BYTES = 16384
_MINUS_INFINITY = float("-inf")


def rows_of(size: int) -> int:
    """How many rows of so many elements are computed at a time."""
    return max(1, min(_MOST_ROWS, _MOST_BYTES // (4 * size)))


def scratch_elements(size: Dimension, lanes: int) -> int:
    """float32 numbers that the exponentials of rows take which are computed at a time.

    Args:
        size: elements of a row; where that is dynamic a vector may end behind the last.
        lanes: of a vector of float32.
    """
    most = largest(size)
    behind = max(lanes, LANES) if is_dynamic(size) else 0
    return rows_of(most) * most + behind


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftmaxRows:
    """Emits the rows of a kernel's range.

    Attributes:
        builder: receives the statements.
        space: of the rows: operand 0 is the output, operand 1 the input, operand 2 the sums.
        size: elements of a row; may be dynamic.
        lanes: of a vector of float32.
        x, y: buffers.
        logarithm: whether of the softmax.
        scratch: ``scratch_elements`` float32 for exponentials; None where y holds them, which only
            rows of fixed length do.
        convert: what becomes of results for y, where they go through ``scratch``.
        sums: buffer for the sums of exponentials, which then are not divided by them.
    """

    builder: KernelBuilder
    space: Space
    size: Dimension
    lanes: int
    x: Buffer
    y: Buffer
    logarithm: bool = False
    scratch: Buffer | None = None
    convert: Convert | None = None
    sums: Buffer | None = None

    @property
    def _row(self) -> Row | DynamicRow:
        return self._row_of(self.lanes)

    def _row_of(self, lanes: int) -> Row | DynamicRow:
        """A row in vectors of so many lanes."""
        if is_dynamic(self.size):
            return DynamicRow(self.builder, self.builder.size(self.size), lanes)
        return Row.of(self.builder, self.size, lanes)

    def emit(self) -> Dimension:
        """Emit them; return the number of work items, which are rows."""
        builder, most = self.builder, rows_of(largest(self.size))
        peaks = builder.array("peaks", "float32", most)
        totals = builder.array("totals", "float32", most)
        names = ("to", "from", "sum")[: len(self.space.offsets)]
        places = [builder.array(name, "int64", most) for name in names]
        rows = builder.let("rows", builder.hi - builder.lo)
        with builder.loop("block", 0, tirx.truncdiv(rows + (most - 1), most)) as block:
            first = builder.let("first", builder.lo + block * most)
            count = builder.let("count", tirx.min(builder.hi - first, most))
            with builder.loop("row", 0, count) as row:
                for place, at in zip(places, self._places(first + row), strict=True):
                    builder.store(place, row, tirx.Cast("int64", at))
                builder.store(peaks, row, self._peak(load(places[1], row)))
            with builder.loop("row", 0, count) as row:
                builder.store(totals, row, self._total(places, row, load(peaks, row)))
            with builder.loop("row", 0, count) as row:
                self._finish(places, row, load(peaks, row), load(totals, row))
        return self.space.elements

    def _places(self, row: Expr) -> list[Expr]:
        """Index of a row's first element in y, in x and in the sums."""
        builder, sizes = self.builder, self.space.sizes
        indices = unravel(builder, builder.let("item", row), sizes)
        offsets = [builder.size(offset) for offset in self.space.offsets]
        return advance(builder, self.space, range(len(sizes)), indices, offsets)

    def _peak(self, base: Expr) -> Expr:
        """The greatest element."""

        def larger(a: Expr, b: Expr) -> Expr:
            return tirx.Max(a, b)

        base = self.builder.let("base", base, "int64")
        return self._row.fold(
            _MINUS_INFINITY, larger, lambda at: load(self.x, base + at, self._row.lanes)
        )

    def _total(self, places: list[Buffer], row: Expr, peak: Expr) -> Expr:
        """Keep the exponentials; return their sum."""
        builder, lanes = self.builder, self._row.lanes
        to = builder.let("to", load(places[0], row), "int64")
        base = builder.let("base", load(places[1], row), "int64")
        peaks = named(builder, "peak", splat(peak, lanes))

        def exponential(at: Expr) -> Expr:
            value = math.exp(builder, load(self.x, base + at, lanes) - peaks)
            value = named(builder, "exponential", value)
            if self.scratch is not None:
                kept = row * builder.size(self.size) + at
                builder.store(self.scratch, ramp(kept, lanes), value)
            elif not self.logarithm:
                builder.store(self.y, ramp(to + at, lanes), value)
            return value

        return self._row.fold(0.0, lambda a, b: a + b, exponential)

    def _finish(self, places: list[Buffer], row: Expr, peak: Expr, total: Expr) -> None:
        """What becomes of a row."""
        builder = self.builder
        to = builder.let("to", load(places[0], row), "int64")
        if self.sums is not None:
            builder.store(self.sums, load(places[2], row), total)
            self._convert(row, to)
            return
        if self.logarithm:
            base = builder.let("base", load(places[1], row), "int64")
            self._put_logarithms(to, base, peak, total)
        elif self.scratch is not None:
            self._convert(row, to, constant(1.0, "float32") / total)
        else:
            self._scale_in_place(to, constant(1.0, "float32") / total)

    def _put_logarithms(self, to: Expr, base: Expr, peak: Expr, total: Expr) -> None:
        builder, lanes = self.builder, self._row.lanes
        peaks = named(builder, "peak", splat(peak, lanes))
        logarithm = named(builder, "logarithm", splat(math.log(builder, total), lanes))
        self._row.map(
            self.y, to, lambda at: (load(self.x, base + at, lanes) - peaks) - logarithm
        )

    def _convert(self, row: Expr, to: Expr, factor: Expr | None = None) -> None:
        """A row's exponentials, times a number where one is given, converted."""
        builder, wide = self.builder, self._row_of(LANES)
        factors = None
        if factor is not None:
            factors = named(builder, "factor", splat(factor, wide.lanes))

        def result(at: Expr) -> Expr:
            assert self.scratch is not None
            assert self.convert is not None
            kept = row * builder.size(self.size) + at
            value = load(self.scratch, kept, wide.lanes)
            if factors is not None:
                value = value * factors
            return self.convert(named(builder, "scaled", value))

        wide.map(self.y, to, result)

    def _scale_in_place(self, to: Expr, factor: Expr) -> None:
        """Multiply a row by a number.

        The overlapping last vector is read before the others are written.
        """
        builder, lanes, y = self.builder, self._row.lanes, self.y
        factors = named(builder, "factor", splat(factor, lanes))
        last, rest = None, self.size % lanes
        at_last = to + (self.size - lanes)
        if rest:
            last = builder.array("last", "float32", lanes)
            builder.store(last, ramp(0, lanes), load(y, at_last, lanes) * factors)
        Row(builder, self.size - rest, lanes).each(
            lambda at: builder.store(
                y, ramp(to + at, lanes), load(y, to + at, lanes) * factors
            )
        )
        if last is not None:
            builder.store(y, ramp(at_last, lanes), load(last, 0, lanes))
