"""Scales move from activations into weights: same bits, less rounding error, reasons."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply

from edgecomp.calibrate.product_inputs import observe_inputs
from edgecomp.graph.constants import constant_array
from edgecomp.graph.run import random_feeds
from edgecomp.graph.text import to_text
from edgecomp.passes.smooth_activations import SmoothActivationsPass, products_to_observe


def outliers(rng, channels):
    """A row whose elements differ by up to a factor of 500."""
    return np.exp(rng.uniform(-3, 3, channels)).astype(np.float32)


def transformer(rng, width=16):
    """A layer normalisation with outliers before two products, a perceptron behind."""
    g = Graph()
    x = g.input("x", (2, 5, width))
    y = g(
        "LayerNormalization",
        x,
        outliers(rng, width),
        normal(rng, width),
        axis=-1,
        epsilon=1e-5,
    )
    first = g("Add", g("MatMul", y, normal(rng, width, 24)), normal(rng, 24))
    second = g("MatMul", y, normal(rng, width, 24))
    hidden = g("Mul", g("Sigmoid", first), second)
    return g, g("MatMul", hidden, normal(rng, 24, 8))


def observed(model, rows=64):
    feeds = [random_feeds(model, seed) for seed in range(6)]
    return observe_inputs(model, feeds, products_to_observe(model.graph), rows=rows)


def smooth(model, alpha):
    return apply(SmoothActivationsPass(observed(model), alpha), model)


def reach(model, name):
    """Largest magnitude per channel of what a product reads."""
    seen = observed(model)[name]
    return np.maximum(-seen.low, seen.high)


def test_a_normalisation_gives_its_outliers_away(rng):
    g, y = transformer(rng)
    model = g.model(y)
    before = reach(model, "n1")
    outcome = smooth(model, 1.0)
    after = reach(model, "n1")
    assert before.max() / before.min() > 50
    assert after.max() / after.min() <= 2 + 1e-6
    # The other is the half of the gate whose scale goes through the Mul.
    assert outcome.applied == 2


def test_text(rng, golden):
    g, y = transformer(rng, width=4)
    model = g.model(y)
    outcome = smooth(model, 0.5)
    golden(to_text(model, sources=True) + "\n".join(outcome.notes) + "\n")


@pytest.mark.parametrize("seed", range(3))
def test_the_search_takes_error_away(seed):
    from edgecomp.calibrate.observe import collect_ranges
    from edgecomp.graph.run import Runner
    from edgecomp.passes.insert_qdq import InsertQdqPass

    rng = np.random.default_rng(seed)
    g, y = transformer(rng)
    model = g.model(y)
    feeds = [random_feeds(model, number) for number in range(12)]
    expected = [Runner(model)(feed)[y] for feed in feeds]
    errors = []
    for alpha in ("no", None):
        changed = model.clone()
        if alpha is None:
            assert smooth(changed, alpha).applied
        InsertQdqPass(collect_ranges(changed, feeds))(changed)
        runner = Runner(changed)
        found = [runner(feed)[y] for feed in feeds]
        errors.append(sum(((a - b) ** 2).sum() for a, b in zip(found, expected, strict=True)))
    assert errors[1] < errors[0]


def test_convolutions_and_groups(rng):
    g = Graph()
    x = g.input("x", (1, 3, 9, 9))
    weight = normal(rng, 8, 3, 1, 1) * outliers(rng, 8)[:, None, None, None]
    y = g("Relu", g("Conv", x, weight, normal(rng, 8)))
    y = g("Conv", y, normal(rng, 8, 2, 3, 3), group=4, pads=[1, 1, 1, 1], strides=[2, 2])
    model = g.model(g("Conv", g("Relu", y), normal(rng, 4, 8, 1, 1)))
    assert smooth(model, None).applied >= 1


def test_a_concat_has_two_sources(rng):
    g = Graph()
    x = g.input("x", (2, 6))
    parts = [
        g("Relu", g("Gemm", x, normal(rng, 6, 5) * outliers(rng, 5), normal(rng, 5)))
        for _ in range(2)
    ]
    model = g.model(g("Gemm", g("Concat", *parts, axis=1), normal(rng, 10, 3)))
    assert smooth(model, 0.5).applied == 2


def test_a_row_that_is_multiplied_takes_the_scale(rng):
    g = Graph()
    x = g("Tanh", g.input("x", (2, 5, 8)))
    y = g("Add", g("Mul", x, outliers(rng, 8)), normal(rng, 8))
    model = g.model(g("MatMul", y, normal(rng, 8, 4)))
    assert smooth(model, 0.7).applied == 1
    assert [node.op_type for node in model.graph] == ["Tanh", "Mul", "Add", "MatMul"]


def test_refusals(rng):
    g = Graph()
    x = g.input("x", (2, 5, 8))
    y = g("LayerNormalization", x, outliers(rng, 8), normal(rng, 8), axis=-1)
    y = g("MatMul", g("Add", x, y), normal(rng, 8, 4))
    outcome = smooth(g.model(y), 0.5)
    assert not outcome.modified
    assert "x is no result" in outcome.refusals[0].reason


def test_what_was_not_observed_stays(rng):
    g, y = transformer(rng)
    outcome = apply(SmoothActivationsPass({}, 0.5), g.model(y))
    assert "not observed" in outcome.refusals[-1].reason
    assert not outcome.modified


@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(seed=st.integers(0, 1000), alpha=st.sampled_from([None, 0.0, 0.3, 0.5, 1.0]))
def test_any_strength(seed, alpha):
    rng = np.random.default_rng(seed)
    g, y = transformer(rng, width=int(rng.integers(2, 9)))
    smooth(g.model(y), alpha)


def test_patches_are_what_a_convolution_sums(rng):
    g = Graph()
    weight = normal(rng, 6, 2, 3, 2)
    y = g(
        "Conv",
        g.input("x", (2, 4, 9, 8)),
        weight,
        group=2,
        pads=[1, 0, 2, 1],
        strides=[2, 1],
        dilations=[1, 2],
    )
    model = g.model(y)
    feed = random_feeds(model, 0)
    count = int(np.prod(model.graph.outputs[0].shape.numpy())) // 6
    (node,) = [node for node in model.graph if constant_array(node.inputs[1]) is not None]
    seen = observe_inputs(model, [feed], [node], rows=64 * count)["n0"]
    from edgecomp.graph.run import run_model

    expected = np.moveaxis(run_model(model, feed)[y], 1, -1).reshape(count, 2, 3)
    found = np.einsum(
        "ngit,goit->ngo", seen.rows.astype(np.float64), weight.reshape(2, 3, 2, 6)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(seen.high, np.maximum(feed["x"].max((0, 2, 3)), 0))
