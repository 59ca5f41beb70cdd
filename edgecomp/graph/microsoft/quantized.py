"""The quantized operators: DequantizeLinear, the float operator, QuantizeLinear.

    QLinearAdd(a, b)  =>  QuantizeLinear(Add(DequantizeLinear(a), DequantizeLinear(b)))

docs/numerics.md says what integer arithmetic that form stands for.
"""

import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.microsoft.call import Call
from edgecomp.graph.shapes import static_shape

_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
#: Inputs of QLinearConcat come in threes behind the result's scale and zero point.
_CONCAT_FIRST, _CONCAT_EACH = 2, 3


def define_qlinear_add(node: ir.Node) -> Body:
    """Sum."""
    return _binary(node, "Add")


def define_qlinear_mul(node: ir.Node) -> Body:
    """Product."""
    return _binary(node, "Mul")


def _binary(node: ir.Node, operator: str) -> Body:
    body = Call(node)
    a, b = _dequantized(body, 0, 1, 2), _dequantized(body, 3, 4, 5)
    _quantize(body, body.add(operator, a, b), 6, 7)
    return body


def define_qlinear_sigmoid(node: ir.Node) -> Body:
    """Sigmoid."""
    body = Call(node)
    _quantize(body, body.add("Sigmoid", _dequantized(body, 0, 1, 2)), 3, 4)
    return body


def define_qlinear_leaky_relu(node: ir.Node) -> Body:
    """LeakyRelu."""
    body = Call(node)
    x = _dequantized(body, 0, 1, 2)
    _quantize(body, body.add("LeakyRelu", x, alpha=body.number("alpha", 0.01)), 3, 4)
    return body


def define_qlinear_softmax(node: ir.Node) -> Body | None:
    """Softmax; before opset 13 over all dimensions from the axis on."""
    body = Call(node)
    shape = body.shape(0)
    if shape is None:
        return None
    x, axis = _dequantized(body, 0, 1, 2), body.integer("axis", -1)
    if body.integer("opset", 13) >= 13:
        result = body.add("Softmax", x, axis=axis)
    else:
        flat = body.add("Flatten", x, axis=axis % len(shape))
        result = body.reshaped(body.add("Softmax", flat, axis=-1), shape)
    _quantize(body, result, 3, 4)
    return body


def define_qlinear_where(node: ir.Node) -> Body:
    """Where."""
    body = Call(node)
    x, y = _dequantized(body, 1, 2, 3), _dequantized(body, 4, 5, 6)
    _quantize(body, body.add("Where", "i0", x, y), 7, 8)
    return body


def define_qlinear_concat(node: ir.Node) -> Body:
    """Concat of tensors with scales of their own."""
    body = Call(node)
    first = range(_CONCAT_FIRST, len(node.inputs), _CONCAT_EACH)
    parts = [_dequantized(body, k, k + 1, k + 2) for k in first]
    _quantize(body, body.add("Concat", *parts, axis=body.integer("axis", 0)), 0, 1)
    return body


def define_qlinear_reduce_mean(node: ir.Node) -> Body:
    """ReduceMean."""
    body = Call(node)
    x = _dequantized(body, 0, 1, 2)
    axes = node.attributes.get_ints("axes", [])
    inputs = [x, body.integers(*axes)] if axes else [x]
    mean = body.add("ReduceMean", *inputs, keepdims=body.integer("keepdims", 1))
    _quantize(body, mean, 3, 4)
    return body


def define_qlinear_global_average_pool(node: ir.Node) -> Body | None:
    """GlobalAveragePool, of images with their channels last too."""
    body = Call(node)
    if not body.known(0):
        return None
    x = _channels_first(body, _dequantized(body, 0, 1, 2))
    _quantize(body, _channels_back(body, body.add("GlobalAveragePool", x)), 3, 4)
    return body


def define_qlinear_average_pool(node: ir.Node) -> Body | None:
    """AveragePool, of images with their channels last too."""
    body = Call(node)
    if not body.known(0):
        return None
    x = _channels_first(body, _dequantized(body, 0, 1, 2))
    pooled = body.with_attributes("AveragePool", x, attributes=body.kept(*_POOL))
    _quantize(body, _channels_back(body, pooled), 3, 4)
    return body


def define_qgemm(node: ir.Node) -> Body | None:
    """``alpha * A' * B' + C`` with C int32 in units of ``alpha * a_scale * b_scale``."""
    body = Call(node)
    if not body.known(0, 3, 4, 6) or body.elements(1) != 1:
        return None
    transposed = body.integer("transB", 0)
    per_column = body.elements(4) != 1
    # alpha belongs to the unit of the sum: then the product is a plain one.
    scale = _flat(body, 4) if per_column else body.scalar(4)
    scale = body.scaled(scale, body.number("alpha", 1.0))
    zero = _flat(body, 5) if per_column else body.scalar(5)
    b = body.add("DequantizeLinear", "i3", scale, zero, axis=0 if transposed else 1)
    inputs = [_dequantized(body, 0, 1, 2), b]
    if body.has(6):
        unit = body.add("Mul", body.scalar(1), scale)
        bias_shape = body.shape(6) or ()
        wide = per_column and len(bias_shape) > 1
        stored = body.add("Squeeze", "i6", body.integers(0)) if wide else "i6"
        if wide and bias_shape[0] != 1:
            return None
        inputs.append(body.add("DequantizeLinear", stored, unit, axis=0))
    attributes = body.kept("transA", "transB")
    last = body.has(7)
    result = body.with_attributes(
        "Gemm", *inputs, attributes=attributes, to="" if last else "y"
    )
    if last:
        _quantize(body, result, 7, 8)
    return body


def define_quantize_linear(node: ir.Node) -> Body:
    """QuantizeLinear as the standard has it since."""
    body = Call(node)
    if body.elements(1) == 1:
        _quantize(body, "i0", 1, 2)
    else:
        inputs = [f"i{k}" for k in range(3) if body.has(k)]
        body.add("QuantizeLinear", *inputs, axis=body.integer("axis", 1), to="y")
    return body


def define_dequantize_linear(node: ir.Node) -> Body:
    """DequantizeLinear as the standard has it since."""
    body = Call(node)
    if body.elements(1) == 1:
        body.add("Identity", _dequantized(body, 0, 1, 2), to="y")
    else:
        inputs = [f"i{k}" for k in range(3) if body.has(k)]
        body.add("DequantizeLinear", *inputs, axis=body.integer("axis", 1), to="y")
    return body


def _flat(body: Call, index: int) -> str:
    return body.reshaped(f"i{index}", (-1,))


def _dequantized(body: Call, stored: int, scale: int, zero: int) -> str:
    """A real value by one scale; the zero point may be absent."""
    inputs = [f"i{stored}", body.scalar(scale)]
    if body.has(zero):
        inputs.append(body.scalar(zero))
    return body.add("DequantizeLinear", *inputs)


def _quantize(body: Call, value: str, scale: int, zero: int) -> None:
    """The result by one scale, in the result's element type where no zero point says it."""
    if body.has(zero):
        body.add("QuantizeLinear", value, body.scalar(scale), body.scalar(zero), to="y")
        return
    kind = body.node.outputs[0].dtype or body.dtype(0)
    body.add("QuantizeLinear", value, body.scalar(scale), output_dtype=kind.value, to="y")


def _channels_first(body: Call, x: str) -> str:
    if not body.integer("channels_last", 0):
        return x
    rank = len(static_shape(body.node.inputs[0]) or ())
    return body.transposed(x, 0, rank - 1, *range(1, rank - 1))


def _channels_back(body: Call, x: str) -> str:
    if not body.integer("channels_last", 0):
        return x
    rank = len(static_shape(body.node.inputs[0]) or ())
    return body.transposed(x, 0, *range(2, rank), 1)
