import numpy as np
import onnx
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.graph.run import run_model
from edgecomp.graph.text import to_text
from edgecomp.passes.canonicalize_products import CanonicalizeProductsPass
from edgecomp.passes.replace_one_hot_products import ReplaceOneHotProductsPass

#: In range, negative, and out of range on both sides, near and far.
INDICES = np.array([[0, 6, -1, -7, 3], [7, -8, 100, -100, 2]])


def one_hot(g, i, depth=7, values=(0.0, 1.0), dtype=np.float32, axis=-1):
    x = g("OneHot", i, np.int64(depth), np.array(values, dtype), axis=axis)
    return x if dtype == np.float32 else g("Cast", x, to=onnx.TensorProto.FLOAT)


def replaced(model, feeds):
    """The operators after the pass, which must not change a bit for these feeds."""
    (before,) = run_model(model, feeds).values()
    apply(ReplaceOneHotProductsPass(), model)
    (after,) = run_model(model, feeds).values()
    np.testing.assert_array_equal(after, before)
    return operators(model)


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
@pytest.mark.parametrize("values", [np.float32, np.int64])
def test_one_hot_of_any_index(rng, dtype, values):
    g = Graph()
    x = one_hot(g, g.input("i", (2, 5), dtype), dtype=values)
    model = g.model(g("MatMul", x, normal(rng, 7, 4)))
    found = replaced(model, {"i": INDICES.astype(dtype)})
    assert found[-3:] == ["Max", "Min", "Gather"]
    assert not {"Equal", "MatMul", "Unsqueeze"} & set(found)


def test_a_bias_is_in_every_row(rng):
    g = Graph()
    x = one_hot(g, g.input("i", (10,), np.int64))
    model = g.model(g("Add", g("MatMul", x, normal(rng, 7, 4)), normal(rng, 4)))
    apply(CanonicalizeProductsPass(), model)
    assert operators(model)[-1] == "Gemm"
    assert replaced(model, {"i": INDICES.reshape(10)})[-1] == "Gather"


@pytest.mark.parametrize("cast", [True, False])
def test_a_comparison_written_by_hand(rng, cast):
    """Without OneHot's own step, by which negative indices count from the end."""
    g = Graph()
    i = g.input("i", (2, 5, 1), np.int64)
    hit = g("Equal", np.arange(7).reshape(1, 1, 7), i)
    one, zero = np.float32(1), np.float32(0)
    x = g("Cast", hit, to=onnx.TensorProto.FLOAT) if cast else g("Where", hit, one, zero)
    model = g.model(g("MatMul", x, normal(rng, 7, 4)))
    assert replaced(model, {"i": INDICES[..., None]}) == ["Squeeze", "Max", "Min", "Gather"]


OTHERS = {
    "other values": lambda g, i: one_hot(g, i, values=(0.0, 2.0)),
    "values the other way round": lambda g, i: one_hot(g, i, values=(1.0, 0.0)),
    "along another dimension": lambda g, i: one_hot(g, i, axis=0, depth=5),
    "other numbers": lambda g, i: g(
        "Cast", g("Equal", g("Unsqueeze", i, np.array([2])), np.arange(7) + 1), to=1
    ),
    "a row for each index": lambda g, i: g(
        "Cast",
        g("Equal", g("Unsqueeze", i, np.array([2])), np.arange(35).reshape(5, 7) % 7),
        to=1,
    ),
    "fractions": lambda g, i: g(
        "Cast",
        g(
            "Equal",
            g("Unsqueeze", g("Cast", i, to=1), np.array([2])),
            np.arange(7, dtype=np.float32),
        ),
        to=1,
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_left_alone(rng, name):
    g = Graph()
    x = OTHERS[name](g, g.input("i", (2, 5), np.int64))
    depth = 5 if "dimension" in name else 7
    model = g.model(g("MatMul", x, normal(rng, depth, 4)))
    assert not apply(ReplaceOneHotProductsPass(), model).modified


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_what_is_not_finite_is_refused(rng, number):
    """Zero times it is no zero."""
    matrix = normal(rng, 7, 4)
    matrix[2, 1] = number
    g = Graph()
    model = g.model(g("MatMul", one_hot(g, g.input("i", (2, 5), np.int64)), matrix))
    outcome = ReplaceOneHotProductsPass()(model)
    assert not outcome.modified
    assert "not finite" in outcome.refusals[0].reason


def test_a_computed_matrix_is_left_alone():
    g = Graph()
    x = one_hot(g, g.input("i", (2, 5), np.int64))
    model = g.model(g("MatMul", x, g.input("w", (7, 4))))
    assert not apply(ReplaceOneHotProductsPass(), model).modified


def test_text(golden):
    g = Graph()
    x = one_hot(g, g.input("i", (3,), np.int64), depth=2)
    model = g.model(g("MatMul", x, np.array([[1, 2, 3], [4, 5, 6]], np.float32)))
    apply(ReplaceOneHotProductsPass(), model)
    golden(to_text(model, sources=True))
