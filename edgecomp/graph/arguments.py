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
            if is_operator(product, "Mul") and only_reader(gate.outputs[0]) is product:
                return _gated(_unary(gate, value))
    return None


def _unary(node: ir.Node, value: ir.Value) -> Unary | None:
    function = unary_function(node)
    return function if function is not None and variable_input(node) is value else None


def _gated(gate: Unary | None) -> Unary | None:
    if gate is None:
        return None

    def product(x: Real) -> Real:
        return x * gate(x)

    return product
