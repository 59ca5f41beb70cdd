import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.graph.text import to_text
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


#: What stands between a convolution of [2, 6, 1, 5] and a constant, and the constant's shape.
RENAMED = {
    "squeeze": (lambda g, y: g("Squeeze", y, np.array([2])), (6, 1)),
    "reshape": (lambda g, y: g("Reshape", y, np.array([2, 6, 5])), (1, 6, 1)),
    "unsqueeze": (lambda g, y: g("Unsqueeze", y, np.array([1])), (6, 1, 1)),
    "split rows": (lambda g, y: g("Reshape", y, np.array([2, 6, 5, 1, 1])), (6, 1, 1, 1)),
    "several": (
        lambda g, y: g("Unsqueeze", g("Squeeze", y, np.array([2])), np.array([3])),
        (6, 1, 1),
    ),
    "a number": (lambda g, y: g("Flatten", y), (1,)),
}


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("name", RENAMED)
def test_behind_another_shape(rng, operator, name):
    rename, form = RENAMED[name]
    g = Graph()
    weights = normal(rng, 6, 4, 1, 3), normal(rng, 6)
    y = rename(g, g("Conv", g.input("x", (2, 4, 1, 7)), *weights))
    model = g.model(g("Relu", g(operator, y, normal(rng, *form) + np.float32(3))))
    assert apply(FoldChannelAffinePass(), model).applied == 1
    assert not {"Add", "Sub", "Mul", "Div"} & set(operators(model))


def test_behind_the_squeeze_of_one_image(rng, golden):
    """The batch goes too, as tools that write one-dimensional convolutions do it."""
    g = Graph()
    x = g("Unsqueeze", g.input("x", (1, 4, 7)), np.array([2]))
    y = g("Squeeze", g("Conv", x, normal(rng, 2, 4, 1, 3)), np.array([0, 2]))
    model = g.model(g("Relu", g("Add", y, normal(rng, 2, 1))))
    assert apply(FoldChannelAffinePass(), model).applied == 1
    golden(to_text(model, sources=True))


def test_channels_that_are_only_as_many(rng):
    """The dimension of that size is another one, or the channels are no dimension any more."""
    for form, constant in (((6, 2, 3), (6, 1, 1)), ((2, 3, 6), (6,)), ((36,), (36,))):
        g = Graph()
        y = g("Conv", g.input("x", (2, 4, 1, 3)), normal(rng, 6, 4, 1, 1))
        y = g("Add", g("Reshape", y, np.array(form)), normal(rng, *constant))
        outcome = apply(FoldChannelAffinePass(), g.model(y))
        assert not outcome.modified
        assert "another dimension" in outcome.refusals[0].reason


def test_a_shape_between_that_is_read_elsewhere(rng):
    g = Graph()
    y = g("Conv", g.input("x", (1, 4, 1, 7)), normal(rng, 6, 4, 1, 1))
    squeezed = g("Squeeze", y, np.array([2]))
    for other in (y, squeezed):
        model = g.model(g("Add", squeezed, normal(rng, 6, 1)), g("Relu", other))
        outcome = apply(FoldChannelAffinePass(), model)
        assert "read elsewhere" in outcome.refusals[0].reason
