"""Forms of convolution that become a plain one."""

import onnx
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.constants import is_constant
from edgecomp.graph.shapes import static_shape


def define_conv_integer(node: ir.Node) -> Body | None:
    """Conv in float64, which holds every sum of products of bytes exactly.

    Constant weights stay: integer kernels compute with them.
    """
    rank = len(static_shape(node.inputs[0]) or ())
    weight_zero = node.inputs[3] if len(node.inputs) > len(("x", "w", "x_zero")) else None
    known = is_constant(node.inputs[1]) and (weight_zero is None or is_constant(weight_zero))
    if known and rank in (3, 4):
        return None
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
