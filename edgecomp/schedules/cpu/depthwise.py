"""What the float32 and the integer depthwise kernels share: claims, output vectors, packing."""

import dataclasses
from collections.abc import Callable

import numpy as np

from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.values import Array, Order
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr
from edgecomp.schedules.cpu.windows import GroupRun, Lanes, Segment, Window

#: Outputs per input channel that are held in registers at once.
MAXIMUM_MULTIPLIER = 8


@dataclasses.dataclass(frozen=True)
class OutputVector:
    """Output channels computed from one input vector.

    Attributes:
        source: index of the input vector in its block.
        phase: which of the ``multiplier`` vectors made from that input vector.
        place: output channels, from the first output channel of the block.
    """

    source: int
    phase: int
    place: Lanes


def refusal(operation: Operation) -> str:
    """Return "" for a depthwise convolution on NHWC values, else why it is none."""
    kind = operation.kind
    if not isinstance(kind, Convolution):
        return "not a convolution"
    x, weight, bias = operation.inputs[:3]
    if any(v.order is not Order.NHWC for v in (x, *operation.inputs[3:], operation.output)):
        return "not NHWC"
    if kind.groups != x.shape[1] or (kind.groups == 1 and weight.shape[0] > 1):
        return f"{kind.groups} groups for {x.shape[1]} channels"
    if weight.shape[0] // kind.groups > MAXIMUM_MULTIPLIER:
        return f"{weight.shape[0] // kind.groups} outputs per channel"
    if weight.constant is None or bias.constant is None:
        return "weights are not constant"
    return window_of(operation).refusal(x, operation.output)


def window_of(operation: Operation) -> Window:
    """The window of a convolution."""
    kind, weight = operation.kind, operation.inputs[1]
    assert isinstance(kind, Convolution)
    top, left = kind.pads[:2]
    return Window(
        (weight.shape[2], weight.shape[3]), kind.strides, kind.dilations, (top, left)
    )


def constants_of(operation: Operation) -> tuple[Array, Array]:
    """Weight [outputs, taps] and bias [outputs, 1] of a claimed operation.

    Where groups have several channels, as many as a power of two, each tap has as many weights:
    the one of number n of an output is for the input whose number differs in the bits of n.
    """
    weight, bias = operation.inputs[1].constant, operation.inputs[2].constant
    assert weight is not None
    assert bias is not None
    outputs, size = weight.shape[:2]
    if size > 1:
        output = np.arange(outputs)[:, None]
        met = output % size ^ np.arange(size)
        weight = weight.reshape(outputs, size, -1)[output, met].transpose(0, 2, 1)
    return weight.reshape(outputs, -1), bias.reshape(-1, 1)


def output_vectors(segment: Segment, multiplier: int) -> tuple[OutputVector, ...]:
    """The output vectors of a block, in memory order: output channel m reads m // multiplier."""
    outputs = []
    for source, vector in enumerate(segment.vectors):
        for phase in range(multiplier):
            valid = min(vector.valid * multiplier - phase * vector.lanes, vector.lanes)
            if valid > 0:
                offset = vector.offset * multiplier + phase * vector.lanes
                outputs.append(OutputVector(source, phase, Lanes(offset, vector.lanes, valid)))
    return tuple(outputs)


def spread(value: Expr, lanes: int, phase: int, multiplier: int) -> Expr:
    """Lanes of an input vector, each repeated ``multiplier`` times: vector ``phase`` of them."""
    if multiplier == 1 or lanes == 1:
        return value
    first = phase * lanes
    indices = [tirx.const((first + lane) // multiplier, "int32") for lane in range(lanes)]
    return tirx.Shuffle([value], indices)


def exchanged(value: Expr, lanes: int, by: int) -> Expr:
    """Lane i of the result is lane ``i ^ by`` of the vector."""
    return tirx.Shuffle([value], [tirx.const(lane ^ by, "int32") for lane in range(lanes)])


@dataclasses.dataclass(frozen=True)
class Packing:
    """Where per-channel numbers lie once they are in the order of the kernel.

    Attributes:
        data: [run][group][segment][block], flat; each block as the kernel wants it.
        runs: channel groups it was packed for.
        run_starts: of each run.
        per_lane: elements per lane of a block.
        multiplier: outputs per input channel.
    """

    data: Array
    runs: tuple[GroupRun, ...]
    run_starts: tuple[int, ...]
    per_lane: int
    multiplier: int = 1

    def block_elements(self, segment: Segment) -> int:
        """Elements of one block."""
        return self.per_lane * block_lanes(segment, self.multiplier)

    def group_index(self, run: GroupRun, group: Expr) -> Expr:
        """Index of the first element of a group."""
        per_group = sum(s.blocks * self.block_elements(s) for s in run.segments)
        return self.run_starts[self.runs.index(run)] + group * per_group

    def block_offset(self, run: GroupRun, segment: Segment, block: Expr) -> Expr:
        """Elements of a group before a block."""
        before = run.segments[: run.segments.index(segment)]
        start = sum(s.blocks * self.block_elements(s) for s in before)
        return start + block * self.block_elements(segment)

    def with_block_behind(self) -> "Packing":
        """The same with zeros for a loop that loads a block's numbers behind the last one."""
        block = self.block_elements(self.runs[-1].segments[-1])
        data = np.concatenate([self.data, np.zeros(block, self.data.dtype)])
        return dataclasses.replace(self, data=data)


def block_lanes(segment: Segment, multiplier: int) -> int:
    """Lanes of all output vectors of a block."""
    return sum(vector.place.lanes for vector in output_vectors(segment, multiplier))


def pack_blocks(
    runs: tuple[GroupRun, ...],
    make: Callable[[int, Segment], Array],
    per_lane: int,
    multiplier: int = 1,
) -> Packing:
    """Concatenate ``make(first input channel, segment)`` of every block."""
    parts: list[Array] = []
    starts, size = [], 0
    for run in runs:
        starts.append(size)
        for group in range(run.groups):
            for segment in run.segments:
                first = run.first_channel + group * run.channels + segment.first_channel
                for block in range(segment.blocks):
                    parts.append(make(first + block * segment.channels, segment).reshape(-1))
                    size += parts[-1].size
    return Packing(np.concatenate(parts), runs, tuple(starts), per_lane, multiplier)


def rows_of_channels(table: Array, first: int, places: tuple[Lanes, ...]) -> Array:
    """Rows of a table per channel for the lanes of vectors; zeros where a lane has none."""
    offsets = np.concatenate([p.offset + np.arange(p.lanes) for p in places])
    valid = np.concatenate([np.arange(p.lanes) < p.valid for p in places])
    rows = table[np.where(valid, first + offsets, 0)]
    rows[~valid] = 0
    return rows


def pack(table: Array, runs: tuple[GroupRun, ...], multiplier: int) -> Packing:
    """Reorder rows per output channel [output channels, columns] into [column][lanes]."""

    def make(first: int, segment: Segment) -> Array:
        places = tuple(vector.place for vector in output_vectors(segment, multiplier))
        return rows_of_channels(table, first * multiplier, places).T

    return pack_blocks(runs, make, table.shape[1], multiplier)
