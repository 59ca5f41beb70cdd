"""Weights that a model keeps in 16 bits: which Casts they are."""

import numpy as np
import onnx
import pytest
from helpers.graphs import Graph, normal

from edgecomp.graph.narrow_weights import (
    has_narrow_weights,
    is_narrow_weight,
    narrow_weights,
    widened,
)

FLOAT = onnx.TensorProto.FLOAT


@pytest.fixture
def weights(rng):
    return normal(rng, 8, 6).astype(np.float16)


def test_products_read_them_as_they_are(weights):
    g = Graph()
    wide = g("Cast", g.constant(weights), to=FLOAT, name="cast")
    model = g.model(g("MatMul", g.input("x", (2, 8)), wide, name="p"))
    cast, product = model.graph
    assert is_narrow_weight(cast)
    assert has_narrow_weights(model)
    np.testing.assert_array_equal(narrow_weights(product).numbers, weights)
    np.testing.assert_array_equal(widened(cast.outputs[0]), weights.astype(np.float32))


@pytest.mark.parametrize("use", ["first operand", "another reader", "an output", "rank"])
def test_others_are_folded(use, weights, rng):
    g = Graph()
    if use == "rank":
        weights = weights[None]
    wide = g("Cast", g.constant(weights), to=FLOAT)
    if use == "first operand":
        outputs = [g("MatMul", wide, g.input("y", (6, 3)))]
    else:
        outputs = [g("MatMul", g.input("x", (2, 8)), wide)]
    if use == "another reader":
        outputs.append(g("Add", wide, g.input("z", (8, 6))))
    if use == "an output":
        outputs.append(wide)
    model = g.model(*outputs)
    assert not has_narrow_weights(model)
    left = [node for node in model.graph if node.op_type == "Cast"]
    assert not left
