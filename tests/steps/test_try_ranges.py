"""Ranges are chosen by another method where samples that are held back show that it pays."""

import json

import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.unread_channel import two_products_without_channel_0

from edgecomp import api
from edgecomp.calibrate.observe import Seen, collect_ranges
from edgecomp.graph.run import Runner
from edgecomp.options import QuantizeOptions
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import values_to_observe
from edgecomp.steps.held_back import LEAST_SAMPLES
from edgecomp.steps.recipe import RECIPE_PROPERTY
from edgecomp.steps.try_ranges import CANDIDATES, try_ranges

OPTIONS = InsertQdqOptions()


@pytest.fixture
def model(rng):
    return two_products_without_channel_0(rng)


def samples(rng, outlier):
    """Few numbers of channel 0 are large."""
    feeds = []
    for _ in range(LEAST_SAMPLES):
        x = normal(rng, 1, 64, 32)
        x[0, rng.integers(64), 0] = outlier
        feeds.append({"x": x})
    return feeds


def trial(model, feeds):
    seen = Seen(CANDIDATES)
    names = values_to_observe(model.graph, OPTIONS)
    ranges = collect_ranges(model, feeds, method="mse", values=names, seen=seen)
    return try_ranges(
        model, feeds, ranges, seen.others, OPTIONS, lambda *_: None, reference=model
    )


def test_what_does_not_matter_is_clipped(model, rng):
    found = trial(model, samples(rng, 300.0))
    assert found.samples == LEAST_SAMPLES // 3
    assert found.after < 0.1 * found.before
    assert found.steps[0][0][0] == "percentile"
    assert found.ranges["x"].high < 10


def test_two_samples_that_a_softmax_is_not_sure_of_decide(rng):
    graph = Graph()
    weight = normal(rng, 32, 6)
    weight[0] = 0.0
    scores = graph("MatMul", graph.input("x", (1, 64, 32)), weight)
    sharper = graph("Div", scores, graph.input("temperature", (1, 1, 1)))
    model = graph.model(graph("Softmax", sharper))
    feeds = samples(rng, 30.0)
    for index, feed in enumerate(feeds):
        warm = index in (2, 5)  # these are held back
        feed["temperature"] = np.full((1, 1, 1), 1.0 if warm else 1e-3, np.float32)
        if not warm:  # no answer is near another one
            feed["x"] = np.repeat(feed["x"][:, :1], 64, 1)
    found = trial(model, feeds)
    assert found.ranges["x"].high < 10
    assert found.samples == LEAST_SAMPLES


def test_two_samples_are_overruled_by_those_that_are_not_held_back(rng):
    """Those held back have nothing large in them, and of all but two the softmax is sure."""
    graph = Graph()
    scores = graph("MatMul", graph.input("x", (1, 64, 32)), normal(rng, 32, 6))
    sharper = graph("Div", scores, graph.input("temperature", (1, 1, 1)))
    model = graph.model(graph("Softmax", sharper))
    feeds = []
    for index in range(LEAST_SAMPLES):
        x = rng.uniform(-1, 1, (1, 64, 32)).astype(np.float32)
        held, warm = index % 3 == 2, index in (2, 5) or index % 3 != 2
        if not held:
            x[0, 0, 0] = 12.0
        if not warm:  # no answer is near another one
            x = np.repeat(x[:, :1], 64, 1)
        temperature = np.full((1, 1, 1), 1.0 if warm else 1e-3, np.float32)
        feeds.append({"x": x, "temperature": temperature})
    found = trial(model, feeds)
    assert not found.steps
    assert found.samples == LEAST_SAMPLES


def test_few_samples_try_nothing(model, rng):
    assert trial(model, samples(rng, 300.0)[1:]).samples == 0


def test_where_nothing_is_gained_mse_stays(rng):
    graph = Graph()
    model = graph.model(graph("MatMul", graph.input("x", (1, 64, 32)), normal(rng, 32, 6)))
    feeds = [{"x": rng.random((1, 64, 32), np.float32)} for _ in range(LEAST_SAMPLES)]
    found = trial(model, feeds)
    assert found.samples
    assert not found.steps
    assert not found.ranges


def test_samples_whose_outputs_are_zero_say_nothing(rng):
    """Stored weights do not cancel as the float ones do: such noise has no ratio to a signal."""
    graph = Graph()
    x = graph.input("x", (1, 64, 4))
    model = graph.model(graph("MatMul", x, np.array([[1], [1], [1], [-3]], np.float32)))
    feeds = [{"x": normal(rng, 1, 64, 4)} for _ in range(LEAST_SAMPLES)]
    feeds[2]["x"][:] = 1.0
    found = trial(model, feeds)
    assert found.samples == LEAST_SAMPLES // 3
    assert 0 < found.after <= found.before < 0.1


def test_the_recipe_repeats_it(model, rng, tmp_path):
    feeds = samples(rng, 300.0)
    made = api.quantize(model.clone(), feeds, options=QuantizeOptions(precision="w8a8"))
    steps = json.loads(made.metadata_props[RECIPE_PROPERTY])
    assert steps[1]["args"]["calibration_method"] == "percentile"
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(steps))
    again = QuantizeOptions(precision="w8a8", recipe=recipe)
    plain = QuantizeOptions(precision="w8a8", range_trials=False, bias_correction=False)
    same = [
        np.array_equal(*(Runner(each)(feeds[0])[made.graph.outputs[0].name] for each in pair))
        for pair in (
            (made, api.quantize(model.clone(), feeds, options=options))
            for options in (again, plain)
        )
    ]
    assert same == [True, False]
