"""Resize of NHWC images from tables of source positions: nearest (any dtype) and linear.

A pixel is a run of channels, so that a resize is a copy, or a weighted sum of four runs.
Tables hold offsets in elements: the kernel adds, it does not multiply. Where height or width
differ from run to run they hold positions, of the largest sizes: those of a smaller size are the
same but for its last row and column, behind which there is none.
"""

import dataclasses

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.movement import Resize
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Dimension, has_dynamic, is_dynamic, largest
from edgecomp.plan.values import Array, Order
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load, splat
from edgecomp.schedules.cpu import windows
from edgecomp.schedules.cpu.bands import depthwise_bands
from edgecomp.schedules.cpu.epilogue import vector_dtype
from edgecomp.schedules.cpu.windows import GroupRun, Lanes, Segment, Walk
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "resize_nhwc"

#: Vectors of a pixel that are copied by code without a loop.
_VECTORS = 4
#: A copy moves elements as integers of their width.
_COPY_DTYPES = {1: "uint8", 2: "uint16", 4: "int32", 8: "int64"}


def match(operation: Operation, target: Target) -> str:  # noqa: ARG001
    """Claim resizes of NHWC images."""
    kind = operation.kind
    if not isinstance(kind, Resize):
        return "not a resize"
    (x,), output = operation.inputs, operation.output
    if x.order is not Order.NHWC or output.order is not Order.NHWC:
        return "not NHWC"
    if x.dtype != output.dtype or x.shape[:2] != output.shape[:2]:
        return f"{x.dtype} {x.shape} to {output.dtype} {output.shape}"
    if not kind.nearest and x.dtype != "float32":
        return f"linear resize of {x.dtype}"
    if np.dtype(x.dtype).itemsize not in _COPY_DTYPES:
        return x.dtype
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is an output row."""
    emitter = ResizeKernel(operation, target)
    items = emitter.emit()
    return [
        KernelCall(
            kernel=emitter.builder.finish(emitter.name),
            arguments=(operation.inputs[0], *tables_of(operation), operation.output),
            work_items=items,
        )
    ]


def tables_of(operation: Operation) -> list[Constant]:
    """The constants of a kernel."""
    kind, x = operation.kind, operation.inputs[0]
    assert isinstance(kind, Resize)
    taps = 1 if kind.nearest else 2
    _, _, row_stride, column_stride = x.view.strides
    if has_dynamic(x.shape):
        row_stride = column_stride = 1
    tables = [
        Constant("row_offsets", _offsets(kind.rows, row_stride, taps)),
        Constant("column_offsets", _offsets(kind.columns, column_stride, taps)),
    ]
    if not kind.nearest:
        tables.append(Constant("row_weights", _weights(kind.row_weights)))
        tables.append(Constant("column_weights", _weights(kind.column_weights)))
    return tables


def _offsets(positions: Array, stride: int, taps: int) -> Array:
    """int32 [positions, taps], in elements."""
    return (positions[:, :taps].astype(np.int64) * stride).astype(np.int32).reshape(-1)


def _weights(weights: Array) -> Array:
    return weights.astype(np.float32).reshape(-1)


@dataclasses.dataclass(frozen=True)
class _Tap:
    """One of the source pixels of an output pixel: its index and, for linear, its weight."""

    at: Expr
    weight: Expr


class ResizeKernel:
    """Emits one kernel."""

    def __init__(self, operation: Operation, target: Target) -> None:
        kind = operation.kind
        assert isinstance(kind, Resize)
        self.nearest = kind.nearest
        self.x, self.output = operation.inputs[0], operation.output
        self.by_position = has_dynamic(self.x.shape)
        item = np.dtype(self.x.dtype).itemsize
        self.dtype = _COPY_DTYPES[item] if kind.nearest else "float32"
        channels, lanes = self.x.shape[1], target.lanes(item * 8)
        vectors = min(_VECTORS, -(-channels // lanes))
        blocks = -(-channels // (lanes * vectors))
        walk = Walk(lanes=lanes, vectors=vectors, blocks=blocks, columns=1)
        self.runs = windows.channel_groups(channels, walk)
        self.builder = KernelBuilder(target.core.isa)

    @property
    def name(self) -> str:
        """Of the kernel's kind."""
        return f"{NAME}_{'nearest' if self.nearest else 'linear'}_{self.dtype}"

    def emit(self) -> Dimension:
        """Emit the loops; return the number of work items."""
        builder, view = self.builder, self.output.view
        height, width = map(largest, view.shape[2:])
        taps = 1 if self.nearest else 2
        self.x_buffer = builder.pointer("x", self.dtype, largest(self.x.view.elements))
        self.rows = builder.pointer("row_offsets", "int32", height * taps)
        self.columns = builder.pointer("column_offsets", "int32", width * taps)
        self.row_weights: Buffer = None
        self.column_weights: Buffer = None
        if not self.nearest:
            self.row_weights = builder.pointer("row_weights", "float32", height * 2)
            self.column_weights = builder.pointer("column_weights", "float32", width * 2)
        self.out_buffer = builder.pointer("out", self.dtype, largest(view.elements))
        rows = view.shape[0] * view.shape[2]
        bands = 1 if is_dynamic(rows) else depthwise_bands(view.shape[1], rows, width)
        return windows.walk_groups(builder, self.runs, rows, self._rows, bands)

    def _rows(self, run: GroupRun, group: Expr, begin: Expr, end: Expr) -> None:
        builder, view, size = self.builder, self.output.view, self.builder.size
        channel = run.first_channel + group * run.channels
        with builder.loop("row", begin, end) as row:
            image = builder.let("image", tirx.truncdiv(row, size(view.shape[2])))
            out_row = builder.let("out_row", row - image * size(view.shape[2]))
            start = size(self.x.view.offset) + image * size(self.x.view.strides[0]) + channel
            row_taps = self._taps("row", self.rows, self.row_weights, out_row, start)
            out_at = size(view.offset) + image * size(view.strides[0])
            out_at = out_at + out_row * size(view.strides[2])
            out_at = builder.let("out_row_at", out_at + channel)
            with builder.loop("column", 0, size(view.shape[3])) as column:
                pixels = self._pixels(row_taps, column)
                self._pixel(run, pixels, out_at + column * size(view.strides[3]))

    def _taps(
        self, name: str, offsets: Buffer, weights: Buffer, index: Expr, start: Expr
    ) -> list[_Tap]:
        """Source rows or columns of one output row or column."""
        taps = []
        count = 1 if self.nearest else 2
        for tap in range(count):
            entry = index * count + tap
            at = self.builder.let(f"{name}_at", start + self._offset(name, offsets, entry))
            weight = None
            if not self.nearest:
                weight = self.builder.let(f"{name}_weight", load(weights, entry), "float32")
            taps.append(_Tap(at, weight))
        return taps

    def _offset(self, name: str, offsets: Buffer, entry: Expr) -> Expr:
        """Elements before a source row or column."""
        if not self.by_position:
            return load(offsets, entry)
        axis, size = 2 if name == "row" else 3, self.builder.size
        last = size(self.x.shape[axis] - 1)
        return tirx.min(load(offsets, entry), last) * size(self.x.view.strides[axis])

    def _pixels(self, row_taps: list[_Tap], column: Expr) -> list[_Tap]:
        """Source pixels of one output pixel."""
        columns = self._taps("column", self.columns, self.column_weights, column, 0)
        pixels = []
        for row in row_taps:
            for tap in columns:
                weight = None
                if not self.nearest:
                    weight = self.builder.let("weight", row.weight * tap.weight, "float32")
                pixels.append(_Tap(self.builder.let("at", row.at + tap.at), weight))
        return pixels

    def _pixel(self, run: GroupRun, pixels: list[_Tap], out_at: Expr) -> None:
        """All channels of one output pixel."""

        def block(segment: Segment, index: Expr) -> None:
            offset = segment.first_channel + index * segment.channels
            for vector in segment.vectors:
                at = offset + vector.offset
                value = self._value(pixels, at, vector)
                dtype = vector_dtype(self.dtype, vector.lanes)
                named = self.builder.let("value", value, dtype)
                windows.store_valid(self.builder, self.out_buffer, out_at + at, named, vector)

        windows.walk_blocks(self.builder, run.segments, block)

    def _value(self, pixels: list[_Tap], at: Expr, vector: Lanes) -> Expr:
        loaded = [load(self.x_buffer, pixel.at + at, vector.lanes) for pixel in pixels]
        if self.nearest:
            return loaded[0]
        parts = [
            value * splat(pixel.weight, vector.lanes)
            for value, pixel in zip(loaded, pixels, strict=True)
        ]
        return (parts[0] + parts[1]) + (parts[2] + parts[3])
