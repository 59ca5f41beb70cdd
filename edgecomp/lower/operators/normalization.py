"""Reductions, softmax, normalisation of layers and of instances."""

import math

import numpy as np
import onnx_ir as ir

from edgecomp.lower.operators.cast import as_float32, emit_cast
from edgecomp.lower.operators.chain import Chain
from edgecomp.lower.operators.movement import reshaped
from edgecomp.lower.reader import (
    Reader,
    attribute_float,
    attribute_int,
    attribute_ints,
    constant_input,
    normalize_axis,
    optional_input,
)
from edgecomp.plan.attention import Softmax
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.movement import Fill
from edgecomp.plan.reductions import LayerNorm, Reduce
from edgecomp.plan.values import Value

REDUCTIONS = [
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSum",
    "ReduceLogSumExp",
]
_EXACT_IN_FLOAT32 = frozenset({"bool", "int8", "uint8", "int16", "uint16"})


def read_reduce(reader: Reader, node: ir.Node) -> str:
    """Reduce operators of float32 over constant axes; of nothing at all in any type."""
    x, output = reader.input(node, 0), reader.value(node.outputs[0])
    if not x.elements:
        reader.emit(Fill(_of_nothing(node.op_type, output.dtype)), [], [output], [node])
        return ""
    extreme = node.op_type in ("ReduceMax", "ReduceMin")
    if x.dtype != "float32" and not (extreme and x.dtype in _EXACT_IN_FLOAT32):
        return f"element type {x.dtype}"
    if optional_input(node, 1) is not None and constant_input(node, 1) is None:
        return "axes are computed at run time"
    given = constant_input(node, 1)
    axes = attribute_ints(node, "axes", ()) if given is None else tuple(given.reshape(-1))
    if not axes:
        if attribute_int(node, "noop_with_empty_axes", 0):
            return "no axes"
        axes = tuple(range(len(x.shape)))
    kind = Reduce(
        operator=node.op_type,
        axes=tuple(sorted(normalize_axis(int(a), len(x.shape)) for a in axes)),
        keepdims=bool(attribute_int(node, "keepdims", 1)),
    )
    if x.dtype == "float32":
        reader.emit(kind, [x], [output], [node])
        return ""
    result = reader.new_value(f"{output.name}.float32", output.shape, "float32")
    reader.emit(kind, [as_float32(reader, node, x)], [result], [node])
    emit_cast(reader, node, result, output)
    return ""


def _of_nothing(operator: str, dtype: str) -> float | int:
    """The result of a reduction over no elements: neutral, so that it vanishes in a larger one."""
    if operator in ("ReduceMax", "ReduceMin"):
        least = operator == "ReduceMax"
        if dtype == "bool":
            return int(not least)
        if dtype.startswith(("int", "uint")):
            bounds = np.iinfo(dtype)
            return int(bounds.min if least else bounds.max)
        return -math.inf if least else math.inf
    floats = {"ReduceLogSum": -math.inf, "ReduceLogSumExp": -math.inf, "ReduceMean": math.nan}
    if operator in floats and "float" in dtype:
        return floats[operator]
    return 1 if operator == "ReduceProd" else 0


def read_softmax(reader: Reader, node: ir.Node) -> str:
    """Softmax and LogSoftmax; before opset 13 they flattened from ``axis`` on."""
    x = reader.input(node, 0)
    if x.dtype != "float32":
        return f"element type {x.dtype}"
    version = node.version or 13
    rank = len(x.shape)
    axis = normalize_axis(attribute_int(node, "axis", -1 if version >= 13 else 1), rank)
    if version < 13 and any(extent != 1 for extent in x.shape[axis + 1 :]):
        return "flattening softmax of opset 12 or earlier"
    kind = Softmax(axis, node.op_type == "LogSoftmax")
    reader.emit(kind, [x], [reader.value(node.outputs[0])], [node])
    return ""


def read_layer_norm(reader: Reader, node: ir.Node) -> str:
    """LayerNormalization with its first output only."""
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return "mean or inverse deviation is used"
    x = reader.input(node, 0)
    if x.dtype != "float32":
        return f"element type {x.dtype}"
    scale, bias = constant_input(node, 1), constant_input(node, 2)
    if scale is None or (bias is None and optional_input(node, 2) is not None):
        return "scale or bias is computed at run time"
    axis = normalize_axis(attribute_int(node, "axis", -1), len(x.shape))
    shape = x.shape[axis:]
    bias = np.zeros(shape, np.float32) if bias is None else bias
    constants = [
        reader.new_constant(f"{node.name}.scale", np.broadcast_to(scale, shape).copy()),
        reader.new_constant(f"{node.name}.bias", np.broadcast_to(bias, shape).copy()),
    ]
    kind = LayerNorm(axis, attribute_float(node, "epsilon", 1e-5))
    reader.emit(kind, [x, *constants], [reader.value(node.outputs[0])], [node])
    return ""


def read_instance_norm(reader: Reader, node: ir.Node) -> str:
    """``(x - mean) * (scale / sqrt(variance + epsilon)) + bias``, one pass after the other.

    The mean is taken off before anything is squared: what is left is small where the deviation is.
    """
    x, output = reader.input(node, 0), reader.value(node.outputs[0])
    if x.dtype != "float32":
        return f"element type {x.dtype}"
    rank = len(x.shape)
    each = (x.shape[1], *(1,) * (rank - 2))
    scale, bias = (reshaped(reader, reader.input(node, index), each, node) for index in (1, 2))
    axes = tuple(range(2, rank))
    few = (*x.shape[:2], *(1,) * (rank - 2))

    def value(name: str, shape: tuple[int, ...]) -> Value:
        return reader.new_value(f"{output.name}.{name}", shape, "float32")

    mean, variance, factor = (value(name, few) for name in ("mean", "variance", "factor"))
    deviation = value("deviation", x.shape)
    reader.emit(Reduce(operator="ReduceMean", axes=axes), [x], [mean], [node])
    difference = Chain(2)
    difference.add("Sub", 0, 1)
    reader.emit(Elementwise(tuple(difference.steps)), [x, mean], [deviation], [node])
    squares_of = Reduce(operator="ReduceMeanSquare", axes=axes)
    reader.emit(squares_of, [deviation], [variance], [node])
    divide = Chain(3)
    divide.add("Div", 1, divide.add("Sqrt", divide.add("Add", 0, 2)))
    epsilon = np.array(attribute_float(node, "epsilon", 1e-5), np.float32)
    inputs = [variance, scale, reader.new_constant(f"{node.name}.epsilon", epsilon)]
    reader.emit(Elementwise(tuple(divide.steps)), inputs, [factor], [node])
    finish = Chain(4)
    finish.add("Add", finish.add("Mul", finish.add("Sub", 0, 1), 2), 3)
    reader.emit(Elementwise(tuple(finish.steps)), [x, mean, factor, bias], [output], [node])
    return ""


TABLE = {
    **dict.fromkeys(REDUCTIONS, read_reduce),
    "Softmax": read_softmax,
    "LogSoftmax": read_softmax,
    "LayerNormalization": read_layer_norm,
    "InstanceNormalization": read_instance_norm,
}
