"""Decide which products are computed in integers whose scales are those of the moment."""

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.qspaces import store_weights, weight_scales, weight_space
from edgecomp.graph.constants import AnyArray, constant_array, is_one_row
from edgecomp.graph.packed_weights import weight_matrix
from edgecomp.passes.quantize_dynamically import IntegerMatrix
from edgecomp.passes.weight_scope import few_bit_products

_LARGEST_SUM = 2**31 - 1


def dynamic_products(graph: ir.Graph) -> dict[str, str]:
    """Operators of the main graph with constant weights -> why they stay as they are, or ""."""
    nodes = {node.name or "": node for node in graph}
    return {
        name: _reason(reason) if reason else dynamic_refusal(nodes[name])
        for name, reason in few_bit_products(graph).items()
    }


def dynamic_refusal(node: ir.Node) -> str:
    """Why a product with constant weights stays float, or ""."""
    matrix = weight_matrix(node)
    if len(matrix) * 255 * 127 > _LARGEST_SUM:
        return f"a sum of {len(matrix)} products could overflow int32"
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return ""
    bias = constant_array(value)
    if bias is None or not is_one_row(bias.shape, matrix.shape[1]):
        return "its bias is not one constant number per output"
    return ""


def dynamic_matrix(node: ir.Node) -> AnyArray:
    """The matrix of a product as integers have it: float32 [K, N], times what scales the result."""
    matrix = weight_matrix(node).astype(np.float32)
    if node.op_type == "Gemm":
        matrix = matrix * np.float32(node.attributes.get_float("alpha", 1.0))
    return matrix


def integer_matrix(matrix: AnyArray, bits: int, *, per_channel: bool) -> IntegerMatrix:
    """Weights rounded to nearest, with a scale per output or one for all."""
    space = weight_space(per_channel=per_channel, bits=bits)
    scales = weight_scales(matrix, 1, space)
    return IntegerMatrix(store_weights(matrix, scales, 1, space), scales)


def _reason(reason: str) -> str:
    """Convolutions have kernels, but a scale of the moment of an image gains little there."""
    if "convolutions" in reason:
        return "activations of convolutions are not quantized while the model runs"
    return reason
