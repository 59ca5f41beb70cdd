"""Scales move out of normalisations where samples that are held back show that it pays."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp import api
from edgecomp.calibrate.readers import open_calibration
from edgecomp.graph.run import Runner
from edgecomp.options import BudgetOptions, DebugOptions, QuantizeOptions
from edgecomp.recipe.read import recipe_of
from edgecomp.recipe.recipe import Recipe
from edgecomp.steps.held_back import LEAST_SAMPLES
from edgecomp.steps.recipe import RECIPE_PROPERTY, choose_for_layers
from edgecomp.steps.try_smoothing import worth_smoothing

OPTIONS = QuantizeOptions(precision="w8a8")
WIDTH = 16
STEP = {"pass": "smooth_quant", "targets": ["uneven"]}


def network(rng, *, share=1.0):
    """A normalisation with outlier channels and a product of it, which is a share of the output.

    Another product, whose inputs are all alike, is the rest.
    """
    g = Graph()
    x = g.input("x", (1, 24, WIDTH))
    scales = np.exp2(rng.uniform(-4, 4, WIDTH)).astype(np.float32)
    spread = g("LayerNormalization", x, scales, normal(rng, WIDTH), axis=-1)
    uneven = g("MatMul", spread, normal(rng, WIDTH, 8) * np.float32(share), name="uneven")
    if share == 1:
        return g.model(uneven)
    return g.model(g("Add", uneven, g("MatMul", x, normal(rng, WIDTH, 8), name="even")))


@pytest.fixture
def feeds(rng):
    return [{"x": normal(rng, 1, 24, WIDTH)} for _ in range(LEAST_SAMPLES)]


def trial(model, feeds, options=OPTIONS, recipe=None):
    recipe = recipe or Recipe()
    layers = choose_for_layers(model.graph, options, recipe)
    samples = open_calibration(feeds, model.graph.inputs)
    return worth_smoothing(model, samples, layers, options, recipe, lambda *_: None)


def test_what_outputs_depend_on_is_smoothed(rng, feeds):
    model = network(rng)
    before = [tensor.const_value.tobytes() for tensor in model.graph.initializers.values()]
    found = trial(model, feeds)
    assert found.products == ("uneven",)
    assert found.after < 0.5 * found.before
    assert found.samples == LEAST_SAMPLES // 3
    assert found.facts["smoothing_chosen"]["products"] == 1
    after = [tensor.const_value.tobytes() for tensor in model.graph.initializers.values()]
    assert after == before


def test_what_outputs_hardly_depend_on_is_not(rng, feeds):
    """The error of that product falls as before, that of the outputs does not."""
    found = trial(network(rng, share=1e-4), feeds)
    assert found.samples == LEAST_SAMPLES // 3
    assert not found.products
    assert not found.facts


def test_few_samples_try_nothing(rng, feeds):
    assert trial(network(rng), feeds[1:]).samples == 0


def test_where_products_gain_little_outputs_are_not_looked_at(rng, feeds):
    """The channels of one network are alike, those of the other come from no normalisation."""
    g = Graph()
    x = g.input("x", (1, 24, WIDTH))
    y = g("LayerNormalization", x, np.ones(WIDTH, np.float32), axis=-1)
    assert trial(g.model(g("MatMul", y, normal(rng, WIDTH, 8))), feeds).samples == 0
    g = Graph()
    x = g.input("x", (1, 24, WIDTH))
    spread = normal(rng, WIDTH, WIDTH) * np.exp2(rng.uniform(-4, 4, WIDTH)).astype(np.float32)
    hidden = g("Relu", g("MatMul", x, spread))
    assert trial(g.model(g("MatMul", hidden, normal(rng, WIDTH, 8))), feeds).samples == 0


@pytest.mark.parametrize(
    "given",
    [
        {"smooth_quant": "off"},
        {"smooth_quant": "0.5"},
        {"equalize": True},
        {"precision": "w8a16-int"},
    ],
)
def test_what_is_said_is_not_tried(rng, feeds, given):
    options = dataclasses.replace(OPTIONS, **given)
    assert trial(network(rng), feeds, options).samples == 0


def test_a_recipe_is_not_overruled(rng, feeds):
    recipe = recipe_of([{"pass": "quantize"}])
    assert trial(network(rng), feeds, recipe=recipe).samples == 0


def stored(model, feeds):
    runner = Runner(model)
    return np.stack([runner(feed)[runner.names[0]] for feed in feeds])


def test_a_build_does_what_the_option_and_the_recipe_would(rng, feeds, tmp_path):
    model = network(rng)
    made = api.quantize(model.clone(), feeds, options=OPTIONS)
    steps = json.loads(made.metadata_props[RECIPE_PROPERTY])
    assert STEP in steps
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(steps))
    expected = stored(model, feeds)

    def other(**given):
        options = dataclasses.replace(OPTIONS, **given)
        return stored(api.quantize(model.clone(), feeds, options=options), feeds)

    found = stored(made, feeds)
    np.testing.assert_array_equal(other(smooth_quant="auto"), found)
    np.testing.assert_array_equal(other(recipe=path), found)
    plain = other(smooth_quant="off")
    assert ((found - expected) ** 2).sum() < 0.5 * ((plain - expected) ** 2).sum()


def test_debugging_and_budgets_begin_as_a_build(rng, feeds, tmp_path):
    model = network(rng)
    made = api.quantize(model.clone(), feeds, options=OPTIONS)
    expected = json.loads(made.metadata_props[RECIPE_PROPERTY])
    debugged = api.debug(model.clone(), feeds, options=DebugOptions(bisect=False))
    assert debugged.recipe == expected
    path = tmp_path / "recipe.json"
    options = BudgetOptions(precision="w8a8", max_bytes=1 << 20)
    api.within_budget(model.clone(), options, calibration_dataset=feeds, recipe=path)
    assert STEP in json.loads(path.read_text())
