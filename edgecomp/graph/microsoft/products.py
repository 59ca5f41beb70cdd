"""Integer products that end in floats: activations quantized while the model runs.

DynamicQuantizeMatMul(a, b)  =>  q, s, z = DynamicQuantizeLinear(a)
                                 Cast(MatMulInteger(q, b, z, z_b)) * (s * s_b) + bias
"""

import onnx
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.microsoft.call import Call


def define_dynamic_quantize_matmul(node: ir.Node) -> Body:
    """Float times int8 weights."""
    body = Call(node)
    stored, scale, zero = body.several("DynamicQuantizeLinear", ["i0"], 3)
    unit = body.add("Mul", scale, body.parameter(2))
    product = integer_product(body, stored, "i1", zero, "i3" if body.has(3) else "", unit)
    _add_bias(body, product, 4)
    return body


def define_matmul_integer_to_float(node: ir.Node) -> Body:
    """Quantized activations times int8 weights."""
    body = Call(node)
    unit = body.add("Mul", body.parameter(2), body.parameter(3))
    zeros = (body.parameter(4), body.parameter(5))
    _add_bias(body, integer_product(body, "i0", "i1", *zeros, unit), 6)
    return body


def integer_product(
    body: Call, a: str, b: str, zero_a: str, zero_b: str, unit: str, to: str = ""
) -> str:
    """``float(MatMulInteger(a, b, zero_a, zero_b)) * unit``; zero points may be ""."""
    inputs = [a, b, zero_a, zero_b]
    while not inputs[-1]:
        inputs.pop()
    total = body.add("MatMulInteger", *inputs)
    real = body.add("Cast", total, to_type=onnx.TensorProto.FLOAT)
    return body.add("Mul", real, unit, to=to)


def _add_bias(body: Call, product: str, index: int) -> None:
    if body.has(index):
        body.add("Add", product, f"i{index}", to="y")
    else:
        body.add("Identity", product, to="y")
