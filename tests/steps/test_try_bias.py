"""Biases are corrected without being asked where samples that are held back show that it pays."""

import json

import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.models import digits, digits_data

from edgecomp import api
from edgecomp.calibrate.observe import collect_ranges
from edgecomp.graph.run import Runner
from edgecomp.options import QuantizeOptions
from edgecomp.passes.correct_bias import correct_bias
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import values_to_observe
from edgecomp.steps.held_back import LEAST_SAMPLES
from edgecomp.steps.recipe import RECIPE_PROPERTY
from edgecomp.steps.try_bias import try_bias

OPTIONS = InsertQdqOptions(per_channel=False)


@pytest.fixture(scope="module")
def images():
    model = api.quantize(digits(), options=QuantizeOptions(precision="fp32"))
    return model, [{model.graph.inputs[0].name: i[None]} for i in digits_data()[2][:48]]


def trial(model, feeds):
    names = values_to_observe(model.graph, OPTIONS)
    ranges = collect_ranges(model, feeds, values=names)
    return try_bias(model, feeds, ranges, OPTIONS, lambda *_: None, reference=model)


def test_what_helps_is_kept(images):
    model, feeds = images
    found = trial(model, feeds)
    assert found.samples == 16
    assert len(found.noise) == 5
    assert found.noise[len(found.products)] == min(found.noise.values()) < 0.8 * found.noise[0]
    assert found.facts["biases_chosen"] == {
        "by": "mean errors",
        "products": len(found.products),
        "noise_without": found.noise[0],
        "noise": min(found.noise.values()),
        "held_back_samples": 16,
    }


def test_few_samples_try_nothing(images):
    model, feeds = images
    assert trial(model, feeds[: LEAST_SAMPLES - 1]).noise == {}


def test_positions_that_do_not_matter_correct_nothing(rng):
    """One token counts; fifteen alike ones fill the sample up, far from zero."""
    graph = Graph()
    x = graph.input("x", (1, 16, 8))
    hidden = graph("Relu", graph("MatMul", x, normal(rng, 8, 24)))
    told = graph("MatMul", hidden, normal(rng, 24, 6))
    model = graph.model(graph("Slice", told, np.array([0]), np.array([1]), np.array([1])))
    filling = 3.3 * normal(rng, 1, 1, 8)
    feeds = []
    for _ in range(48):
        tokens = np.repeat(filling, 16, axis=1)
        tokens[:, :1] = normal(rng, 1, 1, 8)
        feeds.append({"x": tokens})
    found = trial(model, feeds)
    assert len(found.noise) > 1
    assert not found.products


def test_what_a_build_makes_of_all_samples_is_judged_too(images, monkeypatch):
    """The same products, but from all samples a correction that spoils the outputs."""
    model, feeds = images

    def spoiled(*arguments, shifts, only=None, **rest):
        count = correct_bias(*arguments, shifts=shifts, only=only, **rest)
        if only is not None:
            shifts.update({name: 100.0 * shift for name, shift in shifts.items()})
        return count

    assert not trial(model, feeds).by_weights
    monkeypatch.setattr("edgecomp.steps.try_bias.correct_bias", spoiled)
    found = trial(model, feeds)
    assert found.by_weights or not found.products


def test_the_recipe_repeats_it(images, tmp_path):
    model, feeds = images
    made = api.quantize(model.clone(), feeds, options=QuantizeOptions(precision="w8a8"))
    steps = json.loads(made.metadata_props[RECIPE_PROPERTY])
    last = steps[-1]
    assert last["pass"] == "bias_correction"
    assert last["targets"]
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(steps))
    options = QuantizeOptions(precision="w8a8", recipe=recipe)
    assert same(made, api.quantize(model.clone(), feeds, options=options), feeds)
    plain = QuantizeOptions(precision="w8a8", bias_correction=False)
    assert not same(made, api.quantize(model.clone(), feeds, options=plain), feeds)


def same(one, other, feeds):
    runners = [Runner(model) for model in (one, other)]
    return all(
        np.array_equal(*(runner(feed)[runner.names[0]] for runner in runners))
        for feed in feeds[:8]
    )
