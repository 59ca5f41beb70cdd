"""Maximum and average over windows, NHWC, float32 and 8-bit integers.

Channels lie in vector lanes. Within a tile of output columns each input column is combined down
the window's rows once, and then across: ``rows + columns`` operations instead of their product.
"""

from collections.abc import Callable

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import Pool
from edgecomp.plan.sizes import Dimension, has_dynamic, is_dynamic, largest
from edgecomp.plan.values import Array, Order, Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, ramp, splat
from edgecomp.schedules.cpu import windows
from edgecomp.schedules.cpu.bands import depthwise_bands
from edgecomp.schedules.cpu.epilogue import vector_dtype
from edgecomp.schedules.cpu.narrow import (
    Accumulators,
    least_byte_lanes,
    narrow,
    pick,
    piece_order,
)
from edgecomp.schedules.cpu.reach import Reach
from edgecomp.schedules.cpu.windows import GroupRun, Lanes, Place, Segment, Walk, Window
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "pool_nhwc"

#: Wider windows are walked by a loop, taller ones down each column: code size.
_MAXIMUM_UNROLLED = 16
_MAXIMUM_COLUMNS = 8
#: int16 holds the sum of this many bytes.
_MAXIMUM_INT16_COUNT = 128
#: int32 holds the sum of this many.
_MAXIMUM_INT32_COUNT = 1 << 23


def match(operation: Operation, target: Target) -> str:  # noqa: ARG001
    """Claim pools of NHWC images."""
    kind = operation.kind
    if not isinstance(kind, Pool):
        return "not a pool"
    (x,), output = operation.inputs, operation.output
    if x.order is not Order.NHWC or output.order is not Order.NHWC:
        return "not NHWC"
    if x.dtype != output.dtype:
        return f"{x.dtype} to {output.dtype}"
    if x.dtype not in ("float32", "uint8", "int8") and not (
        x.dtype == "int16" and kind.maximum
    ):
        return x.dtype
    if x.dtype != "float32" and not kind.maximum:
        if kind.requantize is None or kind.requantize.multiplier.size != 1:
            return "integer average without one multiplier"
        if kind.window[0] * kind.window[1] > _MAXIMUM_INT32_COUNT:
            return "more elements than an int32 sum holds"
    return window_of(kind).refusal(x, output)


def window_of(kind: Pool) -> Window:
    """The window of a pool."""
    return Window(kind.window, kind.strides, kind.dilations, kind.pads[:2])


def divisors_of(kind: Pool, x: Value, output: Value) -> Array:
    """Elements that each output averages: float32 [OH, OW]."""
    if kind.count_include_pad:
        return np.full(output.shape[2:], kind.window[0] * kind.window[1], np.float32)
    inside = []
    for d in (0, 1):
        first = np.arange(output.shape[2 + d]) * kind.strides[d] - kind.pads[d]
        taps = first[:, None] + np.arange(kind.window[d]) * kind.dilations[d]
        inside.append(((taps >= 0) & (taps < x.shape[2 + d])).sum(axis=1))
    counts = np.outer(inside[0], inside[1])
    return np.asarray(np.maximum(counts, 1), np.float32)


def params_for(target: Target, operation: Operation, accumulator: str) -> Walk:
    """A tile holds a sum per column and one input column.

    Integer averages cover a register of bytes, whose sums take several registers.
    """
    kind, output, dtype = operation.kind, operation.output, operation.output.dtype
    assert isinstance(kind, Pool)
    lanes = target.lanes(np.dtype(dtype).itemsize * 8)
    widening = np.dtype(accumulator).itemsize // np.dtype(dtype).itemsize
    room = (target.core.vector_registers - 4) // widening - 1
    columns = max(1, min(_MAXIMUM_COLUMNS, room, output.shape[3]))
    if kind.window[1] > _MAXIMUM_UNROLLED:
        columns = 1
    channel_bytes = np.dtype(dtype).itemsize * kind.window[0] * window_of(kind).span(columns)
    most = target.core.l1_data_bytes / 2 / channel_bytes
    return Walk(
        lanes=lanes,
        vectors=1,
        blocks=windows.even_blocks(output.shape[1], lanes, most),
        columns=columns,
        least_lanes=least_byte_lanes(target) if widening > 1 else 1,
    )


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is an output row of a channel group."""
    kind, x = operation.kind, operation.inputs[0]
    assert isinstance(kind, Pool)
    emitter = PoolKernel(operation, target, operation)
    items = emitter.emit()
    divisors = [Constant("divisors", emitter.divisors)] if emitter.by_table else []
    return [
        KernelCall(
            kernel=emitter.builder.finish(emitter.name),
            arguments=(x, *divisors, operation.output),
            work_items=items,
        )
    ]


class PoolKernel:
    """Emits one kernel.

    Height and width may differ from run to run; divisors are then counted as it runs.
    """

    def __init__(self, operation: Operation, target: Target, at_largest: Operation) -> None:
        kind = operation.kind
        assert isinstance(kind, Pool)
        self.kind, self.target = kind, target
        self.x, self.output = operation.inputs[0], operation.output
        self.window = window_of(kind)
        self.accumulator = self._accumulator()
        self.walk = params_for(target, at_largest, self.accumulator)
        self.divisors = divisors_of(kind, at_largest.inputs[0], at_largest.output)
        average = self.accumulator == "float32" and not kind.maximum
        differ = average and float(np.ptp(self.divisors)) > 0
        self.counts = average and has_dynamic(self.x.shape) and not kind.count_include_pad
        self.by_table = differ and not self.counts
        self.combine: Callable[[Expr, Expr], Expr] = (
            tirx.max if kind.maximum else lambda a, b: a + b
        )
        self.builder = KernelBuilder(target.core.isa)

    @property
    def name(self) -> str:
        """Of the kernel's kind."""
        name = "maximum" if self.kind.maximum else "average"
        return f"{NAME}_{name}_{self.x.dtype}"

    def _accumulator(self) -> str:
        if self.kind.maximum or self.x.dtype == "float32":
            return self.x.dtype
        count = self.kind.window[0] * self.kind.window[1]
        return "int16" if count <= _MAXIMUM_INT16_COUNT else "int32"

    def emit(self) -> Dimension:
        """Emit the loops; return the number of work items."""
        builder, view = self.builder, self.output.view
        self.x_buffer = builder.pointer("x", self.x.dtype, largest(self.x.view.elements))
        if self.by_table:
            self.table = builder.pointer("divisors", "float32", self.divisors.size)
        self.out_buffer = builder.pointer("out", self.output.dtype, largest(view.elements))
        runs = windows.channel_groups(self.x.shape[1], self.walk)
        rows = view.shape[0] * view.shape[2]
        bands = 1
        if not is_dynamic(rows):
            bands = depthwise_bands(self.x.shape[1], rows, largest(view.shape[3]))
        return windows.walk_groups(builder, runs, rows, self._group, bands)

    def _group(self, run: GroupRun, group: Expr, begin: Expr, end: Expr) -> None:
        builder = self.builder
        channel = builder.let("channel", run.first_channel + group * run.channels)

        def tile(row: Expr, first: Expr, columns: int) -> None:
            place = Place(builder, self.window, self.x.view, self.output.view, row, first)
            divisors = self._divisors(place, first, columns)

            def block(segment: Segment, index: Expr) -> None:
                at = channel + segment.first_channel + index * segment.channels
                for vector in segment.vectors:
                    self._tile(place, at + vector.offset, vector, columns, divisors)

            windows.walk_blocks(builder, run.segments, block)

        windows.walk_tiles(builder, self.output.shape[3], self.walk, begin, end, tile)

    def _divisors(self, place: Place, first: Expr, columns: int) -> list[Expr]:
        """Scalars by which the sums of a tile are divided."""
        if self.counts:
            down = self._inside(place.out_row, 0)
            return [
                self.builder.let(
                    "divisor",
                    tirx.Cast("float32", down * self._inside(first + column, 1)),
                    "float32",
                )
                for column in range(columns)
            ]
        if not self.by_table:
            return [tirx.const(float(self.divisors.flat[0]), "float32")] * columns
        at = place.out_row * self.output.shape[3] + first
        return [
            self.builder.let("divisor", load(self.table, at + column), "float32")
            for column in range(columns)
        ]

    def _inside(self, index: Expr, axis: int) -> Expr:
        """Rows or columns of a window that lie in the image, at least 1."""
        kind, builder = self.kind, self.builder
        extent = builder.size(self.x.shape[2 + axis])
        taps, dilation = kind.window[axis], kind.dilations[axis]
        first = builder.let("first_tap", index * kind.strides[axis] - kind.pads[axis])
        before = tirx.truncdiv(tirx.max(0 - first, 0) + (dilation - 1), dilation)
        within = tirx.truncdiv(tirx.max(extent - first, 0) + (dilation - 1), dilation)
        return builder.let("inside", tirx.max(tirx.min(within, taps) - before, 1))

    def _tile(
        self, place: Place, channel: Expr, vector: Lanes, columns: int, divisors: list[Expr]
    ) -> None:
        sums = [
            self.builder.array("sum", self.accumulator, vector.lanes) for _ in range(columns)
        ]
        if columns == 1 and self.window.size[1] > _MAXIMUM_UNROLLED:
            self._wide(place, channel, vector, sums[0])
        else:
            self._across(place, channel, vector, sums)
        for column, (total, divisor) in enumerate(zip(sums, divisors, strict=True)):
            value = self._finish(load(total, 0, vector.lanes), divisor, vector.lanes)
            named = self.builder.let("result", value, vector_dtype(self.x.dtype, vector.lanes))
            at = place.index("out", channel, column)
            windows.store_valid(self.builder, self.out_buffer, at, named, vector)

    def _across(self, place: Place, channel: Expr, vector: Lanes, sums: list[Buffer]) -> None:
        """Combine input columns into every window that they belong to."""
        started: set[int] = set()
        for position, users in self.window.users(len(sums)).items():
            value = self._down(place, channel, vector, position)
            for column, _ in users:
                total = value
                if column in started:
                    total = self.combine(load(sums[column], 0, vector.lanes), value)
                started.add(column)
                self.builder.store(sums[column], ramp(0, vector.lanes), total)

    def _wide(self, place: Place, channel: Expr, vector: Lanes, total: Buffer) -> None:
        """One window, column by column."""
        lanes, dilation = vector.lanes, self.window.dilations[1]
        first = self._down(place, channel, vector, 0)
        self.builder.store(total, ramp(0, lanes), first)
        with self.builder.loop("tap", 1, self.window.size[1]) as tap:
            value = self._down(place, channel, vector, tap * dilation)
            combined = self.combine(load(total, 0, lanes), value)
            self.builder.store(total, ramp(0, lanes), combined)

    def _down(self, place: Place, channel: Expr, vector: Lanes, position: Expr) -> Expr:
        """One input column of the window, combined over its rows."""
        builder, rows = self.builder, self.window.size[0]
        dtype = vector_dtype(self.accumulator, vector.lanes)
        value = self._element(place, channel, vector, position, 0)
        if rows <= _MAXIMUM_UNROLLED:
            for row in range(1, rows):
                value = self.combine(
                    value, self._element(place, channel, vector, position, row)
                )
            return builder.let("column", value, dtype)
        total = builder.array("column", self.accumulator, vector.lanes)
        builder.store(total, ramp(0, vector.lanes), value)
        with builder.loop("tap_row", 1, rows) as row:
            value = self._element(place, channel, vector, position, row)
            combined = self.combine(load(total, 0, vector.lanes), value)
            builder.store(total, ramp(0, vector.lanes), combined)
        return builder.let("column", load(total, 0, vector.lanes), dtype)

    def _element(
        self, place: Place, channel: Expr, vector: Lanes, position: Expr, row: Expr
    ) -> Expr:
        at = place.x_index(channel, row * self.window.dilations[0], position)
        value = load(self.x_buffer, at, vector.lanes)
        if self.accumulator == self.x.dtype:
            return value
        return value.astype(vector_dtype(self.accumulator, vector.lanes))

    def _finish(self, total: Expr, divisor: Expr, lanes: int) -> Expr:
        kind, builder = self.kind, self.builder
        if kind.maximum:
            return total
        if kind.requantize is None:
            return total / splat(divisor, lanes)
        named = builder.let("total", total, vector_dtype(self.accumulator, lanes))
        count = kind.window[0] * kind.window[1]
        factor = float(kind.requantize.multiplier.flat[0])
        totals, multipliers = [], []
        for indices in piece_order(self.target, lanes):
            part = pick([named], indices).astype(vector_dtype("int32", len(indices)))
            totals.append(part - constant(kind.zero_x * count, "int32", len(indices)))
            multipliers.append(constant(factor, "float32", len(indices)))
        return narrow(
            builder,
            self.target,
            Accumulators(totals, multipliers, Reach(255 * count * factor)),
            kind.requantize,
            self.output.dtype,
        )
