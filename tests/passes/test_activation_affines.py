"""Scales and zero points of stored values."""

import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.quantized import check_meaning, integer_types, quantized, scores

from edgecomp.calibrate.ranges import Range
from edgecomp.graph.integer_operators import (
    StoredConcat,
    ValueProduct,
)
from edgecomp.graph.qdq import recognize


def test_ranges_stop_at_the_activation():
    graph = Graph()
    first = graph(
        "Relu", graph("Conv", graph.input("x", (1, 1, 4, 4)), np.ones((1, 1, 1, 1), "f4"))
    )
    output = graph("Conv", first, np.ones((1, 1, 1, 1), "f4"))
    ranges = {"x": Range(-1.0, 1.0), first: Range(-7.0, 2.55)}
    result, _ = quantized(graph.model(output), ranges=ranges)
    product = recognize(result.graph).steps[1]
    assert product.output.affine.zero_point == 0
    assert product.output.affine.scale == np.float32(0.01)


def test_a_concat_shares_one_scale(rng):
    graph = Graph()
    x = graph.input("x", (1, 4, 6, 6))
    parts = [graph("Conv", x, normal(rng, 4, 4, 1, 1) * scale) for scale in (1, 10, 0.1)]
    output = graph("Conv", graph("Concat", *parts, axis=1), normal(rng, 2, 12, 1, 1))
    model = graph.model(output)
    result, _ = quantized(model)
    (concat,) = (s for s in recognize(result.graph).steps if isinstance(s, StoredConcat))
    assert len({t.affine for t in (*concat.inputs, concat.output)}) == 1
    assert concat.tables == (None, None, None)
    check_meaning(model, result)


def test_moves_share_scales_through_to_the_input(rng):
    graph = Graph()
    x = graph("Transpose", graph.input("x", (1, 8, 8, 3)), perm=[0, 3, 1, 2])
    x = graph("Pad", x, np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    output = graph("Conv", x, normal(rng, 2, 3, 3, 3))
    model = graph.model(output)
    result, _ = quantized(model)
    assert integer_types(result) == (["Transpose", "Pad", "Conv"], [])
    assert result.graph.inputs[0].uses()[0].node.op_type == "QuantizeLinear"
    check_meaning(model, result)


def test_a_product_of_two_values_has_a_symmetric_second_operand():
    ranges = {"a": Range(-1.0, 3.0), "b": Range(-0.5, 2.54)}
    result, each = quantized(scores(16), ranges=ranges)
    assert each.refusals == {}
    (product,) = (s for s in recognize(result.graph).steps if isinstance(s, ValueProduct))
    a, b = (tensor.affine for tensor in product.inputs)
    assert (a.zero_point, b.zero_point) == (64, 128)
    assert float(b.scale) == pytest.approx(2.54 / 127)
