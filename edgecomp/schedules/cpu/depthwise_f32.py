"""float32 depthwise convolution, NHWC, with one or more outputs per input channel.

Channels lie in vector lanes. A tile is a few neighbouring output columns of one channel block:
each input vector is loaded once per kernel row and feeds every tap that meets it.
"""

import dataclasses
import math

import numpy as np
from tvm import tirx

from edgecomp.device.target import Target
from edgecomp.plan.operations import Activation, Convolution, Operation
from edgecomp.plan.values import Value
from edgecomp.schedules.builder import Buffer, Expr, Kernel, KernelBuilder, constant, load, ramp
from edgecomp.schedules.cpu import depthwise, windows
from edgecomp.schedules.cpu.windows import GroupRun, Segment, Walk, vector_dtype
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "depthwise_f32_nhwc"

#: Above this many multiply-adds in a tile the kernel rows stay a loop: code size.
_MAXIMUM_UNROLLED = 512


def match(operation: Operation, target: Target) -> str:  # noqa: ARG001
    """Claim float32 convolutions whose groups are the input channels."""
    reason = depthwise.refusal(operation)
    if reason:
        return reason
    x, weight = operation.inputs[:2]
    if x.dtype != "float32" or weight.dtype != "float32" or operation.kind.finish is not None:
        return "not float32"
    return ""


def params_for(target: Target, operation: Operation) -> Walk:
    """Choose the tile from registers and caches.

    A tile holds one accumulator per column and output vector, the weights of the kernel (or of
    one kernel row), and a loaded input vector.
    """
    weight = operation.inputs[1]
    kernel, output = weight.shape[2:], operation.output
    multiplier = weight.shape[0] // operation.inputs[0].shape[1]
    registers = target.core.vector_registers
    resident = math.prod(kernel) * multiplier + 4 * multiplier + 1 <= registers
    held = (math.prod(kernel) if resident else kernel[1]) * multiplier
    columns = max(2, min(8, (registers - held - 1) // multiplier))
    columns = min(columns, output.shape[3])
    return Walk(lanes=target.lanes(32), vectors=1, blocks=16, columns=columns, strips=True)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is an output row of a channel group."""
    return emit_with(operation, params_for(target, operation))


def emit_with(operation: Operation, walk: Walk) -> list[KernelCall]:
    """``emit`` with given parameters."""
    x, weight, _, *residual = operation.inputs
    emitter = _Emitter(operation, walk)
    kernel, items = emitter.build()
    packed = Constant(f"{weight.name}.packed", emitter.packing.data)
    return [
        KernelCall(
            kernel=kernel,
            arguments=(x, packed, *residual, operation.output),
            work_items=items,
            multiply_adds=operation.output.elements * math.prod(weight.shape[2:]),
        )
    ]


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


class _Emitter:
    """Emits one kernel."""

    def __init__(self, operation: Operation, walk: Walk) -> None:
        self.kind: Convolution = operation.kind
        self.walk = walk
        self.x, weight, bias, *residual = operation.inputs
        self.output = operation.output
        self.residual = residual[0] if residual else None
        self.taps = (weight.shape[2], weight.shape[3])
        self.multiplier = weight.shape[0] // self.x.shape[1]
        self.runs = windows.channel_groups(self.x.shape[1], walk)
        rows = (bias.constant.reshape(-1, 1), weight.constant.reshape(weight.shape[0], -1))
        self.packing = depthwise.pack(np.concatenate(rows, axis=1), self.runs, self.multiplier)
        self.builder = KernelBuilder()

    def build(self) -> tuple[Kernel, int]:
        """Return the kernel and its work items."""
        builder, view = self.builder, self.output.view
        self.x_buffer = builder.pointer("x", "float32", self.x.view.elements)
        self.packed_buffer = builder.pointer("packed", "float32", self.packing.data.size)
        if self.residual:
            self.residual_buffer = builder.pointer(
                "residual", "float32", self.residual.view.elements
            )
        self.out_buffer = builder.pointer("out", "float32", view.elements)
        items = windows.walk_groups(builder, self.runs, view.shape[0] * view.shape[2], self._group)
        return builder.finish(NAME), items

    def _group(self, run: GroupRun, group: Expr, begin: Expr, end: Expr) -> None:
        """Rows [begin, end) of one channel group."""
        builder = self.builder
        channel = builder.let("channel", run.first_channel + group * run.channels)
        base = builder.let("base", self.packing.index(self.runs, run, group))
        resident = None
        if run.single_block:
            resident = self._block(run, run.segments[0], 0, channel, base)
            resident.weights.load_all()

        def tile(row: Expr, first: Expr, columns: int) -> None:
            place = _Place(self, row, first)
            if resident:
                self._tile(resident, place, columns)
                return
            windows.walk_blocks(
                builder,
                run.segments,
                lambda segment, block: self._tile(
                    self._block(run, segment, block, channel, base), place, columns
                ),
            )

        windows.walk_tiles(builder, self.output.shape[3], self.walk, begin, end, tile)

    def _block(
        self, run: GroupRun, segment: Segment, block: Expr, channel: Expr, base: Expr
    ) -> _Block:
        outputs = depthwise.output_vectors(segment, self.multiplier)
        first = channel + segment.first_channel + block * segment.channels
        start = base + self.packing.segment_offset(run, segment)
        start = start + block * self.packing.block_elements(segment)
        return _Block(segment, outputs, first, _Weights(self, outputs, start))

    def _tile(self, block: _Block, place: "_Place", columns: int) -> None:
        """A few columns of a block: accumulators start at the bias."""
        builder = self.builder
        sums: list[list[Buffer]] = [[] for _ in range(columns)]
        for index, vector in enumerate(block.outputs):
            lanes = vector.place.lanes
            bias = builder.let("bias", block.weights.bias(index), vector_dtype("float32", lanes))
            for column in sums:
                column.append(builder.array("sum", "float32", lanes))
                builder.store(column[index], ramp(0, lanes), bias)
        if self.taps[0] * self.taps[1] * columns * len(block.outputs) <= _MAXIMUM_UNROLLED:
            for tap_row in range(self.taps[0]):
                self._kernel_row(block, place, sums, tap_row)
        else:
            with builder.loop("tap_row", 0, self.taps[0]) as tap_row:
                self._kernel_row(block, place, sums, tap_row)
        for column in range(columns):
            for index, vector in enumerate(block.outputs):
                value = load(sums[column][index], 0, vector.place.lanes)
                self._finish(value, place, block, column, vector)

    def _kernel_row(
        self, block: _Block, place: "_Place", sums: list[list[Buffer]], tap_row: Expr
    ) -> None:
        """Add the taps of one kernel row to a tile."""
        builder, kind = self.builder, self.kind
        taps = block.weights.row(tap_row)
        users: dict[int, list[tuple[int, int]]] = {}
        for column in range(len(sums)):
            for tap in range(self.taps[1]):
                position = column * kind.strides[1] + tap * kind.dilations[1]
                users.setdefault(position, []).append((column, tap))
        for position in sorted(users):
            at = place.x_index(block.channel, position, tap_row)
            values = [
                builder.let(
                    "x",
                    load(self.x_buffer, at + vector.offset, vector.lanes),
                    vector_dtype("float32", vector.lanes),
                )
                for vector in block.segment.vectors
            ]
            for index, vector in enumerate(block.outputs):
                lanes = vector.place.lanes
                value = depthwise.spread(
                    values[vector.source], lanes, vector.phase, self.multiplier
                )
                for column, tap in users[position]:
                    total = load(sums[column][index], 0, lanes) + value * taps[tap][index]
                    builder.store(sums[column][index], ramp(0, lanes), total)

    def _finish(
        self,
        value: Expr,
        place: "_Place",
        block: _Block,
        column: int,
        vector: depthwise.OutputVector,
    ) -> None:
        value = _activate(value, self.kind.activation, vector.place.lanes)
        at = place.out_index(block.channel * self.multiplier, column) + vector.place.offset
        windows.store_valid(self.builder, self.out_buffer, at, value, vector.place)


def _activate(value, activation: Activation | None, lanes):
    if activation is None:
        return value
    if activation.name == "relu":
        return tirx.max(value, constant(0.0, "float32", lanes))
    if activation.name == "clip":
        return tirx.min(
            tirx.max(value, constant(activation.alpha, "float32", lanes)),
            constant(activation.beta, "float32", lanes),
        )
    raise NotImplementedError


class _Weights:
    """Bias and taps of one channel block."""

    def __init__(
        self, emitter: _Emitter, outputs: tuple[depthwise.OutputVector, ...], start: Expr
    ) -> None:
        self._emitter, self._outputs, self._start = emitter, outputs, start
        self._lanes = [vector.place.lanes for vector in outputs]
        self._resident: dict[tuple[int, int], Expr] = {}

    def bias(self, index: int) -> Expr:
        """Bias of output vector ``index``."""
        return self._load(0, index)

    def load_all(self) -> None:
        """Name every tap once, so that it stays in a register or on the stack."""
        self._start = self._emitter.builder.let("weights", self._start)
        for tap in range(math.prod(self._emitter.taps)):
            for index in range(len(self._outputs)):
                self._resident[tap, index] = self._named(tap, index)

    def row(self, tap_row: Expr) -> list[list[Expr]]:
        """Taps of one kernel row: [column][output vector]."""
        columns = self._emitter.taps[1]
        get = self._named
        if self._resident and isinstance(tap_row, int):
            get = lambda tap, index: self._resident[tap, index]  # noqa: E731
        return [
            [get(tap_row * columns + column, index) for index in range(len(self._outputs))]
            for column in range(columns)
        ]

    def _named(self, tap: Expr, index: int) -> Expr:
        dtype = vector_dtype("float32", self._lanes[index])
        return self._emitter.builder.let("tap", self._load(1 + tap, index), dtype)

    def _load(self, entry: Expr, index: int) -> Expr:
        offset = entry * sum(self._lanes) + sum(self._lanes[:index])
        return load(self._emitter.packed_buffer, self._start + offset, self._lanes[index])


class _Place:
    """Addresses of one tile."""

    def __init__(self, emitter: _Emitter, row: Expr, first: Expr) -> None:
        builder, kind = emitter.builder, emitter.kind
        self._kind = kind
        view, self._x_view = emitter.output.view, emitter.x.view
        self._out_stride = view.strides[3]
        image, out_row = windows.image_and_row(view, row)
        top = out_row * kind.strides[0] - kind.pads[0]
        left = first * kind.strides[1] - kind.pads[1]
        self._x = builder.let("x_at", windows.pixel_index(self._x_view, image, top, left))
        self._out = builder.let("out_at", windows.pixel_index(view, image, out_row, first))

    def x_index(self, channel: Expr, position: int, tap_row: Expr) -> Expr:
        """Input element ``position`` columns right of the tile's first one."""
        strides = self._x_view.strides
        return (
            self._x
            + channel
            + (tap_row * (self._kind.dilations[0] * strides[2]) + position * strides[3])
        )

    def out_index(self, channel: Expr, column: int) -> Expr:
        """Output element."""
        return self._out + channel + column * self._out_stride
