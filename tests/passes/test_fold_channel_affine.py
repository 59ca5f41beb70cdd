import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.passes.fold_channel_affine import FoldChannelAffinePass


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("form", [(6, 1, 1), (1, 6, 1, 1), (), (1,)])
def test_convolution(rng, operator, form, first):
    g = Graph()
    y = g("Conv", g.input("x", (2, 4, 7, 7)), normal(rng, 6, 4, 3, 3))
    constant = normal(rng, *form) + np.float32(3)
    y = g(operator, constant, y) if first else g(operator, y, constant)
    model = g.model(g("Relu", y))
    outcome = apply(FoldChannelAffinePass(), model)
    assert outcome.modified == (not (first and operator == "Div"))


def test_a_chain_into_a_gemm(rng):
    g = Graph()
    y = g("Gemm", g.input("x", (5, 4)), normal(rng, 4, 6), normal(rng, 6))
    y = g("Add", g("Mul", y, normal(rng, 6)), normal(rng, 1, 6))
    model = g.model(y)
    assert apply(FoldChannelAffinePass(), model).applied == 2
    assert operators(model) == ["Gemm"]


@pytest.mark.parametrize(
    ("form", "reason"), [((7,), "another dimension"), ((6, 7, 7), "another dimension")]
)
def test_refusals(rng, form, reason):
    g = Graph()
    y = g("Conv", g.input("x", (2, 4, 7, 7)), normal(rng, 6, 4, 1, 1))
    outcome = apply(FoldChannelAffinePass(), g.model(g("Add", y, normal(rng, *form))))
    assert not outcome.modified
    assert reason in outcome.refusals[0].reason


def test_read_elsewhere(rng):
    g = Graph()
    y = g("Conv", g.input("x", (2, 4, 7, 7)), normal(rng, 6, 4, 1, 1))
    outcome = apply(FoldChannelAffinePass(), g.model(g("Add", y, normal(rng, 6, 1, 1)), y))
    assert "read elsewhere" in outcome.refusals[0].reason


@pytest.mark.parametrize("operator", ["Mul", "Div"])
@pytest.mark.parametrize("bias", [None, (6,), (1, 6), ()])
@pytest.mark.parametrize("form", [(6,), (1, 1, 6), ()])
def test_a_matrix_of_more_dimensions(rng, operator, bias, form):
    g = Graph()
    y = g("MatMul", g.input("x", (2, 5, 4)), normal(rng, 4, 6))
    if bias is not None:
        y = g("Add", normal(rng, *bias), y)
    model = g.model(g("Relu", g(operator, y, normal(rng, *form) + np.float32(3))))
    assert apply(FoldChannelAffinePass(), model).applied == 1
    assert operators(model) == ["MatMul", *(["Add"] if bias is not None else []), "Relu"]


@pytest.mark.parametrize("form", [(5, 1), (2, 1, 1)])
def test_a_matrix_keeps_what_varies_along_rows(rng, form):
    g = Graph()
    y = g("MatMul", g.input("x", (2, 5, 4)), normal(rng, 4, 6))
    model = g.model(g("Mul", y, normal(rng, *form)))
    assert not apply(FoldChannelAffinePass(), model).modified
