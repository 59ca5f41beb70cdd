"""Small operators without a kernel of their own."""

import itertools

import numpy as np
import onnx
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.constants import constant_array
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.windows import window_of


def define_dropout(node: ir.Node) -> Body | None:
    """Outside of training everything passes, and the mask says so."""
    mask = node.outputs[1] if len(node.outputs) > 1 else None
    shape = static_shape(node.inputs[0])
    if mask is None or not _is_used(mask) or shape is None:
        return None
    if len(node.inputs) > len(("data", "ratio")) and node.inputs[2] is not None:
        training = constant_array(node.inputs[2])
        if training is None or training.any():
            return None
    body = Body()
    body.add("Identity", "i0", to="y")
    body.add("Identity", body.constant(np.ones(shape, np.bool_)), to="y1")
    return body


def define_conv_integer(node: ir.Node) -> Body:
    """Conv in float64, which holds every sum of products of bytes exactly."""
    body = Body()
    kind = onnx.TensorProto.DOUBLE
    factors = []
    for index in (0, 1):
        value = body.add("Cast", f"i{index}", to_type=kind)
        zero = index + 2
        if zero < len(node.inputs) and node.inputs[zero] is not None:
            point = body.add("Cast", f"i{zero}", to_type=kind)
            points = static_shape(node.inputs[zero])
            rank = len(static_shape(node.inputs[index]) or ())
            if points and points[0] > 1:
                point = body.reshaped(point, (-1, *[1] * (rank - 1)))
            else:
                point = body.add("Squeeze", point)
            value = body.add("Sub", value, point)
        factors.append(value)
    product = body.add("Conv", *factors)
    body.nodes[-1].attribute.extend(
        ir.serde.serialize_attribute(attribute) for attribute in node.attributes.values()
    )
    body.add("Cast", product, to="y", to_type=onnx.TensorProto.INT32)
    return body


def define_max_pool(node: ir.Node) -> Body | None:
    """MaxPool whose indices are read: every window gathered, its greatest element found."""
    shape = static_shape(node.inputs[0])
    indices = node.outputs[1] if len(node.outputs) > 1 else None
    if shape is None or indices is None or not _is_used(indices):
        return None
    window = window_of(node, shape, node.attributes["kernel_shape"].as_ints())
    image = shape[2:]
    places, flat = [], []
    column_major = node.attributes.get_int("storage_order", 0)
    for start in itertools.product(*map(range, window.output)):
        row, own = [], []
        for offset in itertools.product(*map(range, window.kernel)):
            at = [
                s * stride - begin + o * dilation
                for s, stride, begin, o, dilation in zip(
                    start,
                    window.strides,
                    window.pads_begin,
                    offset,
                    window.dilations,
                    strict=True,
                )
            ]
            inside = all(0 <= a < extent for a, extent in zip(at, image, strict=True))
            row.append(int(np.ravel_multi_index(at, image)) if inside else int(np.prod(image)))
            order = "F" if column_major else "C"
            own.append(int(np.ravel_multi_index(at, image, order=order)) if inside else 0)
        places.append(row)
        flat.append(own)
    return _pooled(node, shape, window.output, np.array(places), np.array(flat))


def _pooled(
    node: ir.Node,
    shape: tuple[int, ...],
    output: tuple[int, ...],
    places: np.ndarray,  # type: ignore[type-arg]
    flat: np.ndarray,  # type: ignore[type-arg]
) -> Body:
    batch, channels = shape[:2]
    pixels = int(np.prod(shape[2:]))
    body = Body()
    image = body.reshaped("i0", (batch, channels, pixels))
    dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
    least = -np.inf if dtype is None or dtype.is_floating_point() else 0
    if dtype == ir.DataType.INT8:
        least = -128
    lowest = body.like(least, "i0")
    image = body.add("Pad", image, body.integers(0, 0, 0, 0, 0, 1), lowest)
    windows = body.add("Gather", image, body.constant(places), axis=2)
    greatest = body.add("ReduceMax", windows, body.integers(3), keepdims=0)
    body.reshaped(greatest, (batch, channels, *output), to="y")
    which = body.add("ArgMax", windows, axis=3, keepdims=1)
    table = body.add(
        "Expand", body.constant(flat), body.integers(batch, channels, *places.shape)
    )
    found = body.add("GatherElements", table, which, axis=3)
    offsets = np.arange(batch * channels).reshape(batch, channels, 1, 1) * pixels
    found = body.add("Add", found, body.constant(offsets))
    body.reshaped(found, (batch, channels, *output), to="y1")
    return body


def define_conv_transpose(node: ir.Node) -> Body | None:
    """A given output size becomes the pads, or the output padding, that make it."""
    wanted = node.attributes.get("output_shape")
    shape, weights = static_shape(node.inputs[0]), static_shape(node.inputs[1])
    if wanted is None or shape is None or weights is None:
        return None
    sizes = list(wanted.as_ints())[-(len(shape) - 2) :]
    count = len(sizes)
    strides = node.attributes.get_ints("strides", [1] * count)
    dilations = node.attributes.get_ints("dilations", [1] * count)
    padding = list(node.attributes.get_ints("output_padding", [0] * count))
    upper = node.attributes.get_string("auto_pad", "NOTSET") == "SAME_UPPER"
    pads = [0] * (2 * count)
    for d, size in enumerate(sizes):
        reach = (weights[d + 2] - 1) * dilations[d] + 1
        total = strides[d] * (shape[d + 2] - 1) + padding[d] + reach - size
        if total < 0:
            padding[d] -= total
            total = 0
        pads[d] = total // 2 if upper else total - total // 2
        pads[count + d] = total - pads[d]
    kept = {
        name: ir.serde.serialize_attribute(attribute)
        for name, attribute in node.attributes.items()
        if name not in ("output_shape", "auto_pad", "pads", "output_padding")
    }
    body = Body()
    inputs = [f"i{k}" for k, value in enumerate(node.inputs) if value is not None]
    body.add("ConvTranspose", *inputs, to="y", pads=pads, output_padding=padding)
    body.nodes[-1].attribute.extend(kept.values())
    return body


#: Expanding a determinant by rows takes size! products.
_LARGEST_DETERMINANT = 4


def define_det(node: ir.Node) -> Body | None:
    """Determinants of small matrices, expanded by their first rows."""
    shape = static_shape(node.inputs[0])
    if shape is None or shape[-1] > _LARGEST_DETERMINANT:
        return None
    body = Body()
    size = shape[-1]
    rows = body.several("Split", ["i0"], size, axis=-2, num_outputs=size)
    elements = []
    for row in rows:
        flat = body.reshaped(row, (*shape[:-2], size))
        elements.append(body.several("Split", [flat], size, axis=-1, num_outputs=size))
    total = _determinant(body, elements, list(range(size)))
    body.reshaped(total, shape[:-2], to="y")
    return body


def _determinant(body: Body, rows: list[list[str]], columns: list[int]) -> str:
    """Of the rows' elements in these columns."""
    if len(columns) == 1:
        return rows[0][columns[0]]
    total = ""
    for k, column in enumerate(columns):
        minor = _determinant(body, rows[1:], columns[:k] + columns[k + 1 :])
        product = body.add("Mul", rows[0][column], minor)
        if not total:
            total = product
        else:
            total = body.add("Sub" if k % 2 else "Add", total, product)
    return total


def _is_used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()
