"""Operators that place elements by index, written as comparisons, gathers and scatters."""

import itertools
import math

import numpy as np
import onnx
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.constants import constant_array
from edgecomp.graph.shapes import static_shape


def define_one_hot(node: ir.Node) -> Body | None:
    """``Where(index == 0 .. depth - 1, on, off)``; an index out of range matches nowhere."""
    shape, depth = static_shape(node.inputs[0]), constant_array(node.inputs[1])
    if shape is None or depth is None or depth.size != 1:
        return None
    size, rank = int(depth.reshape(())), len(shape) + 1
    axis = node.attributes.get_int("axis", -1) % rank
    body = Body()
    index = body.add("Cast", "i0", to_type=onnx.TensorProto.INT64)
    negative = body.add("Less", index, body.constant(np.int64(0)))
    wrapped = body.add("Add", index, body.constant(np.int64(size)))
    index = body.add("Where", negative, wrapped, index)
    index = body.add("Unsqueeze", index, body.integers(axis))
    places = np.arange(size).reshape([-1 if d == axis else 1 for d in range(rank)])
    hit = body.add("Equal", index, body.constant(places))
    off, on = (body.add("Gather", "i2", body.constant(np.int64(k))) for k in (0, 1))
    body.add("Where", hit, on, off, to="y")
    return body


def define_compress(node: ir.Node) -> Body | None:
    """``Gather(x, NonZero(condition))``: the count is that of NonZero."""
    shape, condition = static_shape(node.inputs[0]), static_shape(node.inputs[1])
    if shape is None or condition is None:
        return None
    body = Body()
    axis, x = 0, "i0"
    if "axis" in node.attributes:
        axis = node.attributes.get_int("axis", 0) % len(shape)
        extent = shape[axis]
    else:
        x, extent = body.add("Reshape", x, body.integers(-1)), math.prod(shape)
    kept = "i1"
    if condition[0] > extent:
        kept = body.add("Slice", kept, body.integers(0), body.integers(extent))
    places = body.add("NonZero", kept, to="kept")
    places = body.add("Reshape", places, body.integers(-1))
    body.add("Gather", x, places, axis=axis, to="y")
    return body


def define_col2im(node: ir.Node) -> Body | None:
    """Each pixel is the sum of a fixed list of column elements: Gather and ReduceSum."""
    shape = static_shape(node.inputs[0])
    image, block = (constant_array(node.inputs[k]) for k in (1, 2))
    if shape is None or image is None or block is None:
        return None
    image_shape = [int(v) for v in image]
    kernel = [int(v) for v in block]
    count = len(kernel)
    places = _sources(
        image_shape,
        kernel,
        list(node.attributes.get_ints("dilations", [1] * count)),
        list(node.attributes.get_ints("pads", [0] * 2 * count)),
        list(node.attributes.get_ints("strides", [1] * count)),
    )
    batch, channels = shape[0], shape[1] // math.prod(kernel)
    elements = math.prod(kernel) * shape[2]
    body = Body()
    columns = body.reshaped("i0", (batch, channels, elements))
    # One zero more, for pixels that fewer blocks cover.
    columns = body.add("Pad", columns, body.integers(0, 0, 0, 0, 0, 1))
    gathered = body.add("Gather", columns, body.constant(places), axis=2)
    total = body.add("ReduceSum", gathered, body.integers(3), keepdims=0)
    body.reshaped(total, (batch, channels, *image_shape), to="y")
    return body


def _sources(
    image: list[int],
    kernel: list[int],
    dilations: list[int],
    pads: list[int],
    strides: list[int],
) -> np.ndarray:
    """int64 [pixels, most]: elements of the flat columns that each pixel sums."""
    count = len(image)
    blocks = [
        (image[d] + pads[d] + pads[count + d] - dilations[d] * (kernel[d] - 1) - 1)
        // strides[d]
        + 1
        for d in range(count)
    ]
    found: list[list[int]] = [[] for _ in range(math.prod(image))]
    each_offset = itertools.product(*map(range, kernel))
    for k, offset in enumerate(each_offset):
        for column, block in enumerate(itertools.product(*map(range, blocks))):
            at = [
                b * s - p + o * d
                for b, s, p, o, d in zip(
                    block, strides, pads[:count], offset, dilations, strict=True
                )
            ]
            if all(0 <= a < extent for a, extent in zip(at, image, strict=True)):
                pixel = int(np.ravel_multi_index(at, image))
                found[pixel].append(k * math.prod(blocks) + column)
    nothing = math.prod(kernel) * math.prod(blocks)
    most = max(1, *(len(row) for row in found))
    return np.array([row + [nothing] * (most - len(row)) for row in found], np.int64)


def define_tensor_scatter(node: ir.Node) -> Body | None:
    """The update's rows go to ``write_indices[batch] + row`` of the cache, along ``axis``."""
    cache, update = static_shape(node.inputs[0]), static_shape(node.inputs[1])
    if cache is None or update is None:
        return None
    rank = len(cache)
    axis = node.attributes.get_int("axis", -2) % rank
    body = Body()
    own = [-1 if d == axis else 1 for d in range(rank)]
    rows = body.constant(np.arange(update[axis]).reshape(own))
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        first = body.reshaped("i2", (-1, *[1] * (rank - 1)))
        rows = body.add("Add", rows, first)
    if node.attributes.get_string("mode", "linear") == "circular":
        rows = body.add("Mod", rows, body.constant(np.int64(cache[axis])))
    rows = body.add("Expand", body.bounded(rows, cache[axis]), body.integers(*update))
    body.add("ScatterElements", "i0", rows, "i1", to="y", axis=axis)
    return body


def define_reverse_sequence(node: ir.Node) -> Body | None:
    """Step i of a sequence of n steps is step n - 1 - i; behind its end nothing moves."""
    shape = static_shape(node.inputs[0])
    if shape is None:
        return None
    rank = len(shape)
    time = node.attributes.get_int("time_axis", 0) % rank
    batch = node.attributes.get_int("batch_axis", 1) % rank
    body = Body()
    steps = np.arange(shape[time]).reshape([-1 if d == time else 1 for d in range(rank)])
    step = body.constant(steps)
    lengths = body.add("Cast", "i1", to_type=onnx.TensorProto.INT64)
    lengths = body.reshaped(lengths, tuple(-1 if d == batch else 1 for d in range(rank)))
    turned = body.add("Sub", body.add("Sub", lengths, body.constant(np.int64(1))), step)
    source = body.add("Where", body.add("Less", step, lengths), turned, step)
    source = body.add("Expand", body.bounded(source, shape[time]), body.integers(*shape))
    body.add("GatherElements", "i0", source, to="y", axis=time)
    return body
