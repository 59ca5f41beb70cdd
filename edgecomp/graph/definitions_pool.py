"""MaxPool with indices, and its inverse."""

import math

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.constants import constant_array
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.uses import is_used
from edgecomp.graph.windows import Window, window_of


def define_max_pool(node: ir.Node) -> Body | None:
    """MaxPool whose indices are read: every window gathered, its greatest element found."""
    shape = static_shape(node.inputs[0])
    indices = node.outputs[1] if len(node.outputs) > 1 else None
    if shape is None or indices is None or not is_used(indices):
        return None
    window = window_of(node, shape, node.attributes["kernel_shape"].as_ints())
    rows, columns = _elements(window), _elements(window, column_major=True)
    batch, channels = shape[:2]
    pixels = math.prod(window.input)
    body = Body()
    image = body.reshaped("i0", (batch, channels, pixels))
    # One element more, below all others: what a window has outside of the image.
    lowest = body.like(_lowest(node.inputs[0]), "i0")
    image = body.add("Pad", image, body.integers(0, 0, 0, 0, 0, 1), lowest)
    windows = body.add("Gather", image, body.constant(rows), axis=2)
    greatest = body.add("ReduceMax", windows, body.integers(3), keepdims=0)
    body.reshaped(greatest, (batch, channels, *window.output), to="y")
    which = body.add("ArgMax", windows, axis=3, keepdims=1)
    table = columns if node.attributes.get_int("storage_order", 0) else rows
    whole = body.integers(batch, channels, *table.shape)
    found = body.add(
        "GatherElements", body.add("Expand", body.constant(table), whole), which, axis=3
    )
    offsets = np.arange(batch * channels).reshape(batch, channels, 1, 1) * pixels
    found = body.add("Add", found, body.constant(offsets))
    body.reshaped(found, (batch, channels, *window.output), to="y1")
    return body


def _elements(window: Window, *, column_major: bool = False) -> npt.NDArray[np.int64]:
    """[windows, taps]: flat index of every element in its image; outside, one past the end."""
    rank = len(window.kernel)
    strides = np.array([math.prod(window.input[d + 1 :]) for d in range(rank)])
    if column_major:
        strides = np.array([math.prod(window.input[:d]) for d in range(rank)])
    starts = np.indices(window.output).reshape(rank, -1) * _column(window.strides)
    offsets = np.indices(window.kernel).reshape(rank, -1) * _column(window.dilations)
    at = starts[:, :, None] + offsets[:, None, :] - _column(window.pads_begin)[:, :, None]
    extents = _column(window.input)[:, :, None]
    inside = ((at >= 0) & (at < extents)).all(axis=0)
    flat = (at * strides[:, None, None]).sum(axis=0)
    return np.where(inside, flat, math.prod(window.input)).astype(np.int64)


def _column(numbers: tuple[int, ...]) -> npt.NDArray[np.int64]:
    return np.array(numbers, np.int64)[:, None]


def _lowest(value: ir.Value | None) -> float:
    dtype = value.dtype if value is not None else None
    if dtype == ir.DataType.UINT8:
        return 0
    return -128 if dtype == ir.DataType.INT8 else -math.inf


def define_max_unpool(node: ir.Node) -> Body | None:
    """Scatter into zeros; a given output shape pads at the ends."""
    shape = static_shape(node.inputs[0])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    wanted = constant_array(given)
    if shape is None or (given is not None and wanted is None):
        return None
    kernel = node.attributes["kernel_shape"].as_ints()
    count = len(kernel)
    strides = node.attributes.get_ints("strides", [1] * count)
    pads = node.attributes.get_ints("pads", [0] * 2 * count)
    inner = [
        (shape[d + 2] - 1) * strides[d] - pads[d] - pads[count + d] + kernel[d]
        for d in range(count)
    ]
    whole = (*shape[:2], *inner)
    body = Body()
    zeros = body.add("CastLike", body.constant(np.zeros(math.prod(whole), np.float32)), "i0")
    places = body.bounded(body.reshaped("i1", (-1,)), math.prod(whole))
    placed = body.add("ScatterElements", zeros, places, body.reshaped("i0", (-1,)), axis=0)
    result = whole if wanted is None else tuple(int(extent) for extent in wanted)
    if result == whole:
        body.reshaped(placed, whole, to="y")
        return body
    image = body.reshaped(placed, whole)
    ends = [after - before for before, after in zip(whole, result, strict=True)]
    body.add("Pad", image, body.integers(*[0] * len(whole), *ends), to="y")
    return body
