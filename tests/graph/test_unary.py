"""The float64 functions behind tables, against onnx's reference evaluator."""

import numpy as np
import pytest
from helpers.graphs import Graph
from onnx.reference import ReferenceEvaluator

from edgecomp.graph.unary import unary_function, variable_input

PLAIN = [
    "Abs",
    "Atan",
    "Ceil",
    "Cos",
    "Erf",
    "Exp",
    "Floor",
    "HardSwish",
    "Mish",
    "Neg",
    "Relu",
    "Round",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softplus",
    "Softsign",
    "Tanh",
]
ATTRIBUTES = [
    ("Celu", {"alpha": 0.7}),
    ("Celu", {}),
    ("Elu", {"alpha": 0.5}),
    ("Elu", {}),
    ("HardSigmoid", {"alpha": 0.25, "beta": 0.4}),
    ("HardSigmoid", {}),
    ("LeakyRelu", {"alpha": 0.1}),
    ("LeakyRelu", {}),
    ("Selu", {}),
    ("ThresholdedRelu", {"alpha": 0.5}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
]


def check(graph, result, positive=False):
    model = graph.model(result)
    node = next(n for n in model.graph if n.outputs[0].name == result)
    x = np.linspace(0.01 if positive else -6, 6, 101).astype(np.float32)
    (expected,) = ReferenceEvaluator(graph.proto(result)).run(None, {"x": x})
    found = unary_function(node)(x.astype(np.float64))
    assert variable_input(node).name == "x"
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("operator", PLAIN)
def test_functions(operator):
    graph = Graph(22)
    check(graph, graph(operator, graph.input("x", (101,))))


@pytest.mark.parametrize("operator", ["Log", "Sqrt", "Reciprocal"])
def test_functions_of_positive_numbers(operator):
    graph = Graph(22)
    check(graph, graph(operator, graph.input("x", (101,))), positive=True)


@pytest.mark.parametrize(("operator", "attributes"), ATTRIBUTES)
def test_functions_with_attributes(operator, attributes):
    graph = Graph(22)
    check(graph, graph(operator, graph.input("x", (101,)), **attributes))


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("first", [False, True])
def test_a_constant_of_one_element_makes_a_binary_operator_unary(operator, first):
    graph = Graph(22)
    operands = [graph.input("x", (101,)), np.array([1.5], np.float32)]
    result = graph(operator, *(operands[::-1] if first else operands))
    check(graph, result, positive=operator == "Div")


def test_power_and_clip():
    graph = Graph(22)
    check(graph, graph("Pow", graph.input("x", (101,)), np.array(2.0, np.float32)))
    graph = Graph(22)
    limits = np.array(-1.0, np.float32), np.array(2.5, np.float32)
    check(graph, graph("Clip", graph.input("x", (101,)), *limits))


def test_what_is_no_function_of_one_variable():
    graph = Graph(22)
    x, y = graph.input("x", (4,)), graph.input("y", (4,))
    per_channel = graph("Mul", x, np.ones(4, np.float32))
    both = graph("Add", per_channel, y)
    model = graph.model(graph("Softmax", both))
    assert [unary_function(node) for node in model.graph] == [None, None, None]
