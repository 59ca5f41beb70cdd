"""Recognize a MatMul of two quantized values, as in attention."""

import onnx_ir as ir

from edgecomp.graph.integer import EXACT_BITS, float_multiplier
from edgecomp.graph.integer_operators import QuantizedTensor, ValueProduct
from edgecomp.graph.qdq_tensors import Refusal, activation_of
from edgecomp.graph.shapes import static_shape


def value_product(node: ir.Node) -> ValueProduct:
    """The product of a MatMul whose operands both are dequantized values.

    Raises:
        Refusal: its sums may be beyond the integers that float32 holds, or have 16 bits.
    """
    a, b = (activation_of(value) for value in node.inputs)
    if a.constant is not None or b.constant is not None:
        raise Refusal("one of its operands is constant, and no matrix of weights")
    _check_reach(node, a, b)
    return ValueProduct(
        node=node, nodes=(node,), inputs=(a, b), output=None, result=node.outputs[0],
        multiplier=float_multiplier(a.affine.scale, b.affine.scale),
    )  # fmt: skip


def _check_reach(node: ir.Node, a: QuantizedTensor, b: QuantizedTensor) -> None:
    """Refuse where a sum may not be exact in float32, by which targets without a kernel add."""
    if a.affine.is_wide or b.affine.is_wide:
        raise Refusal("products of two 16-bit values are computed in float32")
    shape = static_shape(node.inputs[0])
    assert shape is not None
    depth = shape[-1]
    if depth * a.affine.steps * b.affine.steps >= 2**EXACT_BITS:
        raise Refusal(f"a sum of {depth} products may be beyond 2^{EXACT_BITS}")
