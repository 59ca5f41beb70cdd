import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.passes import apply, operators

from edgecomp.passes.fold_channel_affine import FoldChannelAffinePass
from edgecomp.passes.move_scales import MoveScalesPass

RNG = np.random.default_rng(0)
F = np.float32


def heads(g, x, *, bias=True, keys=False):
    y = g("MatMul", x, RNG.standard_normal((16, 16)).astype(F))
    if bias:
        y = g("Add", y, RNG.standard_normal(16).astype(F))
    y = g("Reshape", y, np.array([1, 6, 2, 8]))
    return g("Transpose", y, perm=[0, 2, 3, 1] if keys else [0, 2, 1, 3])


SCALED = {
    "times": lambda g, scores: g("Mul", scores, F(0.35)),
    "times, first": lambda g, scores: g("Mul", F(0.35), scores),
    "divided": lambda g, scores: g("Div", scores, F(2.8)),
}


@pytest.mark.parametrize("form", SCALED)
@pytest.mark.parametrize("bias", [True, False])
def test_into_the_queries(form, bias):
    g = Graph()
    x = g.input("x", (1, 6, 16))
    scores = g("MatMul", heads(g, x, bias=bias), heads(g, x, keys=True))
    model = g.model(g("Softmax", SCALED[form](g, scores), axis=-1))
    assert apply(MoveScalesPass(), model).applied == 1
    assert apply(FoldChannelAffinePass(), model).applied == 1
    assert not {"Mul", "Div"} & set(operators(model))


def test_into_the_keys_where_the_queries_are_given():
    g = Graph()
    q = g.input("q", (1, 2, 6, 8))
    scores = g("MatMul", q, heads(g, g.input("x", (1, 6, 16)), keys=True))
    model = g.model(g("Mul", scores, F(0.35)))
    assert apply(MoveScalesPass(), model).applied == 1
    apply(FoldChannelAffinePass(), model)
    assert "Mul" not in operators(model)


def unscaled(g, x, scores):
    return g("Mul", scores, RNG.standard_normal((6, 6)).astype(F))


def read_twice(g, x, scores):
    return g("Add", g("Mul", scores, F(0.5)), scores)


def by_a_division_of_the_number(g, x, scores):
    return g("Div", F(2), scores)


@pytest.mark.parametrize(
    "scale", [unscaled, read_twice, by_a_division_of_the_number], ids=lambda f: f.__name__
)
def test_others_stay(scale):
    g = Graph()
    x = g.input("x", (1, 6, 16))
    scores = g("MatMul", heads(g, x), heads(g, x, keys=True))
    model = g.model(scale(g, x, scores))
    assert apply(MoveScalesPass(), model).applied == 0


def test_queries_that_are_read_elsewhere_stay_and_keys_take_it():
    g = Graph()
    x = g.input("x", (1, 6, 16))
    queries = heads(g, x)
    scores = g("Mul", g("MatMul", queries, heads(g, x, keys=True)), F(0.35))
    model = g.model(scores, queries)
    assert apply(MoveScalesPass(), model).applied == 1
    assert apply(FoldChannelAffinePass(), model).applied == 1


def test_products_of_given_values_stay():
    g = Graph()
    q, k = g.input("q", (1, 2, 6, 8)), g.input("k", (1, 2, 8, 6))
    model = g.model(g("Mul", g("MatMul", q, k), F(0.35)))
    assert apply(MoveScalesPass(), model).applied == 0
