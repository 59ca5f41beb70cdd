"""Scale and shift the output channels of a product: shared by the folds into weights.

``y[m] = scale[m] * (sum_k W[m, k] x[k] + b[m]) + shift[m]`` is the same layer with
``W' = scale * W`` and ``b' = scale * b + shift``. Computed in float64, rounded once.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.edit import set_constant_input
from edgecomp.graph.match import is_operator
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.canonicalize_products import is_canonical_gemm

PRODUCTS = ("Conv", "ConvTranspose", "Gemm")


def output_channels(node: ir.Node) -> int | None:
    """Channels of a product with constant weights and bias, None where it is no such node."""
    if not is_operator(node, *PRODUCTS) or constant_array(node.inputs[1]) is None:
        return None
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and constant_array(bias) is None:
        return None
    if node.op_type == "Gemm" and not is_canonical_gemm(node):
        return None
    shape = static_shape(node.outputs[0])
    return None if shape is None else shape[1]


def scale_output_channels(
    node: ir.Node, scale: AnyArray | None, shift: AnyArray | None
) -> None:
    """Fold a scale and a shift into weights and bias.

    Args:
        node: Conv, ConvTranspose or canonical Gemm with constant weights (``output_channels``).
        scale: float64 [channels], or None for 1.
        shift: float64 [channels], or None for 0.
    """
    weight = constant_array(node.inputs[1])
    assert weight is not None
    if scale is not None:
        scaled = weight.astype(np.float64) * _along_outputs(node, weight, scale)
        set_constant_input(node, 1, scaled.astype(weight.dtype))
    old = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    if old is None and shift is None:
        return
    channels = output_channels(node)
    assert channels is not None
    bias = np.zeros(channels) if old is None else old.astype(np.float64).reshape(channels)
    if scale is not None:
        bias = bias * scale
    if shift is not None:
        bias = bias + shift
    name = f"{node.inputs[1].name}_bias" if node.inputs[1] is not None else ""
    set_constant_input(node, 2, bias.astype(weight.dtype), name=name)


def _along_outputs(node: ir.Node, weight: AnyArray, scale: AnyArray) -> AnyArray:
    """The scale in a shape that broadcasts over the weight's output channels."""
    if node.op_type == "Gemm":
        return scale.reshape(1, -1)
    spatial = (1,) * (weight.ndim - 2)
    if node.op_type == "Conv":
        return scale.reshape(-1, 1, *spatial)
    # ConvTranspose: weight [C, M / groups, ...], input channel c belongs to group c // (C / g).
    groups = node.attributes.get_int("group", 1)
    per_group = scale.reshape(groups, 1, -1)
    rows = np.repeat(per_group, weight.shape[0] // groups, axis=1)
    return rows.reshape(weight.shape[0], -1, *spatial)


def per_channel(array: AnyArray, shape: tuple[int, ...], axis: int) -> AnyArray | None:
    """A constant that varies along one axis of ``shape`` only, as float64 [shape[axis]].

    None where it varies along another axis or would broadcast the value itself.
    """
    if array.ndim > len(shape):
        return None
    aligned = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    for position, extent in enumerate(aligned.shape):
        if extent != 1 and (position != axis or extent != shape[axis]):
            return None
    vector = aligned.reshape(-1).astype(np.float64)
    return np.broadcast_to(vector, (shape[axis],))
