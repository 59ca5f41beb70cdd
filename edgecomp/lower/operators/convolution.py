"""Conv with constant weights."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.windows import window_of
from edgecomp.lower.operators.windows import emit_on_image, image_pads, pair, window_refusal
from edgecomp.lower.reader import (
    Reader,
    attribute_int,
    constant_input,
    optional_input,
    weights_input,
)
from edgecomp.plan.products import Convolution


def read_convolution(reader: Reader, node: ir.Node) -> str:
    """Conv on float32 images or sequences."""
    weight, scale = weights_input(node)
    if weight is None:
        return "weights are computed at run time"
    bias = constant_input(node, 2)
    if bias is None and optional_input(node, 2) is not None:
        return "bias is computed at run time"
    x = reader.input(node, 0)
    if x.dtype != "float32":
        return f"element type {x.dtype}"
    window = window_of(node, x.shape, weight.shape[2:])
    if refusal := window_refusal(window):
        return refusal
    if weight.ndim == 3:
        weight = weight[:, :, None, :]
    if bias is None:
        bias = np.zeros(weight.shape[0], np.float32)
    constants = [
        reader.new_constant(f"{node.name}.weight", weight),
        reader.new_constant(f"{node.name}.bias", bias),
    ]
    kind = Convolution(
        strides=pair(window.strides, 1),
        dilations=pair(window.dilations, 1),
        pads=image_pads(window),
        groups=attribute_int(node, "group", 1),
        weight_scale=scale,
    )
    output = reader.value(node.outputs[0])
    emit_on_image(reader, node, x, constants, kind, [node], output)
    return ""


TABLE = {"Conv": read_convolution}
