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
from edgecomp.passes.quantization_options import InsertQdqOptions, ValueProducts
from edgecomp.passes.quantization_scope import decide_scope


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
        (
            64,
            {"value_products": ValueProducts.NONE},
            "products of two values have no integer kernel",
        ),
        (64, {"wide_activations": frozenset({"scores"})}, "products of two 16-bit values"),
    ],
)
def test_products_of_two_values_that_stay_float(depth, options, reason):
    ranges = {"a": Range(-1.0, 3.0), "b": Range(-0.5, 2.54)}
    _, each = quantized(scores(depth), ranges=ranges, **options)
    assert reason in each.refusals["scores"]


@pytest.mark.parametrize("depth", [8, 32])
@pytest.mark.parametrize("keys", [40, 600])
def test_both_products_of_an_attention_or_none(depth, keys, rng):
    """Where a target has one kernel for both; by themselves each is what it can be."""
    g = Graph()
    x = g.input("x", (1, keys, depth))
    q, k, v = (g("MatMul", x, normal(rng, depth, depth)) for _ in range(3))
    scores = g("MatMul", q, g("Transpose", k, perm=[0, 2, 1]), name="scores")
    masked = g("Add", g("Mul", scores, np.float32(0.3)), g.input("mask", (1, 1, keys)))
    y = g("MatMul", g("Softmax", masked, axis=-1), v, name="y")
    model = g.model(g("MatMul", y, normal(rng, depth, depth)))
    able = {name for name, can in (("scores", depth >= 16), ("y", keys <= 514)) if can}
    for products in ValueProducts:
        options = InsertQdqOptions(value_products=products)
        found = decide_scope(model.graph, options, lambda _: "")
        integer = {b.node.name for b in found.blocks if b.is_value_product}
        wanted = {
            ValueProducts.NONE: set(),
            ValueProducts.EACH: able,
            ValueProducts.WHOLE: able if len(able) == 2 else set(),
        }
        assert integer == wanted[products]


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
