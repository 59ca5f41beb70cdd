"""The one function that reads a value."""

import numpy as np
import pytest
from helpers.graphs import Graph

from edgecomp.graph.arguments import (
    function_of,
    gated_function,
    gated_product,
    product_with_argument,
)

X = np.linspace(-6.0, 6.0, 25)


@pytest.fixture
def graph():
    return Graph(20)


@pytest.fixture
def x(graph):
    return graph("Relu", graph.input("x", (4, 5)))


def found(graph, x, *results):
    """The function of the value with the name, in a graph with these results."""
    model = graph.model(*results)
    (value,) = (v for node in model.graph for v in node.outputs if v.name == x)
    return function_of(value)


def test_of_one_reader(graph, x):
    function = found(graph, x, graph("HardSigmoid", x))
    expected = np.clip(0.2 * X + 0.5, 0.0, 1.0)
    np.testing.assert_allclose(function(X), expected, atol=1e-7)  # its factor is a float32


@pytest.mark.parametrize("turned", [False, True])
def test_of_a_gate_and_its_product(graph, x, turned):
    gate = graph("Sigmoid", x)
    function = found(graph, x, graph("Mul", *((gate, x) if turned else (x, gate))))
    np.testing.assert_allclose(function(X), X / (1.0 + np.exp(-X)), rtol=1e-12)


def test_none_where_something_else_reads_it_too(graph, x):
    gate = graph("Sigmoid", x)
    assert found(graph, x, graph("Mul", x, gate), graph("Neg", x)) is None


def test_none_where_the_gate_is_read_elsewhere(graph, x):
    gate = graph("Sigmoid", x)
    assert found(graph, x, graph("Mul", x, gate), graph("Neg", gate)) is None


def test_none_of_a_result(graph, x):
    assert found(graph, x, graph("Gelu", x), x) is None


def test_none_of_operators_that_are_no_functions_of_one_number(graph, x):
    assert found(graph, x, graph("Softmax", x)) is None
    assert found(graph, x, graph("Mul", x, x)) is None


def test_none_of_a_slope(graph, x):
    """PRelu varies with both of its inputs."""
    assert found(graph, x, graph("PRelu", graph.input("y", (4, 5)), x)) is None


def node_of(graph, operator, *results):
    (node,) = (n for n in graph.model(*results).graph if n.op_type == operator)
    return node


def test_what_multiplies_a_gate(graph, x):
    gate = node_of(graph, "HardSigmoid", graph("Mul", x, graph("HardSigmoid", x)))
    product, other = gated_product(gate)
    assert (product.op_type, other) == ("Mul", gate.inputs[0])
    expected = X * np.clip(0.2 * X + 0.5, 0.0, 1.0)
    np.testing.assert_allclose(gated_function(gate)(X), expected, atol=1e-6)


def test_nothing_multiplies_what_is_no_gate(graph, x):
    assert (
        gated_product(node_of(graph, "Sigmoid", graph("Add", x, graph("Sigmoid", x)))) is None
    )
    gate = graph("Tanh", x)
    assert gated_product(node_of(graph, "Tanh", graph("Mul", gate, gate))) is None


@pytest.mark.parametrize("turned", [False, True])
def test_the_product_of_a_function_and_its_argument(graph, x, turned):
    gate = graph("Sigmoid", x)
    node = node_of(graph, "Sigmoid", graph("Mul", *((gate, x) if turned else (x, gate))))
    (use,) = node.outputs[0].uses()
    assert product_with_argument(node) is use.node


def test_no_product_with_its_argument_where_it_multiplies_something_else(graph, x):
    y = graph("Mul", graph("Neg", x), graph("Sigmoid", x))
    node = node_of(graph, "Sigmoid", y)
    assert gated_product(node) is not None
    assert product_with_argument(node) is None


def test_no_function_of_several_numbers(graph, x):
    gate = node_of(graph, "Softmax", graph("Mul", x, graph("Softmax", x)))
    assert gated_function(gate) is None
