import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.passes.fold_low_rank import FactoredLayer, FoldLowRankPass, multiply_add_cost


def fold(model, cost=multiply_add_cost):
    return apply(FoldLowRankPass(cost), model)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["gemm", "matmul", "matmul 3-D"])
def test_matrices(rng, kind, bias):
    g = Graph()
    x = g.input("x", (5, 12) if kind != "matmul 3-D" else (2, 5, 12))
    first, second = normal(rng, 12, 8), normal(rng, 8, 10)
    if kind == "gemm":
        y = g("Gemm", x, first, *([normal(rng, 8)] if bias else []))
        y = g("Gemm", y, second, normal(rng, 10))
    else:
        y = g("MatMul", x, first)
        y = g("Add", y, normal(rng, 8)) if bias else y
        y = g("MatMul", y, second)
    model = g.model(g("Relu", y))
    outcome = fold(model)
    assert outcome.applied == 1
    assert operators(model).count("Gemm") + operators(model).count("MatMul") == 1


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("order", ["window first", "window last", "pointwise"])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions(rng, order, stride, bias):
    g = Graph()
    x = g.input("x", (1, 4, 9, 9))
    one, two = {"window first": (3, 1), "window last": (1, 3), "pointwise": (1, 1)}[order]
    # The 1x1 in front of a window cannot have a stride, the others can.
    strides = (1, stride) if order == "window last" else (stride, stride)
    extra = [normal(rng, 6)] if bias else []
    y = g(
        "Conv",
        x,
        normal(rng, 6, 4, one, one),
        *extra,
        strides=[strides[0]] * 2,
        pads=[one // 2] * 4,
    )
    pads = [0] * 4 if bias or two == 1 else [1] * 4
    y = g(
        "Conv",
        y,
        normal(rng, 5, 6, two, two),
        normal(rng, 5),
        strides=[strides[1]] * 2,
        pads=pads,
    )
    model = g.model(y)
    fold(model, cost=lambda _: (1.0, 0.0))
    assert operators(model) == ["Conv"]


def test_a_chain_of_three(rng):
    g = Graph()
    x = g.input("x", (5, 8))
    for extents in ((8, 7), (7, 8), (8, 9)):
        x = g("Gemm", x, normal(rng, *extents))
    model = g.model(x)
    assert fold(model).applied == 2
    assert operators(model) == ["Gemm"]


def test_two_thin_layers_stay(rng):
    g = Graph()
    y = g("Gemm", g("Gemm", g.input("x", (5, 64)), normal(rng, 64, 4)), normal(rng, 4, 64))
    outcome = fold(g.model(y))
    assert not outcome.modified
    assert outcome.refusals[0].reason.startswith("two layers are cheaper: ")


def test_cost_sees_the_sizes(rng):
    seen = []
    g = Graph()
    y = g("Conv", g.input("x", (2, 4, 8, 8)), normal(rng, 3, 4, 3, 3), strides=[2, 2])
    y = g("Conv", y, normal(rng, 7, 3, 1, 1))
    FoldLowRankPass(lambda layer: seen.append(layer) or (0.0, 1.0))(g.model(y))
    assert seen == [
        FactoredLayer(operator="Conv", rows=18, inputs=36, rank=3, outputs=7, first_rows=18)
    ]
    assert seen[0].factored_multiply_adds == 18 * (36 * 3 + 3 * 7)
    assert seen[0].dense_multiply_adds == 18 * 36 * 7


@pytest.mark.parametrize("kind", ["elsewhere", "groups", "stride", "bias", "windows"])
def test_refusals(rng, kind):
    g = Graph()
    x = g.input("x", (1, 4, 9, 9))
    size = 3 if kind == "windows" else 1
    extra = [normal(rng, 4)] if kind == "bias" else []
    groups = 2 if kind == "groups" else 1
    strides = [2, 2] if kind == "stride" else [1, 1]
    a = g(
        "Conv",
        x,
        normal(rng, 4, 4 // groups, size, size),
        *extra,
        group=groups,
        strides=strides,
    )
    b = g("Conv", a, normal(rng, 4, 4, 3, 3), pads=[1, 1, 1, 1])
    outcome = fold(g.model(b, *([a] if kind == "elsewhere" else [])), cost=lambda _: (1, 0))
    assert not outcome.modified
    reason = {
        "elsewhere": "read elsewhere",
        "groups": "groups",
        "stride": "has a stride",
        "bias": "does not reach the padding",
        "windows": "neither convolution is 1x1",
    }[kind]
    assert reason in outcome.refusals[0].reason


@pytest.mark.parametrize("scale", ["none", "behind", "between"])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("kind", ["gemm", "matmul", "conv", "conv window"])
@pytest.mark.parametrize("bias", [False, True])
def test_lora(rng, kind, scale, order, bias):
    g = Graph()
    size = 3 if kind == "conv window" else 1
    form = {"gemm": (5, 8), "matmul": (2, 5, 8)}.get(kind, (1, 8, 7, 7))
    x = g.input("x", form)

    def layer(value, inputs, outputs, window, with_bias):
        extra = [normal(rng, outputs)] if with_bias else []
        if kind == "gemm":
            return g("Gemm", value, normal(rng, inputs, outputs), *extra)
        if kind == "matmul":
            y = g("MatMul", value, normal(rng, inputs, outputs))
            return g("Add", y, *extra) if extra else y
        weight = normal(rng, outputs, inputs, window, window)
        return g("Conv", value, weight, *extra, pads=[window // 2] * 4)

    base = layer(x, 8, 6, size, bias)
    low = layer(x, 8, 2, size, bias and kind != "matmul")
    if scale == "between":
        low = g("Mul", low, np.float32(1.7))
    low = layer(low, 2, 6, 1, bias and kind != "matmul")
    if scale == "behind":
        low = g("Mul", np.float32(0.3), low)
    y = g("Add", *([base, low] if order else [low, base]))
    model = g.model(g("Relu", y))
    outcome = fold(model)
    assert "were added into" in outcome.notes[0]
    products = [each for each in operators(model) if each in ("Gemm", "MatMul", "Conv")]
    assert len(products) == 1


def test_lora_on_a_base_that_is_read_elsewhere(rng):
    g = Graph()
    x = g.input("x", (5, 64))
    base = g("Gemm", x, normal(rng, 64, 32))
    low = g("Gemm", g("Gemm", x, normal(rng, 64, 2)), normal(rng, 2, 32))
    assert not fold(g.model(g("Add", base, low), base)).modified
