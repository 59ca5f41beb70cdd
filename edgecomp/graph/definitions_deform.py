"""DeformConv as four gathers per sampling point and one product.

sample = sum over the four pixels around a point: pixel * its share, 0 outside of the image
DeformConv = MatMul(weights, samples * mask) + bias
"""

import numpy as np
import onnx
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.shapes import static_shape

_FLOAT = onnx.TensorProto.FLOAT


def define_deform_conv(node: ir.Node) -> Body | None:
    """Two spatial dimensions, in float32."""
    shape, weights = static_shape(node.inputs[0]), static_shape(node.inputs[1])
    result = static_shape(node.outputs[0])
    if shape is None or weights is None or result is None or len(shape) != 4:
        return None
    body = Body()
    batch, channels, height, width = shape
    groups = node.attributes.get_int("group", 1)
    fields = node.attributes.get_int("offset_group", 1)
    taps, pixels = weights[2] * weights[3], result[2] * result[3]
    points = taps * pixels
    given = [name if _is_given(node, k) else "" for k, name in enumerate(("i0", "i1", "i2"))]
    image, matrix, offsets = (body.add("Cast", name, to_type=_FLOAT) for name in given)
    offsets = body.reshaped(offsets, (batch, fields, taps, 2, pixels))
    base = _base(node, weights[2:], result[2:])
    axes = []
    for k in (0, 1):
        moved = body.add("Gather", offsets, body.constant(np.int64(k)), axis=3)
        placed = body.add("Add", moved, body.constant(base[k].astype(np.float32)))
        axes.append(body.reshaped(placed, (batch, fields, 1, points)))
    image = body.reshaped(image, (batch, fields, channels // fields, height * width))
    samples = _sample(body, image, axes, (height, width), (batch, fields, channels // fields))
    if _is_given(node, 4):
        mask = body.add("Cast", "i4", to_type=_FLOAT)
        mask = body.reshaped(mask, (batch, fields, 1, points))
        samples = body.add("Mul", samples, mask)
    rows = channels // groups * taps
    samples = body.reshaped(samples, (batch, groups, rows, pixels))
    matrix = body.reshaped(matrix, (1, groups, weights[0] // groups, rows))
    total = body.add("MatMul", matrix, samples)
    total = body.reshaped(total, result)
    if _is_given(node, 3):
        bias = body.add("Cast", "i3", to_type=_FLOAT)
        total = body.add("Add", total, body.reshaped(bias, (1, -1, 1, 1)))
    body.add("CastLike", total, "i0", to="y")
    return body


def _is_given(node: ir.Node, index: int) -> bool:
    return index < len(node.inputs) and node.inputs[index] is not None


def _base(node: ir.Node, kernel: tuple[int, ...], output: tuple[int, ...]) -> list[np.ndarray]:
    """Rows and columns of the points without offsets: [taps, pixels] each."""
    strides = node.attributes.get_ints("strides", [1, 1])
    dilations = node.attributes.get_ints("dilations", [1, 1])
    pads = node.attributes.get_ints("pads", [0, 0, 0, 0])
    found = []
    for k in (0, 1):
        starts = np.arange(output[k]) * strides[k] - pads[k]
        offsets = np.arange(kernel[k]) * dilations[k]
        grid = offsets[:, None] + starts
        shape = [kernel[0], kernel[1], output[0], output[1]]
        own = [kernel[0], 1, output[0], 1] if k == 0 else [1, kernel[1], 1, output[1]]
        whole = np.broadcast_to(grid.reshape(own), shape)
        found.append(whole.reshape(kernel[0] * kernel[1], output[0] * output[1]))
    return found


def _sample(
    body: Body,
    image: str,
    axes: list[str],
    size: tuple[int, int],
    outer: tuple[int, int, int],
) -> str:
    """Bilinear samples of a flat image: [batch, fields, channels, points]."""
    neighbours = []  # per axis: (index, share) of the one before and the one behind
    for position, extent in zip(axes, size, strict=True):
        low = body.add("Floor", position)
        share = body.add("Sub", position, low)
        one = body.constant(np.float32(1))
        before = _inside(body, low, body.add("Sub", one, share), extent)
        neighbours.append((before, _inside(body, body.add("Add", low, one), share, extent)))
    total = ""
    for row, row_share in neighbours[0]:
        for column, column_share in neighbours[1]:
            flat = body.add("Mul", row, body.constant(np.float32(size[1])))
            flat = body.add(
                "Cast", body.add("Add", flat, column), to_type=onnx.TensorProto.INT64
            )
            flat = body.bounded(flat, size[0] * size[1])
            flat = body.add("Expand", flat, body.integers(*outer, 1))
            pixel = body.add("GatherElements", image, flat, axis=3)
            share = body.add("Mul", row_share, column_share)
            part = body.add("Mul", pixel, share)
            total = body.add("Add", total, part) if total else part
    return total


def _inside(body: Body, index: str, share: str, extent: int) -> tuple[str, str]:
    """The index brought into the image, and its share, 0 where it was outside."""
    zero, last = body.constant(np.float32(0)), body.constant(np.float32(extent - 1))
    clipped = body.add("Clip", index, zero, last)
    inside = body.add("Equal", clipped, index)
    return clipped, body.add("Where", inside, share, zero)
