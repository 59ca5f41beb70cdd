"""What Relax's importer may be given: operators whose results were compared with references.

The list and the exceptions come from the node tests of the ONNX package (1.23.2) run through
the fallback with apache-tvm 0.27; whatever is not in the list was never compared.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from edgecomp.graph.element_types import COMMON_TYPES
from edgecomp.graph.microsoft.definitions import is_known

COMPARED = frozenset(
    [
        "Abs",
        "Acos",
        "Acosh",
        "Add",
        "AffineGrid",
        "And",
        "ArgMax",
        "ArgMin",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "AveragePool",
        "BatchNormalization",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "Conv",
        "ConvTranspose",
        "Cos",
        "Cosh",
        "CumSum",
        "DepthToSpace",
        "DequantizeLinear",
        "Div",
        "Dropout",
        "DynamicQuantizeLinear",
        "Einsum",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "EyeLike",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Greater",
        "GreaterOrEqual",
        "GridSample",
        "GroupNormalization",
        "HardSigmoid",
        "HardSwish",
        "Hardmax",
        "Identity",
        "InstanceNormalization",
        "IsInf",
        "IsNaN",
        "LRN",
        "LayerNormalization",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "LogSoftmax",
        "LpPool",
        "MatMul",
        "MatMulInteger",
        "Max",
        "MaxPool",
        "Mean",
        "MeanVarianceNormalization",
        "Min",
        "Mish",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "PRelu",
        "Pad",
        "Pow",
        "QuantizeLinear",
        "RMSNormalization",
        "Reciprocal",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
        "Relu",
        "Reshape",
        "Resize",
        "RoiAlign",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Size",
        "Slice",
        "Softmax",
        "Softplus",
        "Softsign",
        "SpaceToDepth",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "Tile",
        "Transpose",
        "Trilu",
        "Unsqueeze",
        "Where",
        "Xor",
    ]
)


def refusal(model: onnx.ModelProto) -> str:
    """Why a single-node model must not be given to Relax, "" if it may."""
    (node,) = model.graph.node
    if is_known(node.domain, node.op_type):
        return (
            f"no implementation of this form of {node.op_type}: weights, scales and zero points "
            "have to be constant"
        )
    if node.domain not in ("", "ai.onnx"):
        return f"no implementation of domain {node.domain}"
    if node.op_type not in COMPARED:
        return "no implementation of this operator"
    if _has_empty(model):
        return "an operand or a result has no elements"
    for info in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        kind = getattr(info, "data_type", 0) or info.type.tensor_type.elem_type
        if kind and kind not in COMMON_TYPES:
            return f"element type {onnx.TensorProto.DataType.Name(kind).lower()}"
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    check = _CHECKS.get(node.op_type)
    return check(model, node, attributes) if check else ""


def _has_empty(model: onnx.ModelProto) -> bool:
    """Whether a tensor has an extent of 0, by which Relax divides. Optional inputs may be empty."""
    return any(
        value.type.tensor_type.HasField("shape")
        and any(
            d.HasField("dim_value") and not d.dim_value
            for d in value.type.tensor_type.shape.dim
        )
        for value in (*model.graph.input, *model.graph.output)
    )


_Check = Callable[[onnx.ModelProto, onnx.NodeProto, Mapping[str, Any]], str]


def _batch_normalization(
    _model: onnx.ModelProto, node: onnx.NodeProto, attributes: Mapping[str, Any]
) -> str:
    if attributes.get("training_mode", 0) or len([o for o in node.output if o]) > 1:
        return "batch normalisation in training mode"
    return ""


def _bit_shift(
    model: onnx.ModelProto, _node: onnx.NodeProto, _attributes: Mapping[str, Any]
) -> str:
    kind = model.graph.output[0].type.tensor_type.elem_type
    name = onnx.TensorProto.DataType.Name(kind).lower()
    return "" if name.startswith("uint") else "BitShift of signed integers"


def _dropout(
    _model: onnx.ModelProto, node: onnx.NodeProto, _attributes: Mapping[str, Any]
) -> str:
    return "dropout in training mode" if len(node.input) > len(("data", "ratio")) else ""


def _is_inf(
    _model: onnx.ModelProto, _node: onnx.NodeProto, attributes: Mapping[str, Any]
) -> str:
    both = attributes.get("detect_negative", 1) and attributes.get("detect_positive", 1)
    return "" if both else "IsInf of one sign"


def _one_output(
    _model: onnx.ModelProto, node: onnx.NodeProto, _attributes: Mapping[str, Any]
) -> str:
    return "optional outputs" if len([o for o in node.output if o]) > 1 else ""


def _mod(model: onnx.ModelProto, _node: onnx.NodeProto, attributes: Mapping[str, Any]) -> str:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    kind = model.graph.output[0].type.tensor_type.elem_type
    return "Mod of floats with fmod 0" if kind in floats and not attributes.get("fmod") else ""


def _roi_align(
    _model: onnx.ModelProto, _node: onnx.NodeProto, attributes: Mapping[str, Any]
) -> str:
    return "RoiAlign by maximum" if attributes.get("mode", b"avg") != b"avg" else ""


def _space_to_depth(
    _model: onnx.ModelProto, _node: onnx.NodeProto, attributes: Mapping[str, Any]
) -> str:
    return "SpaceToDepth in CRD mode" if attributes.get("mode", b"DCR") != b"DCR" else ""


def _resize(
    model: onnx.ModelProto, node: onnx.NodeProto, attributes: Mapping[str, Any]
) -> str:
    """Relax takes the ratio of the sizes for the scale.

    They differ where the output's size was rounded down.
    """
    if attributes.get("antialias", 0):
        return "antialiased resize"
    if attributes.get("exclude_outside", 0):
        return "resize with exclude_outside"
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    name = node.input[2] if len(node.input) > len(("X", "roi")) else ""
    scales = constants.get(name)
    if scales is None or not scales.size:
        return ""
    before, after = (
        np.array([d.dim_value for d in info.type.tensor_type.shape.dim], np.float64)
        for info in (model.graph.input[0], model.graph.output[0])
    )
    if scales.size != before.size or not np.allclose(before * scales, after, rtol=1e-6):
        return "resize whose scales do not give whole sizes"
    return ""


_CHECKS: dict[str, _Check] = {
    "BatchNormalization": _batch_normalization,
    "BitShift": _bit_shift,
    "Dropout": _dropout,
    "IsInf": _is_inf,
    "LayerNormalization": _one_output,
    "MaxPool": _one_output,
    "Mod": _mod,
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "SpaceToDepth": _space_to_depth,
}
