"""Which layers become integer, for prices that the tests set."""

import pytest
from helpers.graphs import Graph, normal

from edgecomp.passes.choose_precision import (
    LEAST_GAIN_MODELLED,
    choose_precision,
    quantized_values,
    time_text,
)
from edgecomp.passes.layer_prices import total_seconds
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import decide_scope
from edgecomp.plan.prices import ConversionPrice, Price

CHEAP = ConversionPrice(1e-6, 1e-6, 1e-7)


def scope_of(model):
    return decide_scope(model.graph, InsertQdqOptions(), lambda _: "")


def choose(model, plain, integer, conversion=CHEAP, *, measured=False):
    """``plain`` and ``integer``: "node" or "node+node" -> microseconds."""
    scope = scope_of(model)
    conversions = {v.name: conversion for v in quantized_values(scope)}

    def prices(given):
        return [
            Price(tuple(k.split("+")), us * 1e-6, us * 1e-6 if measured else None)
            for k, us in given.items()
        ]

    return choose_precision(scope, prices(plain), prices(integer), conversions)


def decisions(layers):
    return {layer.nodes[0]: layer.integer for layer in layers}


def chain(rng):
    """conv a -> conv b -> softmax -> conv c -> conv d."""
    graph = Graph()
    x = graph.input("x", (1, 8, 6, 6))
    x = graph("Conv", x, normal(rng, 8, 8, 1, 1), name="a")
    x = graph("Conv", x, normal(rng, 8, 8, 1, 1), name="b")
    x = graph("Softmax", x, axis=1, name="s")
    x = graph("Conv", x, normal(rng, 8, 8, 1, 1), name="c")
    x = graph("Conv", x, normal(rng, 8, 8, 1, 1), name="d")
    return graph.model(x)


def test_text(rng, golden):
    plain = {"a": 30, "b": 20, "s": 50, "c": 1.5, "d": 2500}
    integer = {"a": 6, "b": 5, "s": 50, "c": 1, "d": 2600}
    layers = choose(chain(rng), plain, integer)
    lines = [
        f"{'int8' if layer.integer else 'float':5} {', '.join(layer.nodes)}: {layer.reason}"
        for layer in layers
    ]
    golden("\n".join(lines) + "\n")


def test_a_gain_has_to_pay_for_its_conversions(rng):
    plain = dict.fromkeys("abscd", 10)
    assert decisions(choose(chain(rng), plain, {**plain, "a": 6, "b": 9})) == {
        "a": True,
        "b": True,
        "c": False,
        "d": False,
    }
    costly = ConversionPrice(20e-6, 20e-6, 20e-6)
    found = choose(chain(rng), plain, {**plain, "a": 6, "b": 9}, costly)
    assert not any(layer.integer for layer in found)


def test_a_gain_within_the_prices_error_is_not_taken(rng):
    free = ConversionPrice(0, 0, 0)
    plain = dict.fromkeys("abscd", 10)
    little = {**plain, "a": 10 * LEAST_GAIN_MODELLED + 0.1}
    assert not decisions(choose(chain(rng), plain, little, free))["a"]
    assert decisions(choose(chain(rng), plain, little, free, measured=True))["a"]


def test_nodes_of_one_kernel_are_one_layer(rng):
    """A residual sum that joins a convolution in either form is decided with it."""
    graph = Graph()
    x = graph.input("x", (1, 8, 6, 6))
    first = graph("Conv", x, normal(rng, 8, 8, 1, 1), name="first")
    second = graph("Conv", first, normal(rng, 8, 8, 1, 1), name="second")
    total = graph("Add", first, second, name="sum")
    model = graph.model(graph("Conv", total, normal(rng, 8, 8, 1, 1), name="last"))
    plain = {"first": 10, "second+sum": 10, "last": 10}
    layers = choose(model, plain, {"first": 2, "second": 30, "sum": 1, "last": 2})
    assert [layer.nodes for layer in layers] == [("first",), ("second", "sum"), ("last",)]
    assert decisions(layers) == {"first": True, "second": False, "last": True}
    (joined,) = (layer for layer in layers if len(layer.nodes) > 1)
    assert joined.integer_seconds == pytest.approx(31e-6)
    assert joined.float_seconds == pytest.approx(10e-6)


def test_conversions_are_priced_apart_from_layers(rng):
    """Quantize and Dequantize nodes stand for no node of the float model."""
    plain = dict.fromkeys("abscd", 10)
    integer = {**plain, "x_QuantizeLinear": 1000}
    for layer in choose(chain(rng), plain, integer):
        assert layer.integer_seconds == pytest.approx(10e-6)


def test_nothing_that_can_be_integer():
    graph = Graph()
    model = graph.model(graph("Softmax", graph.input("x", (4, 4)), name="s"))
    assert choose(model, {"s": 1}, {"s": 1}) == []


def test_a_layer_that_was_measured_in_one_form_alone_is_compared_by_the_model(rng):
    model = chain(rng)
    scope = scope_of(model)
    conversions = {v.name: CHEAP for v in quantized_values(scope)}
    plain = [Price((n,), 10e-6) for n in "abscd"]
    # The machine is half as fast as the model says.
    plain[0], plain[1] = Price(("a",), 10e-6, 20e-6), Price(("b",), 10e-6, 20e-6)
    integer = [Price(("a",), 9e-6, 30e-6), *(Price((n,), 4e-6) for n in "bscd")]
    layers = {x.nodes[0]: x for x in choose_precision(scope, plain, integer, conversions)}
    scale = (20 + 20 + 30) / (10 + 10 + 9)
    assert layers["a"].measured
    assert (layers["a"].float_seconds, layers["a"].integer_seconds) == (20e-6, 30e-6)
    assert not layers["b"].measured
    assert layers["b"].float_seconds == pytest.approx(10e-6 * scale)
    assert layers["b"].integer_seconds == pytest.approx(4e-6 * scale)
    assert not layers["a"].integer
    assert layers["b"].integer


def test_totals():
    plain, half = [Price(("a",), 4.0, 8.0), Price(("b",), 1.0)], [Price(("a",), 2.0, 4.0)]
    assert total_seconds({"float": plain, "int8": half}) == ({"float": 10, "int8": 4}, True)
    unknown = [Price(("a",), 2.0)]
    found, measured = total_seconds({"float": plain, "int8": unknown})
    assert not measured
    assert found["int8"] / found["float"] == pytest.approx(2 / 5)


def test_excluded_layers_say_why(rng):
    model = chain(rng)
    options = InsertQdqOptions(stay_float={"b": "int8 is slower"})
    scope = decide_scope(model.graph, options, lambda _: "")
    assert {r.node: r.reason for r in scope.refusals} == {"b": "int8 is slower"}
    assert [block.node.name for block in scope.blocks] == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 us"), (3.14159e-8, "0.0314 us"), (2.5e-4, "250 us"), (0.0123, "12.3 ms")],
)
def test_times(seconds, text):
    assert time_text(seconds) == text
