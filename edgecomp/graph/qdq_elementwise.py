"""Recognize sums, products of activations, averages and functions of one value."""

from collections.abc import Callable

import onnx_ir as ir

from edgecomp.graph.arguments import gated_function, gated_product
from edgecomp.graph.integer import (
    Float32Array,
    Requantization,
    add_weights,
    average_multiplier,
    lookup_table,
    requantize_multiplier,
    wide_add_weights,
)
from edgecomp.graph.integer_operators import (
    IntegerAverage,
    IntegerMultiply,
    IntegerOperator,
    IntegerSum,
    QuantizedTensor,
    StoredTable,
)
from edgecomp.graph.integer_rules import (
    AVERAGES,
    FUNCTIONS,
    average_axes,
    average_count,
    is_function,
)
from edgecomp.graph.qdq_tensors import (
    Ending,
    Refusal,
    activation_of,
    dequantize_of,
    required_ending,
)
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.unary import unary_function, variable_input
from edgecomp.graph.windows import window_of

#: The largest number of 16-bit values whose sum is sure to fit in int32.
_MAXIMUM_WIDE_COUNT = (2**31 - 1) // 2**15


def _sum(node: ir.Node) -> IntegerOperator:
    if is_function(node):
        return _function(node)
    a, b = (activation_of(value) for value in node.inputs)
    ending = required_ending(node.outputs[0])
    affines = (a.affine, b.affine, ending.output.affine)
    subtracts = node.op_type == "Sub"
    if any(affine.is_wide for affine in affines):
        weights = wide_add_weights(*affines, subtract=subtracts)
    else:
        weights = add_weights(*(affine.scale for affine in affines), subtract=subtracts)
    return IntegerSum(
        node=node, nodes=(node, *ending.nodes), inputs=(a, b), output=ending.output,
        result=ending.output.value, weights=weights,
        requantization=_requantization(ending, weights.multiplier),
    )  # fmt: skip


def _multiply(node: ir.Node) -> IntegerOperator:
    if is_function(node):
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


def _average(node: ir.Node) -> IntegerAverage:
    x = activation_of(node.inputs[0])
    shape = static_shape(node.inputs[0])
    assert shape is not None
    count = average_count(node)
    ending = required_ending(node.outputs[0])
    if x.affine.is_wide or ending.output.affine.is_wide:
        if node.op_type == "AveragePool":
            raise Refusal("averages over windows of 16-bit values have no integer form")
        if count > _MAXIMUM_WIDE_COUNT:
            raise Refusal("its accumulator could overflow int32")
    multiplier = average_multiplier(x.affine.scale, count, ending.output.affine.scale)
    window, axes = None, None
    if node.op_type == "AveragePool":
        window = window_of(node, shape, tuple(node.attributes.get_ints("kernel_shape")))
    else:
        axes = average_axes(node)
    return IntegerAverage(
        node=node, nodes=(node, *ending.nodes), inputs=(x,), output=ending.output,
        result=ending.output.value, axes=axes or (), window=window, count=count,
        keep_dimensions=node.attributes.get_int("keepdims", 1) != 0,
        requantization=_requantization(ending, multiplier),
    )  # fmt: skip


def _function(node: ir.Node) -> StoredTable:
    x = activation_of(variable_input(node))
    product = _product_of_gate(node, x)
    function = unary_function(node) if product is None else gated_function(node)
    if function is None:
        raise Refusal("it is no function of one variable")
    last, nodes = (node, (node,)) if product is None else (product, (node, product))
    ending = required_ending(last.outputs[0])
    if x.affine.is_wide or ending.output.affine.is_wide:
        raise Refusal("functions of 16-bit values are computed in float32")
    table = lookup_table(function, x.affine, ending.output.affine, ending.low, ending.high)
    return StoredTable(
        node=last, nodes=(*nodes, *ending.nodes), inputs=(x,), output=ending.output,
        result=ending.output.value, table=table,
    )  # fmt: skip


def _product_of_gate(node: ir.Node, x: QuantizedTensor) -> ir.Node | None:
    """The product of a stored value and what a function makes of the same value alone."""
    found = gated_product(node)
    if found is None or dequantize_of(found[1]) is None:
        return None
    other = activation_of(found[1])
    return found[0] if other.value is x.value and other.affine == x.affine else None


def _requantization(ending: Ending, multiplier: Float32Array) -> Requantization:
    affine = ending.output.affine
    return Requantization(multiplier, affine.zero_point, ending.low, ending.high, affine.dtype)


BUILDERS: dict[str, Callable[[ir.Node], IntegerOperator]] = {
    **dict.fromkeys(FUNCTIONS, _function),
    **dict.fromkeys(AVERAGES, _average),
    "Add": _sum,
    "Mul": _multiply,
    "Sub": _sum,
}
