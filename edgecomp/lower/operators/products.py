"""Gemm and MatMul: products with a constant matrix, and of two activations."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.packed_weights import packed_weights
from edgecomp.lower.operators.movement import reinterpret, transpose_last_two
from edgecomp.lower.reader import (
    Reader,
    attribute_float,
    attribute_int,
    constant_input,
    optional_input,
    weights_input,
)
from edgecomp.plan.products import BatchMatrixMultiply, MatrixMultiply, PackedMatrixMultiply

_EMPTY = "an operand has no elements"


def read_gemm(reader: Reader, node: ir.Node) -> str:
    """``alpha * A' * B' + beta * C`` with B and C constant."""
    if _emit_packed(reader, node):
        return ""
    (weight, scale), bias = weights_input(node), constant_input(node, 2)
    if weight is None:
        return "B is computed at run time"
    if bias is None and optional_input(node, 2) is not None:
        return "C is computed at run time"
    a = reader.input(node, 0)
    if a.dtype != "float32":
        return f"element type {a.dtype}"
    if 0 in (*a.shape, *weight.shape):
        return _EMPTY
    if attribute_int(node, "transB", 0):
        weight = weight.T
    columns = weight.shape[1]
    beta = np.float32(attribute_float(node, "beta", 1.0))
    bias = np.zeros(columns, np.float32) if bias is None else beta * bias
    if bias.ndim == 2 and bias.shape[0] != 1:
        return "C has one row per row of A"
    if attribute_int(node, "transA", 0):
        a = transpose_last_two(reader, a, node)
    alpha = np.float32(attribute_float(node, "alpha", 1.0))
    if alpha != 1:
        weight = alpha * weight.astype(np.float32) * (1 if scale is None else scale)
        scale = None
    inputs = [
        a,
        reader.new_constant(f"{node.name}.weight", weight),
        reader.new_constant(
            f"{node.name}.bias", np.broadcast_to(bias.reshape(-1), (columns,)).copy()
        ),
    ]
    kind = MatrixMultiply(weight_scale=scale)
    reader.emit(kind, inputs, [reader.value(node.outputs[0])], [node])
    return ""


def read_matmul(reader: Reader, node: ir.Node) -> str:
    """MatMul by numpy's rules."""
    if _emit_packed(reader, node):
        return ""
    a, b = reader.input(node, 0), reader.input(node, 1)
    if a.dtype != "float32":
        return f"element type {a.dtype}"
    if 0 in (*a.shape, *b.shape):
        return _EMPTY
    output = reader.value(node.outputs[0])
    weight, scale = weights_input(node)
    if weight is not None and weight.ndim == 2 and len(a.shape) >= 2:
        bias = np.zeros(weight.shape[1], np.float32)
        constants = [
            reader.new_constant(f"{node.name}.weight", weight),
            reader.new_constant(f"{node.name}.bias", bias),
        ]
        kind = MatrixMultiply(weight_scale=scale)
        reader.emit(kind, [a, *constants], [output], [node])
        return ""
    if len(a.shape) > 1 and len(b.shape) > 1:
        reader.emit(BatchMatrixMultiply(), [a, b], [output], [node])
        return ""
    # A vector on the left is a row, on the right a column.
    rows = (1,) if len(a.shape) == 1 else (a.shape[-2],)
    columns = (1,) if len(b.shape) == 1 else (b.shape[-1],)
    batch = output.shape[: len(output.shape) - (len(a.shape) > 1) - (len(b.shape) > 1)]
    if len(a.shape) == 1:
        a = reinterpret(reader, a, (1, *a.shape), node)
    if len(b.shape) == 1:
        b = reinterpret(reader, b, (*b.shape, 1), node)
    product = reader.new_value(
        f"{output.name}.matrix", (*batch, *rows, *columns), output.dtype
    )
    reader.emit(BatchMatrixMultiply(), [a, b], [product], [node])
    reinterpret(reader, product, output.shape, node, output)
    return ""


def _emit_packed(reader: Reader, node: ir.Node) -> bool:
    """The product from weights as they are stored; False where they are no such weights."""
    weights = packed_weights(node)
    if weights is None:
        return False
    columns = weights.numbers.shape[1]
    bias, scales = np.zeros(columns, np.float32), weights.scales
    if node.op_type == "Gemm":
        added = constant_input(node, 2)
        if added is None and optional_input(node, 2) is not None:
            return False
        if added is not None and (added.ndim == 2 and added.shape[0] != 1):
            return False
        scales = np.float32(attribute_float(node, "alpha", 1.0)) * scales
        beta = np.float32(attribute_float(node, "beta", 1.0))
        if added is not None:
            bias = np.broadcast_to(beta * added.reshape(-1), (columns,)).copy()
    a, output = reader.input(node, 0), reader.value(node.outputs[0])
    if 0 in (*a.shape, *weights.numbers.shape):
        return False
    name = node.name
    constants = [
        reader.new_constant(f"{name}.numbers", weights.numbers),
        reader.new_constant(f"{name}.scales", scales),
        reader.new_constant(f"{name}.zeros", weights.zeros),
        reader.new_constant(f"{name}.bias", bias),
    ]
    kind = PackedMatrixMultiply(bits=weights.bits, block=weights.block)
    words = kind.scratch_words(len(weights.numbers))
    own = reader.new_value(f"{name}.scratch", (words,), "float32")
    reader.emit(kind, [a, *constants], [output, own], [node])
    return True


TABLE = {"Gemm": read_gemm, "MatMul": read_matmul}
