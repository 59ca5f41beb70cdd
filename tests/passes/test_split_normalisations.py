"""Rows of ones between normalisations and products: same bits, smoothing, refusals."""

import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.calibrate.product_inputs import observe_inputs
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.graph.text import to_text
from edgecomp.passes.smooth_activations import SmoothActivationsPass, products_to_observe
from edgecomp.passes.split_normalisations import (
    JoinNormalisationsPass,
    SplitNormalisationsPass,
    is_split,
)


def block(rng, *, residual=True, width=8):
    """Two products that read a normalisation with an outlier, and a sum that does too."""
    g = Graph()
    gains = np.ones(width, np.float32)
    gains[3] = 40
    y = g("LayerNormalization", g.input("x", (2, 5, width)), gains, normal(rng, width))
    first = g("Relu", g("MatMul", y, normal(rng, width, 12)))
    second = g("MatMul", y, normal(rng, width, width))
    z = g("Add", g("MatMul", first, normal(rng, 12, width)), second)
    last = g("LayerNormalization", g("Add", z, y) if residual else z, gains, gains)
    return g.model(last)


def smoothed(model, alpha):
    feeds = [random_feeds(model, seed) for seed in range(6)]
    inputs = observe_inputs(model, feeds, products_to_observe(model.graph), rows=32)
    return SmoothActivationsPass(inputs, alpha)(model)


def test_text(rng, golden):
    model = block(rng, width=4)
    assert apply(SplitNormalisationsPass(), model).applied == 1
    golden(to_text(model, sources=True))


def test_rows_of_ones_are_removed_again(rng):
    model = block(rng)
    before = to_text(model)
    SplitNormalisationsPass()(model)
    assert apply(JoinNormalisationsPass(), model).applied == 1
    assert to_text(model) == before


@pytest.mark.parametrize("alpha", [0.5, None], ids=["0.5", "auto"])
def test_smoothing_moves_the_outlier_into_the_weights(rng, alpha):
    model = block(rng)
    feeds = random_feeds(model, 1)
    before = run_model(model, feeds)
    assert not any("factors" in note for note in smoothed(model.clone(), alpha).notes)
    SplitNormalisationsPass()(model)
    assert any("factors" in note for note in smoothed(model, alpha).notes)
    assert not JoinNormalisationsPass()(model).modified
    (row,) = (n for n in model.graph if n.op_type == "Mul")
    factors = row.inputs[1].const_value.numpy()
    assert factors[3] == factors.min() < factors.max()
    for name, array in run_model(model, feeds).items():
        np.testing.assert_array_equal(array, before[name])


def rows(model):
    """Names of what the row of each Mul is read by."""
    muls = [node for node in model.graph if node.op_type == "Mul"]
    return [sorted(use.node.name for use in node.outputs[0].uses()) for node in muls]


def products(model):
    return [node.name for node in model.graph if node.op_type == "MatMul"]


def test_only_those_that_are_named(rng):
    model = block(rng)
    assert not SplitNormalisationsPass(()).call(model).modified
    first, *_ = products(model)
    assert apply(SplitNormalisationsPass({first}), model).applied == 1
    assert rows(model) == [[first]]


def test_a_product_that_is_not_named_is_another_reader(rng):
    """Without it the normalisation could take the scale itself."""
    model = block(rng, residual=False)
    first, *_ = products(model)
    assert apply(SplitNormalisationsPass({first}), model).applied == 1
    assert rows(model) == [[first]]


def test_a_product_that_cannot_take_a_scale_is_another_reader(rng):
    """Its weights are those of a product of something else."""
    g = Graph()
    x, weight = g.input("x", (2, 4)), g.constant(normal(rng, 4, 3))
    y = g("LayerNormalization", x, normal(rng, 4), normal(rng, 4))
    free = g("MatMul", y, normal(rng, 4, 3), name="free")
    model = g.model(free, g("MatMul", y, weight), g("MatMul", x, weight))
    assert apply(SplitNormalisationsPass(), model).applied == 1
    assert rows(model) == [["free"]]
    assert any("factors" in note for note in smoothed(model, 0.5).notes)


def test_refusals_name_the_normalisation(rng):
    """The row is removed again where nothing is moved into it."""
    model = block(rng)
    names = {node.name for node in model.graph}
    SplitNormalisationsPass()(model)
    outcome = SmoothActivationsPass({}, 0.5)(model)
    assert "its readers were not observed" in {each.reason for each in outcome.refusals}
    assert {each.node for each in outcome.refusals} <= names


def test_a_name_that_is_taken(rng):
    g = Graph()
    y = g("LayerNormalization", g.input("x", (2, 4)), normal(rng, 4), normal(rng, 4))
    z = g("Relu", g("MatMul", y, normal(rng, 4, 4)), name=f"{y}_factors")
    outcome = apply(SplitNormalisationsPass(), g.model(g("Add", z, y)))
    assert not outcome.modified
    assert [each.reason for each in outcome.refusals] == [
        f"a node is named {y}_factors already"
    ]


@pytest.mark.parametrize("behind", ["Relu", "LayerNormalization"])
def test_a_row_of_the_users_that_broadcasts_stays(rng, behind):
    """It makes three lines of one, whatever it is named."""
    g = Graph()
    x = g.input("x", (1, 4))
    constants = (normal(rng, 4), normal(rng, 4)) if behind == "LayerNormalization" else ()
    y = g("Mul", g(behind, x, *constants), np.ones((3, 4), np.float32), name="user_factors")
    model = g.model(g("MatMul", y, normal(rng, 4, 2)))
    assert not apply(JoinNormalisationsPass(), model).modified
    assert "Mul" in operators(model)


def test_a_row_of_the_users_behind_something_else_begins_no_region_of_its_own(rng):
    g = Graph()
    y = g("Mul", g("Relu", g.input("x", (2, 4))), normal(rng, 4), name="user_factors")
    (node,) = (n for n in g.model(y).graph if n.op_type == "Mul")
    assert not is_split(node)


def test_where_the_normalisation_itself_can_take_the_scale_nothing_is_put_in(rng):
    model = block(rng, residual=False)
    assert not SplitNormalisationsPass()(model).modified


def test_what_no_product_reads_stays(rng):
    g = Graph()
    y = g("LayerNormalization", g.input("x", (2, 4)), normal(rng, 4), normal(rng, 4))
    model = g.model(g("Add", g("MatMul", y, g.input("w", (4, 4))), y))
    assert not SplitNormalisationsPass()(model).modified
    assert "Mul" not in operators(model)


def test_an_output_counts_as_another_reader(rng):
    g = Graph()
    y = g("LayerNormalization", g.input("x", (2, 4)), normal(rng, 4), normal(rng, 4))
    model = g.model(g("Gemm", y, normal(rng, 4, 3), normal(rng, 3)), y)
    assert apply(SplitNormalisationsPass(), model).applied == 1
