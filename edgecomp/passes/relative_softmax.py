"""Store the weights of attention relative to the greatest of their row.

    w = Softmax(s);  y = DQ(Q(w)) @ v
      becomes
    e = Exp(s - ReduceMax(s));  y = (DQ(Q(e)) @ v) / ReduceSum(e)

Weights of a long row are small wherever none of them stands out: of 512 alike each is 1/512, half
a step of 8 bits for 0 to 1. Relative to the greatest they use all 256 numbers in each row, and
their range is known without calibration. Zhang et al., "SageAttention" (ICLR 2025), store them so.
"""

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import new_initializer
from edgecomp.graph.edit import insert_behind, new_node, only_reader, replace_node
from edgecomp.graph.match import producer
from edgecomp.graph.names import unused_name

#: The step of numbers from 0 to 1 in 8 bits without a sign, whose zero is 0.
_STEP = np.float32(1.0 / 255.0)
#: The first version whose ReduceMax has its axes as an input.
_LEAST_OPSET = 18


def relate_weights(model: ir.Model, products: Iterable[ir.Node]) -> int:
    """Rewrite the quantized products whose first operand a softmax along its rows makes.

    Left alone: softmaxes that something else reads too, and models of older operator sets.

    Args:
        model: quantized; rewritten.
        products: MatMuls of two quantized values in its graph.

    Returns:
        How many there were.
    """
    if model.opset_imports.get("", 0) < _LEAST_OPSET:
        return 0
    found = [(product, parts) for product in products if (parts := _parts_of(product))]
    if not found:
        return 0
    parameters = [
        new_initializer(model.graph, f"exponentials_{what}", np.array(number))
        for what, number in (("scale", _STEP), ("zero_point", np.uint8(0)), ("axes", [-1]))
    ]
    for product, (softmax, *stored) in found:
        _rewrite(softmax, product, parameters[2])
        for node in stored:
            node.replace_input_with(1, parameters[0])
            node.replace_input_with(2, parameters[1])
    return len(found)


def _parts_of(product: ir.Node) -> tuple[ir.Node, ir.Node, ir.Node] | None:
    """The Softmax, QuantizeLinear and DequantizeLinear that make a product's first operand."""
    read = producer(product.inputs[0], "DequantizeLinear")
    store = None if read is None else producer(read.inputs[0], "QuantizeLinear")
    softmax = None if store is None else producer(store.inputs[0], "Softmax")
    if read is None or store is None or softmax is None:
        return None
    for node, reader in ((softmax, store), (store, read), (read, product)):
        if only_reader(node.outputs[0]) is not reader:
            return None
    shape = softmax.outputs[0].shape
    last = -1 if shape is None else len(shape) - 1
    is_along_rows = softmax.attributes.get_int("axis", -1) in (-1, last)
    return (softmax, store, read) if is_along_rows else None


def _rewrite(softmax: ir.Node, product: ir.Node, axes: ir.Value) -> None:
    """Exponentials for the softmax, and their sums as what the product is divided by."""
    graph, scores, weights = softmax.graph, softmax.inputs[0], softmax.outputs[0]
    assert isinstance(graph, ir.Graph)
    row = None if weights.shape is None else ir.Shape([*weights.shape[:-1], 1])

    def reduction(operator: str, value: ir.Value | None) -> ir.Node:
        keeps: dict[str, object] = {"keepdims": 1}
        node = new_node(graph, operator, [value, axes], like=softmax, attributes=keeps)
        node.name, node.outputs[0].shape = f"{softmax.name}_{operator}", row
        return node

    greatest = reduction("ReduceMax", scores)
    difference = new_node(graph, "Sub", [scores, greatest.outputs[0]], like=softmax)
    difference.name = f"{softmax.name}_Sub"
    exponential = new_node(graph, "Exp", difference.outputs, like=softmax)
    total = reduction("ReduceSum", exponential.outputs[0])
    softmax.prepend([greatest, difference])
    name = f"{weights.name}_exponentials"
    replace_node(softmax, exponential)
    exponential.outputs[0].name = unused_name(graph, name)
    exponential.append(total)
    insert_behind(product, "Div", total.outputs[0], name=f"{product.name}_Div")
