"""Recognize sums, products of activations, averages and functions of one value."""

import math
from collections.abc import Callable

import onnx_ir as ir

from edgecomp.graph.constants import constant_array
from edgecomp.graph.integer import (
    Float32Array,
    Requantization,
    add_weights,
    average_multiplier,
    lookup_table,
    requantize_multiplier,
)
from edgecomp.graph.integer_operators import (
    IntegerAverage,
    IntegerMultiply,
    IntegerOperator,
    IntegerSum,
    QuantizedTensor,
    StoredTable,
)
from edgecomp.graph.qdq_tensors import Ending, Refusal, activation_of, required_ending
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.unary import unary_function, variable_input
from edgecomp.graph.windows import Window, window_of

_INT32_MAXIMUM = 2**31 - 1


def _sum(node: ir.Node) -> IntegerOperator:
    if unary_function(node) is not None:
        return _function(node)
    a, b = (activation_of(value) for value in node.inputs)
    ending = required_ending(node.outputs[0])
    weights = add_weights(
        a.affine.scale, b.affine.scale, ending.output.affine.scale,
        subtract=node.op_type == "Sub",
    )  # fmt: skip
    return IntegerSum(
        node=node, nodes=(node, *ending.nodes), inputs=(a, b), output=ending.output,
        result=ending.output.value, weights=weights,
        requantization=_requantization(ending, weights.multiplier),
    )  # fmt: skip


def _multiply(node: ir.Node) -> IntegerOperator:
    if unary_function(node) is not None:
        return _function(node)
    a, b = (activation_of(value) for value in node.inputs)
    ending = required_ending(node.outputs[0])
    multiplier = requantize_multiplier(
        a.affine.scale, b.affine.scale, ending.output.affine.scale
    )
    return IntegerMultiply(
        node=node, nodes=(node, *ending.nodes), inputs=(a, b), output=ending.output,
        result=ending.output.value, requantization=_requantization(ending, multiplier),
    )  # fmt: skip


def _global_average(node: ir.Node) -> IntegerAverage:
    x, shape = _image(node)
    axes = tuple(range(2, len(shape)))
    return _average(node, x, math.prod(shape[2:]), axes=axes)


def _reduce_mean(node: ir.Node) -> IntegerAverage:
    x, shape = _image(node)
    axes: list[int] = list(node.attributes.get_ints("axes") or [])
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        given = constant_array(node.inputs[1])
        if given is None:
            raise Refusal("its axes are not constant")
        axes = [int(axis) for axis in given.reshape(-1)]
    if not axes:
        if node.attributes.get_int("noop_with_empty_axes", 0):
            raise Refusal("it reduces nothing")
        axes = list(range(len(shape)))
    axes = sorted({axis % len(shape) for axis in axes})
    keep = bool(node.attributes.get_int("keepdims", 1))
    count = math.prod(shape[axis] for axis in axes)
    return _average(node, x, count, axes=tuple(axes), keep=keep)


def _average_pool(node: ir.Node) -> IntegerAverage:
    x, shape = _image(node)
    kernel = tuple(node.attributes.get_ints("kernel_shape"))
    window = window_of(node, shape, kernel)
    inside = not window.padded or bool(node.attributes.get_int("count_include_pad", 0))
    if not inside or not window.fits:
        raise Refusal("its windows at the border have another divisor")
    return _average(node, x, math.prod(kernel), window=window)


def _average(
    node: ir.Node,
    x: QuantizedTensor,
    count: int,
    *,
    axes: tuple[int, ...] = (),
    keep: bool = True,
    window: Window | None = None,
) -> IntegerAverage:
    if not 0 < count <= _INT32_MAXIMUM // 255:
        raise Refusal("its accumulator could overflow int32")
    ending = required_ending(node.outputs[0])
    multiplier = average_multiplier(x.affine.scale, count, ending.output.affine.scale)
    return IntegerAverage(
        node=node, nodes=(node, *ending.nodes), inputs=(x,), output=ending.output,
        result=ending.output.value, axes=axes, keep_dimensions=keep, window=window, count=count,
        requantization=_requantization(ending, multiplier),
    )  # fmt: skip


def _function(node: ir.Node) -> StoredTable:
    function = unary_function(node)
    if function is None:
        raise Refusal("it is no function of one variable")
    argument = variable_input(node)
    x = activation_of(argument)
    before, after = static_shape(x.value), static_shape(node.outputs[0])
    if before is not None and after is not None and before != after:
        raise Refusal("its constant changes the shape")
    ending = required_ending(node.outputs[0])
    table = lookup_table(function, x.affine, ending.output.affine, ending.low, ending.high)
    return StoredTable(
        node=node, nodes=(node, *ending.nodes), inputs=(x,), output=ending.output,
        result=ending.output.value, table=table,
    )  # fmt: skip


def _image(node: ir.Node) -> tuple[QuantizedTensor, tuple[int, ...]]:
    x = activation_of(node.inputs[0])
    shape = static_shape(x.value) or static_shape(node.inputs[0])
    if shape is None:
        raise Refusal("the shape of its input is not known")
    return x, shape


def _requantization(ending: Ending, multiplier: Float32Array) -> Requantization:
    affine = ending.output.affine
    return Requantization(multiplier, affine.zero_point, ending.low, ending.high, affine.dtype)


FUNCTIONS = [
    "Abs", "Atan", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish", "Neg", "PRelu", "Pow",
    "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign",
    "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
]  # fmt: skip

BUILDERS: dict[str, Callable[[ir.Node], IntegerOperator]] = {
    "Add": _sum,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "Mul": _multiply,
    "ReduceMean": _reduce_mean,
    "Sub": _sum,
    **dict.fromkeys(FUNCTIONS, _function),
}
