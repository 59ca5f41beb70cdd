"""Depthwise convolution of NHWC images: a work item has four channels of neighbouring columns.

Each column of the input is loaded once for all columns of the output that it belongs to.
"""

import numpy as np

from edgecomp.device.target import Gpu, Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.sizes import is_dynamic, largest, quotient, reached, smallest
from edgecomp.plan.values import Array, Value, largest_elements
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, load
from edgecomp.schedules.cpu import depthwise as cpu
from edgecomp.schedules.cpu.dense import epilogue_of, refuse_dense, residual_of
from edgecomp.schedules.gpu.builder import GridBuilder, parts_of
from edgecomp.schedules.gpu.columns import store_columns
from edgecomp.schedules.gpu.dense import refuse_product
from edgecomp.schedules.gpu.halves import stored_floats
from edgecomp.schedules.gpu.inputs import InputBuffer, InputImage, declare_input
from edgecomp.schedules.gpu.places import LANES, flat_target, gpu_of
from edgecomp.schedules.gpu.product_tiles import group_shape
from edgecomp.schedules.gpu.vectors import load_vector, widened
from edgecomp.schedules.gpu.weights import WeightShape, declare_image
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "depthwise"

#: Elements are the places of what is no image.
_BUFFER = InputBuffer(None)
#: Columns of the output that a work item computes at most.
_MOST_COLUMNS = 4
#: Wider windows are products (convolution.py): code size.
_WIDEST_WINDOW = 9


def match(operation: Operation, target: Target) -> str:
    """Claim one output channel per input channel."""
    kind = operation.kind
    reason = cpu.refusal(operation)
    if reason or not isinstance(kind, Convolution):
        return reason
    if operation.inputs[1].shape[0] != kind.groups:
        return "several outputs per channel"
    if operation.inputs[1].shape[3] > _WIDEST_WINDOW:
        return "a wide window"
    return refuse_product(kind, operation) or refuse_dense(kind, operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kernel = _DepthwiseKernel(operation, target)
    kernel.emit()
    label, epilogue = operation.inputs[1].name, kernel.epilogue
    weight, bias = cpu.constants_of(operation)
    arguments: list[Value | Constant] = [
        operation.inputs[0],
        Constant(f"{label}.packed", kernel.packed(weight)),
        Constant(f"{label}.bias", _padded(bias)),
    ]
    if epilogue.multiplier is not None:
        every = np.broadcast_to(epilogue.multiplier.astype(np.float32), (len(weight),))
        arguments.append(Constant(f"{label}.multiplier", _padded(every)))
    if kernel.residual_value is not None:
        arguments.append(kernel.residual_value)
    arguments.append(operation.output)
    work = largest(operation.output.elements * weight.shape[1])
    return [kernel.builder.call(NAME, arguments, work)]


def _padded(values: Array) -> Array:
    flat = values.reshape(-1)
    return np.pad(flat, (0, -flat.size % LANES))


def columns_of_item(width: int, window: int, gpu: Gpu) -> int:
    """Columns of a work item: sums, the weights of a row, one input column and addresses."""
    room = (gpu.registers // LANES) - window - 4
    most = max(1, min(_MOST_COLUMNS, width, room))
    tiles = -(-width // most)
    return -(-width // tiles)


class _DepthwiseKernel:
    """One kernel in the making."""

    def __init__(self, operation: Operation, target: Target) -> None:
        kind = operation.kind
        assert isinstance(kind, Convolution)
        self.operation, self.kind, self.target = operation, kind, target
        self.x_value, self.output = operation.inputs[0], operation.output
        self.residual_value = residual_of(operation)
        self.epilogue = epilogue_of(kind, self.output, self.residual_value)
        self.window = cpu.window_of(operation)
        batch, self.channels, height, width = self.output.shape
        gpu = gpu_of(target)
        self.columns = columns_of_item(reached(width), self.window.size[1], gpu)
        self.tiles = quotient(width + (self.columns - 1), self.columns)
        self.blocks = -(-self.channels // LANES)
        self.lines = batch * height * self.tiles
        items = group_shape(self.blocks, gpu)
        self.builder = GridBuilder(
            (-(-self.blocks // items[0]), parts_of(self.lines, items[1]), 1), items
        )
        self.is_float = self.x_value.dtype == "float32"
        weight_dtype = operation.inputs[1].dtype
        self.sum_dtype = f"{'float32' if self.is_float else 'int32'}x{LANES}"
        padded = self.blocks * LANES
        taps = self.window.size[0] * self.window.size[1]
        pointer = self.builder.pointer
        view = self.x_value.view
        batch_stride, _, row_stride, column_stride = view.strides
        distances = (view.offset, batch_stride, row_stride, column_stride)
        stored, elements = self.x_value.stored, largest_elements(self.x_value)
        self.x = declare_input(self.builder, stored, elements, distances, gpu)
        self.taps = WeightShape(
            groups=1,
            columns=self.channels,
            padded_columns=padded,
            runs=self.window.size[0],
            run=self.window.size[1],
        )
        self.image = declare_image(self.builder, weight_dtype, self.taps, gpu)
        self.weights: tirx.Buffer | None = None
        if self.image is None:
            self.weights = pointer("weights", weight_dtype, taps * padded)
        self.bias = pointer("bias", "float32" if self.is_float else "int32", padded)
        self.multiplier = self.residual = None
        if self.epilogue.multiplier is not None:
            self.multiplier = pointer("multiplier", "float32", padded)
        if self.residual_value is not None:
            view = self.residual_value.view
            self.residual = pointer("z", self.residual_value.stored, view.elements)
        self.y = pointer("y", self.output.stored, self.output.view.elements)
        self.padded = padded

    def emit(self) -> None:
        """All statements."""
        builder = self.builder
        block, line = builder.place(0), builder.place(1)
        lines = builder.size(self.lines)
        with builder.condition(tirx.And(block < self.blocks, line < lines)):
            channel = builder.let("channel", block * LANES)
            image, row, column = self._place(line)
            self.sums = builder.array("sums", self.sum_dtype, self.columns)
            start = builder.let(
                "start", load_vector(self.bias, channel, LANES), self.sum_dtype
            )
            for index in range(self.columns):
                builder.store(self.sums, tirx.const(index, "int32"), start)
            self._accumulate(channel, image, row, column)
            self._finish(channel, image, row, column)

    def _place(self, line: Expr) -> tuple[Expr, Expr, Expr]:
        """Image, row and first column of the output."""
        builder, height, width = self.builder, self.output.shape[2], self.output.shape[3]
        tiles = builder.size(self.tiles)
        upper = builder.let("upper", tirx.truncdiv(line, tiles))
        first = (line - upper * tiles) * self.columns
        if is_dynamic(width):
            first = tirx.Min(first, builder.size(width) - self.columns)
            if smallest(width) < self.columns:
                first = tirx.Max(first, tirx.const(0, "int32"))
        elif width % self.columns:
            first = tirx.Min(first, tirx.const(width - self.columns, "int32"))
        column = builder.let("column", first)
        if self.output.shape[0] == 1:
            return tirx.const(0, "int32"), upper, column
        rows = builder.size(height)
        image = builder.let("image", tirx.truncdiv(upper, rows))
        return image, builder.let("row", upper - image * rows), column

    def _at(
        self,
        value: Value,
        image: Expr,
        row: Expr,
        column: Expr,
        channel: Expr,
        tensor: InputBuffer | InputImage = _BUFFER,
    ) -> Expr:
        view, places, size = value.view, tensor.in_places, self.builder.size
        strides = [size(places(each)) for each in (*view.strides[2:], view.strides[0])]
        offset = size(places(view.offset))
        at = row * strides[0] + column * strides[1] + offset + places(channel)
        return at if self.output.shape[0] == 1 else at + image * strides[2]

    def _accumulate(self, channel: Expr, image: Expr, row: Expr, column: Expr) -> None:
        builder, window, view = self.builder, self.window, self.x_value.view
        places = self.x.in_places
        first = self._at(
            self.x_value,
            image,
            row * window.strides[0] - window.pads[0],
            column * window.strides[1] - window.pads[1],
            channel,
            self.x,
        )
        x_at = builder.let("x_at", first)
        with builder.loop("k", 0, window.size[0]) as k:
            line_at = builder.let(
                "line_at",
                x_at + k * builder.size(places(view.strides[2] * window.dilations[0])),
            )
            weights = self._weights(k, channel)
            for position, users in window.users(self.columns).items():
                at = line_at + position * places(int(view.strides[3]))
                x = self._named("x", self.x.load(at, LANES))
                for index, tap in users:
                    self._add(index, x, weights[tap])

    def _weights(self, row: Expr, channel: Expr) -> list[Expr]:
        """Those of a row of the window."""
        builder, count = self.builder, self.window.size[1]
        if self.image is not None:
            at = self.image.begin(0, channel) + row * self.image.advance(count)
            at = builder.let("weight_row", at)
            values = [self.image.load_at(self.image.place(at, tap)) for tap in range(count)]
        else:
            at = builder.let("weight_at", row * (count * self.padded) + channel)
            values = [
                load_vector(self.weights, at + tap * self.padded, LANES)
                for tap in range(count)
            ]
        return [self._named("w", value) for value in values]

    def _named(self, name: str, value: Expr) -> Expr:
        if not self.is_float:
            value = widened(value)
        return self.builder.let(name, value, self.sum_dtype)

    def packed(self, weight: Array) -> Array:
        """[channels, taps] as the kernel reads it."""
        if self.image is not None:
            return self.image.pack(weight)
        padded = np.pad(weight.T, ((0, 0), (0, -weight.shape[0] % LANES)))
        return stored_floats(np.ascontiguousarray(padded).reshape(-1))

    def _add(self, index: int, x: Expr, weight: Expr) -> None:
        name = "mad" if self.is_float else "mad24"
        place = tirx.const(index, "int32")
        total = tirx.call_pure_extern(self.sum_dtype, name, x, weight, load(self.sums, place))
        self.builder.store(self.sums, place, total)

    def _finish(self, channel: Expr, image: Expr, row: Expr, column: Expr) -> None:
        builder = self.builder
        multiplier = None
        if self.multiplier is not None:
            value = load_vector(self.multiplier, channel, LANES)
            multiplier = builder.let("m", value, f"float32x{LANES}")
        y_at = builder.let("y_at", self._at(self.output, image, row, column, channel))
        width = self.output.shape[3]
        for index in range(self.columns):
            # A run may have fewer columns than a work item.
            is_there = None if index < smallest(width) else builder.size(width) > index
            with builder.condition(is_there):
                self._finish_column(index, channel, image, row, column, y_at, multiplier)

    def _finish_column(
        self,
        index: int,
        channel: Expr,
        image: Expr,
        row: Expr,
        column: Expr,
        y_at: Expr,
        multiplier: Expr | None,
    ) -> None:
        builder, residual = self.builder, None
        if self.residual is not None and self.residual_value is not None:
            at = self._at(self.residual_value, image, row, column + index, channel)
            residual = load_vector(self.residual, at, LANES)
        total = load(self.sums, tirx.const(index, "int32"))
        value = self.epilogue.apply(
            builder, flat_target(self.target), total, LANES, multiplier, residual
        )
        at = y_at + index * self.output.view.strides[3]
        store_columns(builder, self.y, at, value, channel, self.channels)
