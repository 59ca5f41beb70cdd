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
    unit = body.add("Mul", scale, _flat_scale(body, 2))
    product = integer_product(body, stored, "i1", zero, "i3" if body.has(3) else "", unit)
    _add_bias(body, product, 4)
    return body


def define_matmul_integer_to_float(node: ir.Node) -> Body:
    """Quantized activations times int8 weights."""
    body = Call(node)
    scale = body.scalar(2) if body.elements(2) == 1 else "i2"
    unit = body.add("Mul", scale, _flat_scale(body, 3))
    zeros = [f"i{index}" if body.has(index) else "" for index in (4, 5)]
    if zeros[0] and body.elements(4) == 1:
        zeros[0] = body.scalar(4)
    if zeros[1] and body.elements(5) == 1:
        zeros[1] = body.scalar(5)
    _add_bias(body, integer_product(body, "i0", "i1", zeros[0], zeros[1], unit), 6)
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


def _flat_scale(body: Call, index: int) -> str:
    """One scale without dimensions, or one per column."""
    return body.scalar(index) if body.elements(index) == 1 else f"i{index}"


def _add_bias(body: Call, product: str, index: int) -> None:
    if body.has(index):
        body.add("Add", product, f"i{index}", to="y")
    else:
        body.add("Identity", product, to="y")
