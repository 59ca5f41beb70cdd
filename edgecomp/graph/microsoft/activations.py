"""Activations, and products with an activation behind them."""

import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.microsoft.call import Call

_CONVOLUTION = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def define_gelu(node: ir.Node) -> Body:
    """``Gelu(x)``."""
    body = Call(node)
    body.add("Gelu", "i0", to="y")
    return body


def define_bias_gelu(node: ir.Node) -> Body:
    """``Gelu(a + b)``."""
    body = Call(node)
    body.add("Gelu", body.add("Add", "i0", "i1"), to="y")
    return body


def define_fast_gelu(node: ir.Node) -> Body:
    """``Gelu(x + bias)`` by tanh."""
    body = Call(node)
    x = body.add("Add", "i0", "i1") if body.has(1) else "i0"
    body.add("Gelu", x, approximate="tanh", to="y")
    return body


def define_quick_gelu(node: ir.Node) -> Body:
    """``x * Sigmoid(alpha * x)``."""
    body = Call(node)
    gate = body.add("Sigmoid", body.scaled("i0", body.number("alpha", 1.702)))
    body.add("Mul", "i0", gate, to="y")
    return body


def define_fused_conv(node: ir.Node) -> Body | None:
    """``activation(Conv(x, w, b) + z)``."""
    body = Call(node)
    inputs = ["i0", "i1", "i2"] if body.has(2) else ["i0", "i1"]
    result = body.with_attributes("Conv", *inputs, attributes=body.kept(*_CONVOLUTION))
    if body.has(3):
        result = body.add("Add", result, "i3")
    parameters = list(node.attributes.get_floats("activation_params", []))
    return body if _activate(body, result, parameters) else None


def define_fused_gemm(node: ir.Node) -> Body | None:
    """``activation(Gemm(a, b, c))``."""
    body = Call(node)
    inputs = ["i0", "i1", "i2"] if body.has(2) else ["i0", "i1"]
    kept = body.kept("alpha", "beta", "transA", "transB")
    result = body.with_attributes("Gemm", *inputs, attributes=kept)
    return body if _activate(body, result, _parameters(body)) else None


def define_fused_matmul(node: ir.Node) -> Body | None:
    """``alpha * MatMul(a', b')``, either side transposed; a batch may lie behind the rows."""
    body = Call(node)
    a = _turned(body, 0, "transA", "transBatchA")
    b = _turned(body, 1, "transB", "transBatchB")
    if a is None or b is None:
        return None
    activated = "activation" in node.attributes
    product = body.add("MatMul", a, b)
    alpha = body.number("alpha", 1.0)
    if not activated:
        body.scaled(product, alpha, to="y")
        return body
    return body if _activate(body, body.scaled(product, alpha), _parameters(body)) else None


def _turned(body: Call, index: int, columns: str, batch: str) -> str | None:
    """An operand with its rows and columns at the end, in this order."""
    shape = body.shape(index)
    if shape is None:
        return None
    order = list(range(len(shape)))
    if body.integer(batch, 0) and len(shape) > 2:
        order = [*order[1:-1], 0, order[-1]]  # [rows, batch.., columns]
    if body.integer(columns, 0) and len(shape) > 1:
        order[-2], order[-1] = order[-1], order[-2]
    if order == sorted(order):
        return f"i{index}"
    return body.transposed(f"i{index}", *order)


def _parameters(body: Call) -> list[float]:
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    return [body.number(name, 0.0) for name in names if name in body.node.attributes]


def _activate(body: Call, x: str, parameters: list[float]) -> bool:
    """Write the activation of ``x`` to the result; False where it is not known."""
    name = body.node.attributes.get_string("activation", "")
    if name == "Clip" and len(parameters) >= 2:
        low, high = (body.like(value, x) for value in parameters[:2])
        body.add("Clip", x, low, high, to="y")
    elif name in ("LeakyRelu", "Elu", "ThresholdedRelu", "HardSigmoid"):
        names = ("alpha", "beta")[: 2 if name == "HardSigmoid" else 1]
        given = dict(zip(names, parameters, strict=False))
        body.add(name, x, to="y", **given)
    elif name in ("Relu", "Tanh", "Sigmoid", "Softplus", "Softsign", "HardSwish", "Gelu"):
        body.add(name, x, to="y")
    elif name in ("", "Identity"):
        body.add("Identity", x, to="y")
    else:
        return False
    return True
