"""What all that reads a value makes of it, where that is one function of each of its numbers.

x -> Gelu                   =>   Gelu
x -> Sigmoid -> Mul(x, .)   =>   x * Sigmoid(x)
"""

import onnx_ir as ir

from edgecomp.graph.edit import only_reader
from edgecomp.graph.match import is_operator
from edgecomp.graph.unary import Real, Unary, unary_function, variable_input


def function_of(value: ir.Value) -> Unary | None:
    """The function that alone reads a value; None where anything else does as well."""
    if value.is_graph_output():
        return None
    readers = [use.node for use in value.uses()]
    if any(node.graph is not value.graph for node in readers):
        return None
    if len(readers) == 1:
        return _unary(readers[0], value)
    if len(readers) == 2:
        for gate, product in (readers, reversed(readers)):
            if product_with_argument(gate) is product:
                return _gated(_unary(gate, value))
    return None


def gated_product(gate: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """The Mul that alone reads what a node makes, and what it multiplies that by."""
    product = only_reader(gate.outputs[0])
    if product is None or not is_operator(product, "Mul"):
        return None
    (other,) = (value for value in product.inputs if value is not gate.outputs[0])
    return None if other is None else (product, other)


def product_with_argument(gate: ir.Node) -> ir.Node | None:
    """The Mul that alone reads what a function makes, and multiplies its argument by that."""
    found = gated_product(gate)
    return found[0] if found is not None and found[1] is variable_input(gate) else None


def gated_function(gate: ir.Node) -> Unary | None:
    """A number times what the gate makes of it; None where the gate is no function of one."""
    return _gated(unary_function(gate))


def _unary(node: ir.Node, value: ir.Value) -> Unary | None:
    function = unary_function(node)
    return function if function is not None and variable_input(node) is value else None


def _gated(gate: Unary | None) -> Unary | None:
    if gate is None:
        return None

    def product(x: Real) -> Real:
        return x * gate(x)

    return product
