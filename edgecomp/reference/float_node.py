"""Evaluate one ONNX node: edges and convolutions in numpy, all others by onnx's evaluator."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.bodies import bodies, captured_values, is_control_flow
from edgecomp.graph.constants import constant_array
from edgecomp.graph.evaluate import evaluate_node
from edgecomp.graph.integer import AnyArray, dequantize, quantize
from edgecomp.graph.reference_operators import CORRECTED
from edgecomp.graph.source import source_of
from edgecomp.graph.windows import window_of
from edgecomp.reference.control_flow import run_control_flow
from edgecomp.reference.windows import convolve


def evaluate(
    node: ir.Node,
    arrays: Mapping[ir.Value, AnyArray],
    opset_imports: Mapping[str, int],
    functions: tuple[onnx.FunctionProto, ...] = (),
) -> list[AnyArray]:
    """Outputs of a node.

    Args:
        node: of the main graph.
        arrays: contents of the values it and its subgraphs read; constants may be left out.
        opset_imports: domain -> version.
        functions: functions of the model that the node may call.
    """
    if node.domain == "" and node.op_type in _NUMPY:
        result = _NUMPY[node.op_type](
            node, [_contents(value, arrays) for value in node.inputs]
        )
        if result is not None:
            return [result]
    if is_control_flow(node):
        return run_control_flow(
            node, arrays, lambda inner, known: evaluate(inner, known, opset_imports, functions)
        )
    if bodies(node):
        return _evaluate_with_context(node, arrays, opset_imports, functions)
    if any(function.domain == node.domain for function in functions):
        return _evaluate_with_context(node, arrays, opset_imports, functions)
    inputs = [_contents(value, arrays) for value in node.inputs]
    outputs = evaluate_node(node, inputs, opset_imports)
    if outputs is None:
        raise EdgecompError(
            Code.OPERATOR_UNSUPPORTED,
            f"neither onnx nor onnxruntime can compute {node.op_type}",
            node=node.name or "",
            source=source_of(node),
        )
    results = iter(outputs)
    return [next(results) if value.name else np.zeros(0) for value in node.outputs]


def read_inside(node: ir.Node) -> list[ir.Value]:
    """Values of the graph around a node that its bodies read."""
    return list(
        dict.fromkeys(value for body in bodies(node) for value in captured_values(body))
    )


def _evaluate_with_context(
    node: ir.Node,
    arrays: Mapping[ir.Value, AnyArray],
    opset_imports: Mapping[str, int],
    functions: tuple[onnx.FunctionProto, ...],
) -> list[AnyArray]:
    """A node that runs subgraphs or functions: a model of its own around it."""
    from onnx.reference import ReferenceEvaluator

    needed = dict.fromkeys([*node.inputs, *read_inside(node)])
    feeds = {
        value.name or "": _contents(value, arrays) for value in needed if value is not None
    }
    outputs = [value.name for value in node.outputs if value.name]
    graph = onnx.helper.make_graph(
        [ir.serde.serialize_node(node)],
        "node",
        [onnx.ValueInfoProto(name=name) for name in feeds],
        [onnx.ValueInfoProto(name=name) for name in outputs],
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid(*item) for item in opset_imports.items()],
        functions=functions,
    )
    with np.errstate(all="ignore"):
        results = ReferenceEvaluator(model, new_ops=CORRECTED).run(outputs, feeds)
    found = dict(zip(outputs, results, strict=True))
    return [np.asarray(found[v.name]) if v.name else np.zeros(0) for v in node.outputs]


def _contents(value: ir.Value | None, arrays: Mapping[ir.Value, AnyArray]) -> Any:
    if value is None:
        return None
    array = arrays.get(value)
    return constant_array(value) if array is None else array


def _convolution(node: ir.Node, inputs: list[Any]) -> AnyArray:
    """Float Conv accumulated in float64."""
    x, weight = inputs[:2]
    window = window_of(node, x.shape, weight.shape[2:])
    total = convolve(x, weight, window, node.attributes.get_int("group", 1))
    if len(inputs) > 2 and inputs[2] is not None:
        total += inputs[2].astype(np.float64).reshape(1, -1, *[1] * (x.ndim - 2))
    return total.astype(x.dtype)


def _integer_convolution(node: ir.Node, inputs: list[Any]) -> AnyArray:
    """ConvInteger: sums of products of bytes, which float64 holds exactly."""
    x, weight = (_centred(inputs, index) for index in (0, 1))
    window = window_of(node, x.shape, weight.shape[2:])
    total = convolve(x, weight, window, node.attributes.get_int("group", 1))
    return total.astype(np.int32)


def _integer_product(_node: ir.Node, inputs: list[Any]) -> AnyArray | None:
    """MatMulInteger, likewise; numpy multiplies matrices of floats faster than of integers."""
    if any(point is not None and point.size != 1 for point in inputs[2:]):
        return None
    a, b = (_centred(inputs, index) for index in (0, 1))
    product: AnyArray = np.matmul(a, b).astype(np.int32)
    return product


def _centred(inputs: list[Any], index: int) -> AnyArray:
    """An operand of an integer product less its zero point, in float64."""
    stored: AnyArray = inputs[index].astype(np.float64)
    point = inputs[index + 2] if len(inputs) > index + 2 else None
    if point is None:
        return stored
    along = [-1, *[1] * (stored.ndim - 1)] if point.size > 1 else [1] * stored.ndim
    centred: AnyArray = stored - point.astype(np.float64).reshape(along)
    return centred


def _quantize(node: ir.Node, inputs: list[Any]) -> AnyArray | None:
    x, scale = inputs[:2]
    zero = inputs[2] if len(inputs) > 2 else None
    named = node.attributes.get_int("output_dtype", 0)
    if zero is not None:
        dtype = zero.dtype
    else:
        dtype = ir.DataType(named).numpy() if named else np.dtype(np.uint8)
    if not _is_plain(node, x, scale, dtype):
        return None
    zero = np.zeros((), dtype) if zero is None else zero
    shape = _broadcast_shape(node, x, scale)
    return quantize(x, scale.reshape(shape), zero.astype(np.float64).reshape(shape), dtype)


def _dequantize(node: ir.Node, inputs: list[Any]) -> AnyArray | None:
    x, scale = inputs[:2]
    zero = inputs[2] if len(inputs) > 2 else None
    if not _is_plain(node, scale, scale, x.dtype):
        return None
    zero = np.zeros(scale.shape, np.int64) if zero is None else zero
    shape = _broadcast_shape(node, x, scale)
    return dequantize(x, scale.reshape(shape), zero.reshape(shape))


def _is_plain(node: ir.Node, real: AnyArray, scale: AnyArray, dtype: np.dtype[Any]) -> bool:
    """Whether the formulas of docs/numerics.md cover the node: float32 and whole bytes."""
    if node.attributes.get_int("block_size", 0) != 0 or scale.ndim > 1:
        return False
    floats = real.dtype == np.float32 and scale.dtype == np.float32
    # Of numpy's own: constants of a file have their byte order stated, and are no builtin ones.
    return floats and dtype.kind in "iu" and np.dtype(dtype.type).isbuiltin == 1


def _broadcast_shape(node: ir.Node, x: AnyArray, scale: AnyArray) -> list[int]:
    if scale.size == 1:
        return [1] * x.ndim
    axis = node.attributes.get_int("axis", 1) % x.ndim
    return [-1 if d == axis else 1 for d in range(x.ndim)]


_NUMPY: dict[str, Any] = {
    "Conv": _convolution,
    "ConvInteger": _integer_convolution,
    "DequantizeLinear": _dequantize,
    "MatMulInteger": _integer_product,
    "QuantizeLinear": _quantize,
}
