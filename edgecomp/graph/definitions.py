"""Definitions of operators that onnx describes in words only.

    QLinearConv(x, .., w, .., y_scale, y_zero, b)
        =>  DequantizeLinear x 2 or 3, Conv, QuantizeLinear

The quantized forms become QDQ, whose integer meaning docs/numerics.md fixes.
"""

from collections.abc import Callable

import onnx
import onnx_ir as ir
from onnx.helper import make_node

from edgecomp.graph.body import Body
from edgecomp.graph.definitions_convolution import define_conv_integer, define_conv_transpose
from edgecomp.graph.definitions_deform import define_deform_conv
from edgecomp.graph.definitions_einsum import define_einsum
from edgecomp.graph.definitions_fourier import define_dft, define_stft
from edgecomp.graph.definitions_indexing import (
    define_col2im,
    define_compress,
    define_one_hot,
    define_reverse_sequence,
    define_tensor_scatter,
)
from edgecomp.graph.definitions_other import define_det, define_dropout, define_eye_like
from edgecomp.graph.definitions_pool import define_max_pool, define_max_unpool
from edgecomp.graph.microsoft.definitions import DOMAIN
from edgecomp.graph.microsoft.definitions import define as define_microsoft
from edgecomp.graph.shapes import static_shape

_Body = list[onnx.NodeProto]


def defined_function(node: ir.Node, version: int) -> onnx.FunctionProto | None:
    """The definition of a node as a function of its inputs, None where there is none."""
    if node.domain not in ("", "ai.onnx", DOMAIN):
        return None
    body = _body_of(node)
    if body is None:
        return None
    return onnx.helper.make_function(
        "",
        node.op_type,
        [f"i{index}" for index in range(len(node.inputs))],
        ["y", *(f"y{index}" for index in range(1, len(node.outputs)))],
        body,
        [onnx.helper.make_opsetid("", version)],
    )


def _body_of(node: ir.Node) -> _Body | None:
    define = _DEFINITIONS.get(node.op_type)
    if define is not None and node.domain != DOMAIN:
        return define(node)
    write = define_microsoft if node.domain == DOMAIN else _BODIES.get(node.op_type)
    written = write(node) if write else None
    return None if written is None else written.nodes


def _qlinear_matmul(node: ir.Node) -> _Body | None:
    """One scale each, or one per column; rows with scales of their own have no QDQ form here."""
    if any(_elements(node, index) != 1 for index in (1, 2, 6, 7)):
        return None
    shape = static_shape(node.inputs[3])
    if shape is None:
        return None
    if _elements(node, 4) == 1:
        b = _dequantize("b", "i3", "i4", "i5")
    elif _elements(node, 4) == _elements(node, 5) == shape[-1]:
        b = _dequantize_columns("b", "i3", "i4", "i5", len(shape) - 1)
    else:
        return None
    return [
        *_dequantize("a", "i0", "i1", "i2"),
        *b,
        make_node("MatMul", ["a", "b"], ["product"]),
        *_quantize("product", "i6", "i7"),
    ]


#: Behind x, w and y, each with a scale and a zero point.
_QLINEAR_BIAS = 8


def _qlinear_conv(node: ir.Node) -> _Body | None:
    if any(_elements(node, index) != 1 for index in (1, 2, 6, 7)):
        return None
    inputs, bias = ["x", "w"], []
    if len(node.inputs) > _QLINEAR_BIAS and node.inputs[_QLINEAR_BIAS] is not None:
        scale = "bias_scale" if _elements(node, 4) == 1 else "bias_scale_all"
        # The axis counts only where there is one scale per channel.
        bias = [
            make_node("Mul", ["i1", "i4"], ["bias_scale_all"]),
            make_node("Squeeze", ["bias_scale_all"], ["bias_scale"]),
            make_node("DequantizeLinear", ["i8", scale], ["b"], axis=0),
        ]
        inputs.append("b")
    convolution = make_node("Conv", inputs, ["product"])
    convolution.attribute.extend(
        ir.serde.serialize_attribute(attribute) for attribute in node.attributes.values()
    )
    return [
        *_dequantize("x", "i0", "i1", "i2"),
        *_qlinear_weights(node),
        *bias,
        convolution,
        *_quantize("product", "i6", "i7"),
    ]


def _qlinear_weights(node: ir.Node) -> _Body:
    """Dequantize by one scale and zero point, or by one of the two per channel, or both."""
    if _elements(node, 4) == _elements(node, 5) == 1:
        return _dequantize("w", "i3", "i4", "i5")
    return [
        make_node("Shape", ["i3"], ["channels"], start=0, end=1),
        make_node("Expand", ["i4", "channels"], ["w_scale"]),
        make_node("Expand", ["i5", "channels"], ["w_zero"]),
        make_node("DequantizeLinear", ["i3", "w_scale", "w_zero"], ["w"], axis=0),
    ]


def _dequantize(result: str, stored: str, scale: str, zero: str) -> _Body:
    """Dequantize by one scale, which may be declared as a scalar or as [1]."""
    return [
        make_node("Squeeze", [scale], [f"{result}_scale"]),
        make_node("Squeeze", [zero], [f"{result}_zero"]),
        make_node("DequantizeLinear", [stored, f"{result}_scale", f"{result}_zero"], [result]),
    ]


def _dequantize_columns(result: str, stored: str, scale: str, zero: str, axis: int) -> _Body:
    """Dequantize by one scale per index of an axis; the scales may have more dimensions."""
    return [
        make_node("Constant", [], [f"{result}_flat"], value_ints=[-1]),
        make_node("Reshape", [scale, f"{result}_flat"], [f"{result}_scale"]),
        make_node("Reshape", [zero, f"{result}_flat"], [f"{result}_zero"]),
        make_node(
            "DequantizeLinear",
            [stored, f"{result}_scale", f"{result}_zero"],
            [result],
            axis=axis,
        ),
    ]


def _quantize(value: str, scale: str, zero: str) -> _Body:
    return [
        make_node("Squeeze", [scale], ["y_scale"]),
        make_node("Squeeze", [zero], ["y_zero"]),
        make_node("QuantizeLinear", [value, "y_scale", "y_zero"], ["y"]),
    ]


def _lp_normalization(node: ir.Node) -> _Body:
    """``x / norm(x)`` along an axis; 0 where the norm is 0."""
    axis = node.attributes.get_int("axis", -1)
    norm = "ReduceL1" if node.attributes.get_int("p", 2) == 1 else "ReduceL2"
    return [
        make_node("Constant", [], ["axes"], value_ints=[axis]),
        make_node(norm, ["i0", "axes"], ["norm"], keepdims=1),
        make_node("Constant", [], ["float_zero"], value_float=0.0),
        make_node("Constant", [], ["float_one"], value_float=1.0),
        make_node("CastLike", ["float_zero", "i0"], ["zero"]),
        make_node("CastLike", ["float_one", "i0"], ["one"]),
        make_node("Equal", ["norm", "zero"], ["nothing"]),
        make_node("Where", ["nothing", "one", "norm"], ["divisor"]),
        make_node("Div", ["i0", "divisor"], ["y"]),
    ]


def _elements(node: ir.Node, index: int) -> int | None:
    """Elements of an input; None where they are not known."""
    shape = static_shape(node.inputs[index])
    if shape is None:
        return None
    count = 1
    for extent in shape:
        count *= extent
    return count


_DEFINITIONS: dict[str, Callable[[ir.Node], _Body | None]] = {
    "LpNormalization": _lp_normalization,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
}
_BODIES: dict[str, Callable[[ir.Node], Body | None]] = {
    "Col2Im": define_col2im,
    "Compress": define_compress,
    "ConvInteger": define_conv_integer,
    "ConvTranspose": define_conv_transpose,
    "DFT": define_dft,
    "DeformConv": define_deform_conv,
    "Det": define_det,
    "Dropout": define_dropout,
    "Einsum": define_einsum,
    "EyeLike": define_eye_like,
    "MaxPool": define_max_pool,
    "MaxUnpool": define_max_unpool,
    "OneHot": define_one_hot,
    "ReverseSequence": define_reverse_sequence,
    "STFT": define_stft,
    "TensorScatter": define_tensor_scatter,
}
