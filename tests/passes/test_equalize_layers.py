"""Cross-layer equalization: same bits of the float model, equal channels, reasons."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.graph.constants import constant_array
from edgecomp.graph.text import to_text
from edgecomp.passes.equalize_layers import EqualizeLayersPass

FOUR = [1, 1, 1, 1]


def spread_weight(rng, *shape):
    """Weights whose outputs differ by up to a factor of e ** 6."""
    scale = np.exp(rng.uniform(-3, 3, (shape[0], *([1] * (len(shape) - 1)))))
    return (normal(rng, *shape) * scale).astype(np.float32)


def weight(model, name):
    (node,) = [node for node in model.graph if node.name == name]
    return np.abs(constant_array(node.inputs[1]))


def ratio(made, read):
    return np.abs(np.log2(made / read)).max()


def chain(rng, activation="Relu", **attributes):
    g = Graph()
    y = g("Conv", g.input("x", (2, 3, 9, 9)), spread_weight(rng, 8, 3, 3, 3), normal(rng, 8))
    y = g(activation, y, **attributes)
    return g, g("Conv", y, normal(rng, 5, 8, 3, 3), pads=FOUR)


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Identity"])
def test_channels_become_equal(rng, activation):
    g, y = chain(rng, activation)
    model = g.model(y)
    outcome = apply(EqualizeLayersPass(), model)
    assert outcome.applied == 1
    made, read = weight(model, "n0").max((1, 2, 3)), weight(model, "n2").max((0, 2, 3))
    assert ratio(made, read) <= 1 + 1e-6


def test_text(rng, golden):
    g, y = chain(rng)
    model = g.model(y)
    outcome = apply(EqualizeLayersPass(), model)
    golden(to_text(model, sources=True) + "\n".join(outcome.notes) + "\n")


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_depthwise_convolution_lies_between_two_regions(rng, multiplier):
    g = Graph()
    x = g.input("x", (1, 3, 9, 9))
    y = g("Relu", g("Conv", x, spread_weight(rng, 8, 3, 1, 1), normal(rng, 8)))
    inner = 8 * multiplier
    y = g(
        "Conv", y, spread_weight(rng, inner, 1, 3, 3), normal(rng, inner), group=8, pads=FOUR
    )
    model = g.model(g("Conv", g("Relu", y), spread_weight(rng, 4, inner, 1, 1)))
    assert apply(EqualizeLayersPass(), model).applied == 2
    depthwise = weight(model, "n2")
    read = depthwise.max((1, 2, 3)).reshape(8, multiplier).max(1)
    assert ratio(weight(model, "n0").max((1, 2, 3)), read) <= 1 + 1e-6
    assert ratio(depthwise.max((1, 2, 3)), weight(model, "n4").max((0, 2, 3))) <= 1 + 1e-6


def test_pools_pads_and_shapes(rng):
    g = Graph()
    x = g.input("x", (2, 3, 9, 9))
    y = g("Conv", x, spread_weight(rng, 6, 3, 3, 3), normal(rng, 6))
    y = g("PRelu", y, np.abs(normal(rng, 6, 1, 1)))
    y = g("Pad", y, np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(0))
    y = g("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2])
    y = g("Transpose", g("AveragePool", y, kernel_shape=[2, 2]), perm=[0, 2, 3, 1])
    y = g("Reshape", y, np.array([2, -1]))
    model = g.model(g("Gemm", y, normal(rng, 54, 7), normal(rng, 7)))
    assert apply(EqualizeLayersPass(), model).applied == 1
    read = weight(model, f"n{len(operators(model)) - 1}").reshape(9, 6, 7).max((0, 2))
    assert ratio(weight(model, "n0").max((1, 2, 3)), read) <= 1 + 1e-6


def test_a_residual_sum_takes_one_scale(rng):
    g = Graph()
    first = g("Conv", g.input("x", (1, 3, 9, 9)), spread_weight(rng, 8, 3, 1, 1))
    second = g("Conv", g("Relu", first), spread_weight(rng, 8, 8, 1, 1), normal(rng, 8))
    total = g("Add", first, second)
    model = g.model(g("Conv", total, normal(rng, 4, 8, 1, 1)))
    assert apply(EqualizeLayersPass(), model).applied == 1


def test_matrices_with_a_bias_behind_them_and_parts(rng):
    g = Graph()
    x = g.input("x", (2, 5, 16))
    y = g("Add", g("MatMul", x, spread_weight(rng, 16, 12)), normal(rng, 12))
    left, right = g("Split", g("Relu", y), axis=-1, num_outputs=2, outputs=2)
    a = g("MatMul", left, normal(rng, 6, 4))
    b = g("MatMul", g("Tanh", right), normal(rng, 6, 4))
    model = g.model(g("Add", a, b))
    outcome = apply(EqualizeLayersPass(), model)
    assert outcome.applied == 1
    assert "of 12 channels" in outcome.notes[0]


def test_attention_lets_the_scale_of_values_through(rng):
    g = Graph()
    x = g.input("x", (2, 5, 16))
    heads = []
    for _ in range(3):
        y = g("MatMul", x, spread_weight(rng, 12, 16).T.copy())
        y = g("Reshape", y, np.array([2, 5, 3, 4]))
        heads.append(g("Transpose", y, perm=[0, 2, 1, 3]))
    scores = g("MatMul", heads[0], g("Transpose", heads[1], perm=[0, 1, 3, 2]))
    y = g("MatMul", g("Softmax", scores), heads[2])
    y = g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3]), np.array([2, 5, 12]))
    model = g.model(g("MatMul", y, normal(rng, 12, 16)))
    outcome = apply(EqualizeLayersPass(), model)
    assert outcome.applied == 1
    assert outcome.notes[0].startswith("n6:")
    assert "sums over its channels" in outcome.refusals[0].reason


@pytest.mark.parametrize(
    ("operator", "reason"),
    [("Sigmoid", "Sigmoid is not homogeneous"), ("Clip", "Clip is not homogeneous")],
)
def test_not_homogeneous(rng, operator, reason):
    g = Graph()
    y = g("Conv", g.input("x", (2, 3, 9, 9)), spread_weight(rng, 8, 3, 3, 3), normal(rng, 8))
    y = g("Clip", y, np.float32(0), np.float32(6)) if operator == "Clip" else g(operator, y)
    outcome = apply(EqualizeLayersPass(), g.model(g("Conv", y, normal(rng, 5, 8, 3, 3))))
    assert not outcome.modified
    assert reason in outcome.refusals[0].reason


def test_refusals(rng):
    def reasons(tail, *, kept=False):
        g = Graph()
        y = g("Conv", g.input("x", (2, 3, 9, 9)), spread_weight(rng, 8, 3, 3, 3))
        outputs = tail(g, y)
        outcome = apply(EqualizeLayersPass(), g.model(outputs, *([y] if kept else [])))
        assert not outcome.modified
        return outcome.refusals[0].reason

    read = normal(rng, 5, 8, 1, 1)
    assert "output of the model" in reasons(lambda g, y: g("Conv", y, read), kept=True)
    assert "added to several" in reasons(
        lambda g, y: g("Conv", g("Add", y, np.float32(1)), read)
    )
    assert "pads with" in reasons(
        lambda g, y: g("Conv", g("Pad", y, np.array([0, 0, 1, 1] * 2), np.float32(1)), read)
    )
    assert "scaled values" in reasons(lambda g, y: g("Conv", g("Mul", y, g("Relu", y)), read))
    assert "reduces over the channels" in reasons(
        lambda g, y: g("Conv", g("Sub", y, g("ReduceMean", y, np.array([1]))), read)
    )


def test_weights_that_another_node_reads_stay(rng):
    g = Graph()
    x = g.input("x", (1, 8, 9, 9))
    shared = g.constant(spread_weight(rng, 8, 8, 1, 1))
    model = g.model(g("Conv", g("Relu", g("Conv", x, shared)), shared))
    assert not apply(EqualizeLayersPass(), model).modified


def test_a_channel_of_zeros_keeps_its_scale(rng):
    g = Graph()
    first, second = spread_weight(rng, 8, 3, 1, 1), normal(rng, 4, 8, 1, 1)
    first[2], second[:, 5] = 0, 0
    y = g("Relu", g("Conv", g.input("x", (1, 3, 5, 5)), first, normal(rng, 8)))
    model = g.model(g("Conv", y, second))
    apply(EqualizeLayersPass(), model)
    np.testing.assert_array_equal(weight(model, "n0")[[2, 5]], np.abs(first[[2, 5]]))


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(
    seed=st.integers(0, 1000),
    layers=st.lists(st.sampled_from(["dense", "depthwise", "residual", "pool"]), max_size=5),
)
def test_any_chain(seed, layers):
    rng = np.random.default_rng(seed)
    g = Graph()
    y = g("Conv", g.input("x", (1, 3, 7, 7)), spread_weight(rng, 6, 3, 1, 1), normal(rng, 6))
    for layer in layers:
        before = y
        if layer == "pool":
            y = g("AveragePool", y, kernel_shape=[3, 3], pads=FOUR)
        elif layer == "depthwise":
            y = g("Relu", g("Conv", y, spread_weight(rng, 6, 1, 3, 3), group=6, pads=FOUR))
        else:
            y = g("Relu", g("Conv", y, spread_weight(rng, 6, 6, 1, 1), normal(rng, 6)))
        if layer == "residual":
            y = g("Add", before, y)
    apply(EqualizeLayersPass(), g.model(g("Conv", y, normal(rng, 4, 6, 1, 1))))
