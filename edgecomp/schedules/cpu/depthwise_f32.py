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
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "depthwise_f32_nhwc"

#: Above this many multiply-adds in a tile the kernel rows stay a loop: code size.
_MAXIMUM_UNROLLED = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class Params:
    """Tile of the kernel.

    Attributes:
        lanes: of one vector register.
        vectors: input vectors in a channel block.
        columns: output columns in a tile.
        channels_outer: all rows of a channel block before the next block.
        weights_resident: weights are loaded once per block rather than once per tile.
    """

    lanes: int
    vectors: int
    columns: int
    channels_outer: bool
    weights_resident: bool


def match(operation: Operation, target: Target) -> str:  # noqa: ARG001
    """Claim float32 convolutions whose groups are the input channels."""
    reason = depthwise.refusal(operation)
    if reason:
        return reason
    x, weight = operation.inputs[:2]
    if x.dtype != "float32" or weight.dtype != "float32" or operation.kind.finish is not None:
        return "not float32"
    return ""


def params_for(target: Target, kernel: tuple[int, int], output: Value, multiplier: int) -> Params:
    """Choose the tile from registers and caches.

    A tile holds one accumulator per column and output vector, the weights of the kernel (or of
    one kernel row), and a loaded input vector.
    """
    registers = target.core.vector_registers
    resident = math.prod(kernel) * multiplier + 4 * multiplier + 1 <= registers
    held = (math.prod(kernel) if resident else kernel[1]) * multiplier
    columns = max(2, min(8, (registers - held - 1) // multiplier))
    columns = min(columns, output.shape[3])
    return Params(
        lanes=target.lanes(32),
        vectors=1,
        columns=columns,
        channels_outer=True,
        weights_resident=resident,
    )


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is a row of a channel block."""
    weight = operation.inputs[1]
    multiplier = weight.shape[0] // operation.inputs[0].shape[1]
    params = params_for(target, weight.shape[2:], operation.output, multiplier)
    return emit_with(operation, params)


def emit_with(operation: Operation, params: Params) -> list[KernelCall]:
    """``emit`` with given parameters."""
    x, weight, _, *residual = operation.inputs
    emitter = _Emitter(operation, params)
    kernel, items = emitter.build()
    packed = Constant(f"{weight.name}.packed", emitter.packed)
    return [
        KernelCall(
            kernel=kernel,
            arguments=(x, packed, *residual, operation.output),
            work_items=items,
            multiply_adds=operation.output.elements * math.prod(weight.shape[2:]),
        )
    ]


class _Emitter:
    """Emits one kernel."""

    def __init__(self, operation: Operation, params: Params) -> None:
        self.kind = operation.kind
        self.params = params
        self.x, weight, bias, *residual = operation.inputs
        self.output = operation.output
        self.residual = residual[0] if residual else None
        self.taps = (weight.shape[2], weight.shape[3])
        self.multiplier = weight.shape[0] // self.x.shape[1]
        self.segments = windows.channel_segments(self.x.shape[1], params.lanes, params.vectors)
        self.packed, self.bases = self._pack(weight, bias)
        self.builder = KernelBuilder()

    def _pack(self, weight: Value, bias: Value) -> tuple[np.ndarray, dict[int, int]]:
        """Bias and taps per block; where each segment starts."""
        channels = weight.shape[0]
        table = np.concatenate(
            [bias.constant.reshape(channels, 1), weight.constant.reshape(channels, -1)], axis=1
        )
        parts, bases, size = [], {}, 0
        for segment in self.segments:
            parts.append(depthwise.pack_channels(table, segment, self.multiplier).reshape(-1))
            bases[segment.first_block] = size
            size += parts[-1].size
        return np.concatenate(parts).astype(np.float32), bases

    def build(self) -> tuple[Kernel, int]:
        """Return the kernel and its work items."""
        builder, view = self.builder, self.output.view
        self.x_buffer = builder.pointer("x", "float32", self.x.view.elements)
        self.packed_buffer = builder.pointer("packed", "float32", self.packed.size)
        if self.residual:
            self.residual_buffer = builder.pointer(
                "residual", "float32", self.residual.view.elements
            )
        self.out_buffer = builder.pointer("out", "float32", view.elements)
        rows = view.shape[0] * view.shape[2]
        items = windows.walk_blocks(
            builder, self.segments, rows, self._block, channels_outer=self.params.channels_outer
        )
        return builder.finish(NAME), items

    def _block(self, segment: windows.Segment, block: Expr, begin: Expr, end: Expr) -> None:
        """Rows [begin, end) of one channel block."""
        builder = self.builder
        outputs = depthwise.output_vectors(segment, self.multiplier)
        width = sum(vector.place.lanes for vector in outputs)
        stride = width * (1 + math.prod(self.taps))
        base = builder.let("base", self.bases[segment.first_block] + block * stride)
        channel = builder.let("channel", segment.first_channel + block * segment.channels)
        weights = _Weights(self, outputs, base, width)
        if self.params.weights_resident:
            weights.load_all()
        tiles = windows.width_tiles(self.output.shape[3], self.params.columns)
        with builder.loop("row", begin, end) as row:
            place = _Row(self, row, channel)
            windows.walk_tiles(
                builder,
                tiles,
                lambda columns, first: self._tile(
                    segment, outputs, weights, place, columns, first
                ),
            )

    def _tile(self, segment, outputs, weights, place, columns, first) -> None:
        builder = self.builder
        accumulators = [
            [
                builder.array(f"acc{column}_{index}", "float32", vector.place.lanes)
                for index, vector in enumerate(outputs)
            ]
            for column in range(columns)
        ]
        for index, vector in enumerate(outputs):
            bias = builder.let(
                "bias", weights.bias(index), _vector("float32", vector.place.lanes)
            )
            for column in range(columns):
                builder.store(accumulators[column][index], ramp(0, vector.place.lanes), bias)
        unrolled = math.prod(self.taps) * columns * len(outputs) <= _MAXIMUM_UNROLLED
        if unrolled or self.taps[0] == 1:
            for tap_row in range(self.taps[0]):
                self._kernel_row(segment, outputs, weights, place, accumulators, first, tap_row)
        else:
            with builder.loop("tap_row", 0, self.taps[0]) as tap_row:
                self._kernel_row(segment, outputs, weights, place, accumulators, first, tap_row)
        for column in range(columns):
            for index, vector in enumerate(outputs):
                lanes = vector.place.lanes
                self._finish(
                    load(accumulators[column][index], 0, lanes),
                    place,
                    first + column,
                    vector,
                )

    def _kernel_row(
        self, segment, outputs, weights, place, accumulators, first, tap_row
    ) -> None:
        """Add the taps of one kernel row to a tile."""
        builder, kind = self.builder, self.kind
        columns = len(accumulators)
        taps = weights.row(tap_row)
        span = (columns - 1) * kind.strides[1] + (self.taps[1] - 1) * kind.dilations[1] + 1
        for position in range(span):
            users = [
                (column, tap)
                for column in range(columns)
                for tap in range(self.taps[1])
                if column * kind.strides[1] + tap * kind.dilations[1] == position
            ]
            if not users:
                continue
            values = [
                builder.let(
                    "x", place.load_x(first, position, tap_row, v), _vector("float32", v.lanes)
                )
                for v in segment.vectors
            ]
            for index, vector in enumerate(outputs):
                lanes = vector.place.lanes
                value = depthwise.spread(
                    values[vector.source], lanes, vector.phase, self.multiplier
                )
                for column, tap in users:
                    accumulator = accumulators[column][index]
                    builder.store(
                        accumulator,
                        ramp(0, lanes),
                        load(accumulator, 0, lanes) + value * taps[tap][index],
                    )

    def _finish(self, value: Expr, place: "_Row", column: Expr, vector) -> None:
        value = _activate(value, self.kind.activation, vector.place.lanes)
        windows.store_valid(
            self.builder,
            self.out_buffer,
            place.out + column * self.output.view.strides[3] + vector.place.offset,
            value,
            vector.place,
        )


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

    def __init__(self, emitter: _Emitter, outputs, base: Expr, width: int) -> None:
        self._emitter, self._outputs, self._base, self._width = emitter, outputs, base, width
        starts = np.cumsum([0, *(vector.place.lanes for vector in outputs)])
        self._starts = [int(start) for start in starts[:-1]]
        self._resident: dict[tuple[int, int], Expr] = {}

    def bias(self, index: int) -> Expr:
        """Bias of output vector ``index``."""
        return self._load(0, index)

    def load_all(self) -> None:
        """Name every tap, so that the compiler keeps it in a register or on the stack."""
        rows, columns = self._emitter.taps
        for tap in range(rows * columns):
            for index in range(len(self._outputs)):
                self._resident[tap, index] = self._named(1 + tap, index)

    def row(self, tap_row: Expr) -> list[list[Expr]]:
        """Taps of one kernel row: [column][output vector]."""
        columns = self._emitter.taps[1]
        if self._resident and isinstance(tap_row, int):
            return [
                [self._resident[tap_row * columns + c, i] for i in range(len(self._outputs))]
                for c in range(columns)
            ]
        return [
            [self._named(1 + tap_row * columns + c, i) for i in range(len(self._outputs))]
            for c in range(columns)
        ]

    def _named(self, entry: Expr, index: int) -> Expr:
        lanes = self._outputs[index].place.lanes
        return self._emitter.builder.let(
            "tap", self._load(entry, index), _vector("float32", lanes)
        )

    def _load(self, entry: Expr, index: int) -> Expr:
        offset = self._base + entry * self._width + self._starts[index]
        return load(self._emitter.packed_buffer, offset, self._outputs[index].place.lanes)


class _Row:
    """Addresses of one output row of one channel block."""

    def __init__(self, emitter: _Emitter, row: Expr, channel: Expr) -> None:
        builder, kind = emitter.builder, emitter.kind
        self._emitter = emitter
        view, x_view = emitter.output.view, emitter.x.view
        out_row = builder.let("out_row", windows.row_of_image(view, row))
        top = out_row * kind.strides[0] - kind.pads[0]
        images = view.shape[2]
        self.x = builder.let(
            "x_base",
            windows.pixel_index(x_view, row, images, top, -kind.pads[1]) + channel,
        )
        self.out = builder.let(
            "out_base",
            windows.pixel_index(view, row, images, out_row, 0) + channel * emitter.multiplier,
        )

    def load_x(self, first: Expr, position: int, tap_row: Expr, vector: windows.Lanes) -> Expr:
        """Input vector ``position`` columns right of the tile's first one."""
        kind, strides = self._emitter.kind, self._emitter.x.view.strides
        offset = (
            (first * kind.strides[1] + position) * strides[3]
            + tap_row * kind.dilations[0] * strides[2]
            + vector.offset
        )
        return load(self._emitter.x_buffer, self.x + offset, vector.lanes)


def _vector(dtype: str, lanes: int) -> str:
    return dtype if lanes == 1 else f"{dtype}x{lanes}"
