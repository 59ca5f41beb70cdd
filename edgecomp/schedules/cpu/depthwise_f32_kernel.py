"""Emits the kernel of a float32 depthwise convolution: a few columns of a channel block a tile.

Also where several groups lie in one vector (grouped_f32.py).
"""

import dataclasses
import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.sizes import Dimension, has_dynamic, is_dynamic, largest
from edgecomp.plan.values import Array, largest_bytes
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    Kernel,
    KernelBuilder,
    load,
    pointer_to,
    ramp,
)
from edgecomp.schedules.cpu import depthwise, windows
from edgecomp.schedules.cpu.bands import cache_bands, depthwise_bands
from edgecomp.schedules.cpu.depthwise_loop import Loop, loop_for
from edgecomp.schedules.cpu.epilogue import Epilogue, float_epilogue, vector_dtype
from edgecomp.schedules.cpu.windows import GroupRun, Segment, Walk

#: Above this many multiply-adds in a tile the kernel rows stay a loop: code size.
_MAXIMUM_UNROLLED = 512
#: Lanes of 128 bits.
_QUARTER_LANES = 4


@dataclasses.dataclass
class _Block:
    """One channel block in the making.

    Attributes:
        segment: which it belongs to.
        outputs: its output vectors.
        channel: first input channel.
        weights: its bias and taps.
    """

    segment: Segment
    outputs: tuple[depthwise.OutputVector, ...]
    channel: Expr
    weights: "_Weights"


class FloatKernel:
    """Emits one kernel.

    Attributes:
        multiplier: outputs per input channel.
        group_size: input channels that an output is made of.
        x_dtype: of x and of residuals.
        sum_dtype: of sums and packed numbers.
    """

    x_dtype = "float32"
    sum_dtype = "float32"

    def __init__(self, operation: Operation, target: Target, walk: Walk) -> None:
        kind = operation.kind
        assert isinstance(kind, Convolution)
        self.operation, self.target, self.walk = operation, target, walk
        self.window = depthwise.window_of(operation)
        self.x, weight, _, *residual = operation.inputs
        self.output = operation.output
        self.residual = residual[0] if residual else None
        self.multiplier = weight.shape[0] // self.x.shape[1]
        self.group_size = weight.shape[1]
        self.runs = windows.channel_groups(self.x.shape[1], walk)
        self.packing = depthwise.pack(self._table(kind), self.runs, self.multiplier)
        self.epilogue = self._epilogue(kind)
        dynamic = has_dynamic((*self.x.shape, *self.output.shape))
        has_loop = not dynamic and self.group_size == 1
        self.loop = self._loop() if has_loop else None
        if self.loop and self.loop.vectors == 1:
            self.packing = self.packing.with_block_behind()
        self.builder = KernelBuilder(target.core.isa)

    def _table(self, kind: Convolution) -> Array:
        """Bias and taps of each output channel."""
        taps, bias = depthwise.constants_of(self.operation)
        taps = taps.astype(np.float32, copy=False)
        if kind.weight_scale is not None:
            taps = taps * kind.weight_scale.reshape(-1, 1)
        return np.concatenate([bias, taps], axis=1)

    def _epilogue(self, kind: Convolution) -> Epilogue:
        return float_epilogue(kind.activation, self.residual)

    def _loop(self) -> Loop | None:
        return loop_for(self.operation, self.target)

    def _declare_more(self) -> None:
        """Pointers between those of packed numbers and of the residual."""

    def _widen(self, x: Expr, lanes: int) -> Expr:
        """Elements of x as products take them."""
        del lanes
        return x

    def _add(self, total: Expr, x: Expr, tap: Expr, lanes: int) -> Expr:
        """A sum with one more product."""
        del lanes
        return total + x * tap

    def build(self, name: str) -> tuple[Kernel, Dimension]:
        """Return the kernel, whose kind is ``name``, and its work items."""
        builder, view = self.builder, self.output.view
        self.x_buffer = builder.pointer("x", self.x_dtype, largest(self.x.view.elements))
        self.packed_buffer = builder.pointer("packed", self.sum_dtype, self.packing.data.size)
        self._declare_more()
        if self.residual:
            self.residual_buffer = builder.pointer(
                "residual", self.x_dtype, largest(self.residual.view.elements)
            )
        self.out_buffer = builder.pointer(
            "out", self.epilogue.output_dtype, largest(view.elements)
        )
        rows = view.shape[0] * view.shape[2]
        self.bands = 1
        if not is_dynamic(rows):
            fitting = cache_bands(largest_bytes(self.x), self.target.core.l2_bytes)
            width = largest(view.shape[3])
            self.bands = depthwise_bands(self.x.shape[1], rows, width, fitting)
        items = windows.walk_groups(builder, self.runs, rows, self._group, self.bands)
        return builder.finish(name), items

    def _group(self, run: GroupRun, group: Expr, begin: Expr, end: Expr) -> None:
        """Rows [begin, end) of one channel group."""
        builder = self.builder
        channel = builder.let("channel", run.first_channel + group * run.channels)
        base = builder.let("base", self.packing.group_index(run, group))
        resident = None
        if run.single_block and not self._has_loop(run.segments[0]):
            resident = self._block(run, run.segments[0], 0, channel, base)
            resident.weights.load_all()

        def tile(row: Expr, first: Expr, columns: int, rows: int) -> None:
            place = windows.Place(
                builder, self.window, self.x.view, self.output.view, row, first
            )
            if self.residual:
                place.add("residual", self.residual.view)
            if resident:
                self._tile(resident, place, columns)
                return
            for segment in run.segments:
                if self._has_loop(segment):
                    block = self._block(run, segment, 0, channel, base)
                    self._all_blocks(block, place, (rows, columns, segment.blocks))
                    continue
                windows.walk_blocks(
                    builder,
                    (segment,),
                    lambda segment, block: self._tile(
                        self._block(run, segment, block, channel, base), place, columns
                    ),
                )

        rows = 1
        if self.loop and all(map(self._has_loop, run.segments)):
            rows = self.loop.rows
        rest = begin
        if rows > 1:
            count = builder.let("tiles", tirx.truncdiv(end - begin, rows))
            rest = builder.let("rest", begin + count * rows)

            def tall(number: Expr, first: Expr, columns: int) -> None:
                tile(begin + number * rows, first, columns, rows)

            windows.walk_tiles(builder, self.output.shape[3], self.walk, 0, count, tall)

        def flat(row: Expr, first: Expr, columns: int) -> None:
            tile(row, first, columns, 1)

        windows.walk_tiles(builder, self.output.shape[3], self.walk, rest, end, flat)

    def _block(
        self, run: GroupRun, segment: Segment, block: Expr, channel: Expr, base: Expr
    ) -> _Block:
        outputs = depthwise.output_vectors(segment, self.multiplier)
        first = channel + segment.first_channel + block * segment.channels
        start = base + self.packing.block_offset(run, segment, block)
        return _Block(segment, outputs, first, _Weights(self, outputs, start))

    def _has_loop(self, segment: Segment) -> bool:
        """Whether all blocks of a segment have the loop."""
        return (
            self.loop is not None
            and self.walk.vectors == self.loop.vectors
            and self.walk.columns <= self.loop.columns
            and segment.channels == self.loop.vectors * self.walk.lanes
        )

    def _all_blocks(
        self, block: _Block, place: windows.Place, size: tuple[int, int, int]
    ) -> None:
        """The loop over the blocks of a segment, of which ``block`` is the first."""
        assert self.loop is not None
        pointers = (
            pointer_to(self.x_buffer, place.x_index(block.channel, 0, 0)),
            pointer_to(self.packed_buffer, block.weights.start),
            pointer_to(self.out_buffer, place.index("out", block.channel, 0)),
        )
        self.loop.call(self.builder, self.operation, pointers, size)

    def _tile(self, block: _Block, place: windows.Place, columns: int) -> None:
        """A few columns of a block: accumulators start at the bias."""
        builder = self.builder
        sums: list[list[Buffer]] = [[] for _ in range(columns)]
        for index, vector in enumerate(block.outputs):
            lanes = vector.place.lanes
            bias = builder.let(
                "bias", block.weights.bias(index), vector_dtype(self.sum_dtype, lanes)
            )
            for column in sums:
                column.append(builder.array("sum", self.sum_dtype, lanes))
                builder.store(column[index], ramp(0, lanes), bias)
        products = math.prod(self.window.size) * self.group_size
        if products * columns * len(block.outputs) <= _MAXIMUM_UNROLLED:
            for tap_row in range(self.window.size[0]):
                self._kernel_row(block, place, sums, tap_row)
        else:
            with builder.loop("tap_row", 0, self.window.size[0]) as tap_row:
                self._kernel_row(block, place, sums, tap_row)
        for position in range(columns):
            for index, vector in enumerate(block.outputs):
                value = load(sums[position][index], 0, vector.place.lanes)
                self._finish(value, place, block, position, vector)

    def _kernel_row(
        self, block: _Block, place: windows.Place, sums: list[list[Buffer]], tap_row: Expr
    ) -> None:
        """Add the taps of one kernel row to a tile."""
        builder = self.builder
        taps = block.weights.row(tap_row)
        for position, users in self.window.users(len(sums)).items():
            at = place.x_index(block.channel, tap_row * self.window.dilations[0], position)
            values = [
                builder.let(
                    "x",
                    self._widen(
                        load(self.x_buffer, at + vector.offset, vector.lanes), vector.lanes
                    ),
                    vector_dtype(self.sum_dtype, vector.lanes),
                )
                for vector in block.segment.vectors
            ]
            for index, vector in enumerate(block.outputs):
                lanes = vector.place.lanes
                value = depthwise.spread(
                    values[vector.source], lanes, vector.phase, self.multiplier
                )
                for number, met in enumerate(self._exchanged(value, lanes)):
                    for column, tap in users:
                        weight = taps[tap * self.group_size + number][index]
                        total = load(sums[column][index], 0, lanes)
                        total = self._add(total, met, weight, lanes)
                        builder.store(sums[column][index], ramp(0, lanes), total)

    def _exchanged(self, value: Expr, lanes: int) -> list[Expr]:
        """A vector in all orders in which groups meet their outputs.

        Elements change places in their quarters of a vector, or quarters do: each takes one
        instruction that needs no register for the order.
        """
        found = [value]
        for number in range(1, self.group_size):
            quarters = number & ~(_QUARTER_LANES - 1)
            within = number - quarters
            source = found[quarters] if within else value
            changed = depthwise.exchanged(source, lanes, within or quarters)
            dtype = vector_dtype("float32", lanes)
            found.append(self.builder.let("exchanged", changed, dtype))
        return found

    def _finish(
        self,
        value: Expr,
        place: windows.Place,
        block: _Block,
        column: int,
        vector: depthwise.OutputVector,
    ) -> None:
        builder, lanes = self.builder, vector.place.lanes
        channel = block.channel * self.multiplier + vector.place.offset
        residual = None
        if self.residual:
            at = place.index("residual", channel, column)
            residual = load(self.residual_buffer, at, lanes)
        factors = self._factors(channel, lanes)
        result = self.epilogue.apply(builder, self.target, value, lanes, factors, residual)
        dtype = vector_dtype(self.epilogue.output_dtype, lanes)
        result = builder.let("result", result, dtype)
        at = place.index("out", channel, column)
        windows.store_valid(builder, self.out_buffer, at, result, vector.place)

    def _factors(self, channel: Expr, lanes: int) -> Expr | None:
        """Multipliers of output channels from one on."""
        del channel, lanes
        return None


class _Weights:
    """Bias and taps of one channel block."""

    def __init__(
        self, emitter: FloatKernel, outputs: tuple[depthwise.OutputVector, ...], start: Expr
    ) -> None:
        self._emitter, self._outputs, self._start = emitter, outputs, start
        self._lanes = [vector.place.lanes for vector in outputs]
        self._resident: dict[tuple[int, int], Expr] = {}

    @property
    def start(self) -> Expr:
        """Index of the first element."""
        return self._start

    def bias(self, index: int) -> Expr:
        """Bias of output vector ``index``."""
        return self._load(0, index)

    def load_all(self) -> None:
        """Name every tap once, so that it stays in a register or on the stack."""
        self._start = self._emitter.builder.let("weights", self._start)
        for tap in range(math.prod(self._emitter.window.size) * self._emitter.group_size):
            for index in range(len(self._outputs)):
                self._resident[tap, index] = self._named(tap, index)

    def row(self, tap_row: Expr) -> list[list[Expr]]:
        """Taps of one kernel row: [column, weights of each][output vector]."""
        columns = self._emitter.window.size[1] * self._emitter.group_size
        resident = self._resident if isinstance(tap_row, int) else {}

        def get(tap: Expr, index: int) -> Expr:
            return resident[tap, index] if resident else self._named(tap, index)

        return [
            [get(tap_row * columns + column, index) for index in range(len(self._outputs))]
            for column in range(columns)
        ]

    def _named(self, tap: Expr, index: int) -> Expr:
        dtype = vector_dtype(self._emitter.sum_dtype, self._lanes[index])
        return self._emitter.builder.let("tap", self._load(1 + tap, index), dtype)

    def _load(self, entry: Expr, index: int) -> Expr:
        offset = entry * sum(self._lanes) + sum(self._lanes[:index])
        return load(self._emitter.packed_buffer, self._start + offset, self._lanes[index])
