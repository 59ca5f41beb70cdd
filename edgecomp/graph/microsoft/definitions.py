"""Which operators of com.microsoft are known, and what writes their definitions."""

import re
from collections.abc import Callable

import onnx_ir as ir

from edgecomp.errors import EdgecompError
from edgecomp.graph.body import Body
from edgecomp.graph.microsoft import (
    activations,
    attention,
    normalization,
    packed,
    products,
    recurrent,
)
from edgecomp.graph.microsoft import quantized as q
from edgecomp.graph.shapes import shape_conflict

DOMAIN = "com.microsoft"
#: onnxruntime keeps these in the standard domain, where ONNX has other names for them.
MISPLACED = frozenset({"SimplifiedLayerNormalization"})

DEFINITIONS: dict[str, Callable[[ir.Node], Body | None]] = {
    "Attention": attention.define_attention,
    "BiasGelu": activations.define_bias_gelu,
    "DequantizeLinear": q.define_dequantize_linear,
    "DynamicQuantizeLSTM": recurrent.define_dynamic_quantize_lstm,
    "DynamicQuantizeMatMul": products.define_dynamic_quantize_matmul,
    "EmbedLayerNormalization": normalization.define_embed_layer_normalization,
    "FastGelu": activations.define_fast_gelu,
    "FusedConv": activations.define_fused_conv,
    "FusedGemm": activations.define_fused_gemm,
    "FusedMatMul": activations.define_fused_matmul,
    "FusedMatMulActivation": activations.define_fused_matmul,
    "Gelu": activations.define_gelu,
    "GroupQueryAttention": attention.define_group_query_attention,
    "MatMulIntegerToFloat": products.define_matmul_integer_to_float,
    "MatMulNBits": packed.define_matmul_nbits,
    "MultiHeadAttention": attention.define_multi_head_attention,
    "QAttention": attention.define_quantized_attention,
    "QGemm": q.define_qgemm,
    "QLinearAdd": q.define_qlinear_add,
    "QLinearAveragePool": q.define_qlinear_average_pool,
    "QLinearConcat": q.define_qlinear_concat,
    "QLinearGlobalAveragePool": q.define_qlinear_global_average_pool,
    "QLinearLeakyRelu": q.define_qlinear_leaky_relu,
    "QLinearMul": q.define_qlinear_mul,
    "QLinearReduceMean": q.define_qlinear_reduce_mean,
    "QLinearSigmoid": q.define_qlinear_sigmoid,
    "QLinearSoftmax": q.define_qlinear_softmax,
    "QLinearWhere": q.define_qlinear_where,
    "QuantizeLinear": q.define_quantize_linear,
    "QuickGelu": activations.define_quick_gelu,
    "RotaryEmbedding": attention.define_rotary_embedding,
    "SimplifiedLayerNormalization": normalization.define_simplified,
    "SkipLayerNormalization": normalization.define_skip_layer_normalization,
    "SkipSimplifiedLayerNormalization": normalization.define_skip_simplified,
}


def define(node: ir.Node) -> Body | None:
    """The definition of a node of this domain, None where there is none of its form.

    Raises:
        EdgecompError: SHAPE_CONFLICT where the node is none that onnxruntime would run: ONNX's
            checker does not know these operators, so that nobody looked before.
    """
    write = DEFINITIONS.get(node.op_type)
    try:
        body = write(node) if write else None
    except (ArithmeticError, AssertionError, LookupError, ValueError) as error:
        raise _conflict(
            node, f"has inputs or attributes that do not fit: {_inputs(node)}"
        ) from error
    known = {f"i{index}" for index in range(len(node.inputs))}
    read = {name for each in body.nodes for name in each.input} if body else set()
    missing = sorted(name for name in read - known if re.fullmatch(r"i\d+", name))
    if missing:
        raise _conflict(node, f"has no input {missing[0][1:]}")
    return body


def _conflict(node: ir.Node, what: str) -> EdgecompError:
    cause = f"{node.op_type} of {node.domain} {what}"
    return shape_conflict(node, cause, "run the model in onnxruntime, or export it again")


def _inputs(node: ir.Node) -> str:
    texts = [f"{each.name} {each.dtype} {each.shape or '?'}" for each in node.inputs if each]
    return ", ".join(texts)


def is_known(domain: str, operator: str) -> bool:
    """Whether an operator has a definition here."""
    return domain == DOMAIN and operator in DEFINITIONS


def adopt_misplaced(model: ir.Model) -> None:
    """Give onnxruntime's additions to the standard domain a domain of their own."""
    adopted = False
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain in ("", "ai.onnx") and node.op_type in MISPLACED:
            node.domain = DOMAIN
            adopted = True
        adopted = adopted or node.domain == DOMAIN
    if adopted:
        model.opset_imports.setdefault(DOMAIN, 1)
