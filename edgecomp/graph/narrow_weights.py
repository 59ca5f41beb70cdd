"""Weights that a model keeps in floats of 16 or 8 bits, and that its products read as they are.

    Conv(x, Cast(w16 [M, C, KH, KW], to float), b)
    MatMul(x, DequantizeLinear(w8 [K, N], scale [N], axis = 1))
    Gemm(x, Cast(w16), b)

A Cast of constants is computed when the model is built everywhere else; here it stays, since
kernels widen such weights in registers and the file is the smaller for it.
"""

import dataclasses

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, is_constant
from edgecomp.graph.match import is_operator, producer

#: Operators that take weights as their second input, and the ranks that they may have.
_RANKS = {"Conv": (3, 4), "MatMul": (2,), "Gemm": (2,)}
HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
BYTES = (ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT8E5M2)


@dataclasses.dataclass(frozen=True, eq=False)
class NarrowWeights:
    """Weights of a product.

    Attributes:
        numbers: in the type and shape that the model keeps.
        scale: float32, one for each output; None for 1.
    """

    numbers: AnyArray
    scale: AnyArray | None = None


def narrow_weights(product: ir.Node) -> NarrowWeights | None:
    """The weights of a product in the type that the model keeps them in; None for any others."""
    if not is_operator(product, *_RANKS) or len(product.inputs) < 2:
        return None
    widening = producer(product.inputs[1], "Cast", "DequantizeLinear")
    if widening is None or not is_narrow_weight(widening):
        return None
    numbers = constant_array(widening.inputs[0])
    if numbers is None or widening.op_type == "Cast":
        return None if numbers is None else NarrowWeights(numbers)
    scale = constant_array(widening.inputs[1])
    assert scale is not None
    outputs = numbers.shape[output_axis(product)]
    return NarrowWeights(numbers, np.broadcast_to(scale.reshape(-1), (outputs,)).copy())


def is_narrow_weight(node: ir.Node) -> bool:
    """Whether a node widens weights that products alone read, as their weights."""
    if not (_is_cast(node) or _is_scaled(node)) or node.outputs[0].is_graph_output():
        return False
    uses = list(node.outputs[0].uses())
    return bool(uses) and all(_takes(use.node, use.idx, node) for use in uses)


def widened(value: ir.Value | None) -> AnyArray | None:
    """float32 numbers of a Cast of constants of 16 bits; None for any other value."""
    cast = producer(value, "Cast")
    if cast is None or not _is_cast(cast):
        return None
    stored = constant_array(cast.inputs[0])
    return None if stored is None else stored.astype(np.float32)


def has_narrow_weights(model: ir.Model) -> bool:
    """Whether any product of the main graph has such weights."""
    return any(
        is_operator(node, "Cast", "DequantizeLinear") and is_narrow_weight(node)
        for node in model.graph
    )


def _is_cast(node: ir.Node) -> bool:
    """Whether a node makes float32 of constants of 16 bits."""
    source = node.inputs[0] if node.inputs else None
    return (
        is_operator(node, "Cast")
        and source is not None
        and source.dtype in HALVES
        and is_constant(source)
        and node.attributes.get_int("to", 0) == ir.DataType.FLOAT
    )


def _is_scaled(node: ir.Node) -> bool:
    """Whether a node makes float32 of finite constants of 8 bits and usable scales."""
    source = node.inputs[0] if node.inputs else None
    if (
        not is_operator(node, "DequantizeLinear")
        or source is None
        or source.dtype not in BYTES
    ):
        return False
    numbers, scale = constant_array(source), constant_array(node.inputs[1])
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    if numbers is None or scale is None or scale.dtype != np.float32 or scale.ndim > 1:
        return False
    if node.attributes.get_int("block_size", 0):
        return False
    if zero is not None:
        points = constant_array(zero)
        if points is None or points.astype(np.float32).any():
            return False
    # Sums start from the bias over the scale.
    usable = (scale >= _LEAST_SCALE) & (scale <= 1 / _LEAST_SCALE)
    return bool(usable.all() and np.isfinite(numbers.astype(np.float32)).all())


#: Scales outside of this and one over it are not moved behind the sums.
_LEAST_SCALE = 2.0**-64


def output_axis(product: ir.Node) -> int:
    """Axis of the weights that the outputs have."""
    if product.op_type == "Conv":
        return 0
    turned = product.op_type == "Gemm" and product.attributes.get_int("transB", 0) != 0
    return 0 if turned else 1


def _takes(node: ir.Node, index: int, widening: ir.Node) -> bool:
    if index != 1 or not is_operator(node, *_RANKS):
        return False
    stored, x = constant_array(widening.inputs[0]), node.inputs[0]
    if stored is None or stored.ndim not in _RANKS[node.op_type]:
        return False
    if x is None or is_constant(x):
        return False
    if widening.op_type == "Cast":
        return True
    scale = constant_array(widening.inputs[1])
    axis = widening.attributes.get_int("axis", 1) % stored.ndim
    return scale is not None and (scale.size == 1 or axis == output_axis(node))
