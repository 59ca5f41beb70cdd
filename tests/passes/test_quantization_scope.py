"""What stays float, and why."""

import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.quantized import integer_types, quantized, scores

from edgecomp.calibrate.ranges import Range
from edgecomp.graph.integer_operators import (
    ValueProduct,
)
from edgecomp.graph.qdq import recognize


def convolution_graph(rng, **attributes):
    graph = Graph()
    x = graph.input("x", (1, 4, 6, 6))
    return graph, graph("Conv", x, normal(rng, 4, 4, 1, 1), name="first", **attributes)


@pytest.mark.parametrize(
    ("ranges", "reason"),
    [
        ({}, "the range of x was not observed"),
        ({"x": Range(0.0, float("nan"))}, "x became infinite or NaN while calibrating"),
    ],
)
def test_ranges_that_cannot_be_used(rng, ranges, reason):
    graph, output = convolution_graph(rng)
    result, each = quantized(graph.model(output), ranges=ranges)
    assert each.refusals == {"first": reason}
    assert integer_types(result) == ([], ["Conv"])


def test_weights_that_cannot_be_stored(rng):
    graph = Graph()
    x = graph.input("x", (2, 70000))
    outputs = [
        graph("MatMul", x, np.ones((70000, 1), "f4")),
        graph("MatMul", graph.input("y", (2, 3)), np.full((3, 1), np.inf, "f4")),
        graph("MatMul", graph.input("a", (2, 3)), graph.input("b", (3, 2))),
        graph("MatMul", graph.input("d", (5, 2, 3)), np.ones((5, 3, 2), "f4")),
        graph("Gemm", graph.input("c", (2, 3)), np.ones((3, 2), "f4"), alpha=2.0),
    ]
    ranges = {name: Range(-1.0, 1.0) for name in "xyabcd"}
    result, each = quantized(graph.model(*outputs), ranges=ranges)
    assert list(each.refusals.values()) == [
        "a sum of 70000 products could overflow int32",
        "its weights are not finite float32 numbers",
        "its sums of 3 products of two values are too few to gain",
        "its weights are not a matrix",
        "its alpha is not 1",
    ]
    assert integer_types(result)[0] == []


@pytest.mark.parametrize(
    ("depth", "options", "reason"),
    [
        (15, {}, "its sums of 15 products of two values are too few to gain"),
        (
            515,
            {},
            "its sums of 515 products of two values are too many to be exact in float32",
        ),
        (64, {"value_products": False}, "products of two values have no integer kernel"),
        (64, {"wide_activations": frozenset({"scores"})}, "products of two 16-bit values"),
    ],
)
def test_products_of_two_values_that_stay_float(depth, options, reason):
    ranges = {"a": Range(-1.0, 3.0), "b": Range(-0.5, 2.54)}
    _, each = quantized(scores(depth), ranges=ranges, **options)
    assert reason in each.refusals["scores"]


def test_the_longest_product_of_two_values_is_recognized():
    ranges = {"a": Range(-1.0, 0.0), "b": Range(-0.5, 2.54)}
    result, _ = quantized(scores(514), ranges=ranges)
    (product,) = (s for s in recognize(result.graph).steps if isinstance(s, ValueProduct))
    assert product.inputs[0].affine.zero_point == 255


@pytest.mark.parametrize("also", [False, True])
def test_a_function_in_front_of_the_first_product_has_integers_behind_it_alone(rng, also):
    graph = Graph()
    x = graph("Sigmoid", graph.input("x", (1, 4, 6, 6)), name="gate")
    y = graph("Conv", x, normal(rng, 4, 4, 1, 1))
    result, each = quantized(graph.model(*((y, x) if also else (y,))))
    assert each.refusals == {"gate": "no integer operator lies on both sides of it"}
    assert integer_types(result) == (["Conv"], ["Sigmoid"])


def test_a_function_of_a_product_that_nothing_reads_in_integers(rng):
    graph, x = convolution_graph(rng)
    _, each = quantized(graph.model(graph("Sigmoid", x, name="gate")))
    assert each.refusals == {"gate": "no integer operator lies on both sides of it"}


def test_a_function_of_a_product_that_is_an_output_too(rng):
    graph, x = convolution_graph(rng)
    x = graph("Sigmoid", x, name="gate")
    model = graph.model(graph("Conv", x, normal(rng, 4, 4, 1, 1)), x)
    _, each = quantized(model)
    assert each.refusals == {"gate": "something else reads its result in float"}
