"""The layer that was sabotaged is found, and the suggested recipe does what was predicted."""

import json
import math

import numpy as np
import pytest
from debugging.conftest import BAD, NAMES, chain, sqnr
from helpers.graphs import Graph, normal

import edgecomp.debugging.outputs as outputs_module
from edgecomp import api
from edgecomp.debugging import measure
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.run import Runner
from edgecomp.options import DebugOptions, QuantizeOptions


def outputs(model, samples):
    runner = Runner(model)
    return [runner(sample)[runner.names[0]] for sample in samples]


def test_it_begins_with_what_a_build_chooses(rng):
    """Large numbers that no product reads: a build finds out that clipping them costs nothing."""
    graph = Graph()
    weight = normal(rng, 32, 16)
    weight[0] = 0.0
    hidden = graph("Relu", graph("MatMul", graph.input("x", (1, 64, 32)), weight))
    model = graph.model(graph("MatMul", hidden, normal(rng, 16, 6)))
    feeds = [{"x": normal(rng, 1, 64, 32)} for _ in range(24)]
    for feed in feeds:
        feed["x"][0, rng.integers(64), 0] = 300.0
    report = api.debug(model.clone(), feeds, options=DebugOptions(bisect=False))
    built = api.quantize(model.clone(), feeds, options=QuantizeOptions(precision="w8a8"))
    assert json.loads(built.metadata_props["edgecomp.recipe"]) == list(report.recipe)
    assert any(s["args"].get("calibration_method") == "percentile" for s in report.recipe)
    assert report.output_db > 25


def far_from_zero(seed):
    """Two products whose inputs are far from zero, and samples."""
    rng = np.random.default_rng(seed)
    graph = Graph()
    first = graph("MatMul", graph.input("x", (1, 16, 8)), normal(rng, 8, 24), name="first")
    last = graph("MatMul", graph("Relu", first), normal(rng, 24, 6), name="last")
    return graph.model(last), [{"x": 3 + normal(rng, 1, 16, 8)} for _ in range(30)]


@pytest.mark.parametrize(("percentile", "kind"), [(100.0, {"of": "weights"}), (95.0, {})])
def test_it_corrects_biases_as_a_build_does(percentile, kind):
    """Weights alone shift the means, or what is clipped does as well."""
    model, feeds = far_from_zero(0)
    ranges = {"calibration_method": "percentile", "calibration_percentile": percentile}
    options = DebugOptions(bisect=False, samples=len(feeds), **ranges)
    report = api.debug(model.clone(), feeds, options=options)
    options = QuantizeOptions(precision="w8a8", **ranges)
    built = api.quantize(model.clone(), feeds, options=options)
    assert json.loads(built.metadata_props["edgecomp.recipe"]) == list(report.recipe)
    assert report.recipe[-1]["pass"] == "bias_correction"
    assert report.recipe[-1].get("args", {}) == kind
    expected = outputs(model, feeds)
    assert report.output_db == pytest.approx(sqnr(expected, outputs(built, feeds)), abs=1e-6)


def test_both_kinds_of_corrections_are_those_of_a_build(tmp_path):
    """What the mean error is taken from is the float model, without the other corrections."""
    model, feeds = far_from_zero(0)
    path = tmp_path / "recipe.json"
    steps = [
        {"pass": "quantize"},
        {"pass": "bias_correction", "targets": ["first"], "args": {"of": "weights"}},
        {"pass": "bias_correction", "targets": ["last"]},
    ]
    path.write_text(json.dumps(steps))
    options = DebugOptions(bisect=False, samples=len(feeds), recipe=path)
    report = api.debug(model.clone(), feeds, options=options)
    built = api.quantize(model.clone(), feeds, options=QuantizeOptions(recipe=path))
    expected = outputs(model, feeds)
    assert report.output_db == pytest.approx(sqnr(expected, outputs(built, feeds)), abs=1e-6)


@pytest.mark.parametrize("sabotage", ["weights", "activations"])
def test_the_sabotaged_layer_is_found(rng, samples, sabotage):
    report = api.debug(chain(rng, sabotage), samples)
    assert report.layers[0].layer.name == BAD
    assert report.layers[0].layer.source == f"net.py:{2 * int(BAD[1:])}"
    assert report.layers[0].cause == {"weights": "weights", "activations": "inputs"}[sabotage]
    assert report.layers[0].alone.sqnr_db < report.layers[1].alone.sqnr_db - 10
    # Bisection finds the same layer, and it alone.
    assert report.search.layers == (BAD,)
    assert report.search.restored_db >= report.search.goal_db
    assert report.search.share == pytest.approx(8 * 8 / (3 * 8 + 4 * 8 * 8))
    assert report.search.predicted_db >= report.search.goal_db
    values = report.layers[0]
    if sabotage == "weights":
        assert values.weight_values.high == pytest.approx(300)
    else:
        (read,) = values.input_values.values()
        assert read.high >= 3000


@pytest.mark.parametrize(
    "settings",
    [
        {"equalize": True},
        {"smooth_quant": "auto"},
        {"weight_rounding": "adaround", "bias_correction": True},
    ],
)
def test_corrections_are_those_of_a_build(rng, samples, settings):
    model = chain(rng, "" if "weight_rounding" in settings else "weights")
    report = api.debug(model.clone(), samples, options=DebugOptions(bisect=False, **settings))
    options = QuantizeOptions(precision="w8a8", **settings)
    built = api.quantize(model.clone(), samples, options=options)
    plain = api.quantize(model.clone(), samples, options=QuantizeOptions(precision="w8a8"))
    expected = outputs(model, samples)
    assert report.output_db == pytest.approx(sqnr(expected, outputs(built, samples)), abs=0.1)
    assert abs(report.output_db - sqnr(expected, outputs(plain, samples))) > 0.2
    assert json.loads(built.metadata_props["edgecomp.recipe"]) == list(report.recipe)


def test_a_sound_network_has_no_worst_layer(rng, samples):
    report = api.debug(chain(rng), samples)
    assert sorted(each.layer.name for each in report.layers) == sorted(NAMES)
    assert min(each.alone.sqnr_db for each in report.layers) > 25


def test_figures_are_those_of_the_models(rng, samples):
    """Alone: a model in which this layer alone is quantized. Accumulated: the quantized model."""
    model = chain(rng)
    options = DebugOptions(bisect=False, calibration_method="minmax", samples=len(samples))
    report = api.debug(model.clone(), samples, options=options)
    assert report.search is None
    found = {each.layer.name: each for each in report.layers}

    def quantized(**settings):
        chosen = QuantizeOptions(
            precision="w8a8", calibration_method="minmax", strip_pruned=False, **settings
        )
        return api.quantize(model.clone(), samples, options=chosen)

    for name, layer in found.items():
        value = layer.layer.outputs[0]
        expected = [Runner(model, [value])(s)[value] for s in samples]
        others = tuple(other for other in NAMES if other != name)
        alone = Runner(quantized(nodes_to_exclude=others), [value])
        whole = Runner(quantized(), [value])
        for runner, difference in ((alone, layer.alone), (whole, layer.accumulated)):
            results = [runner(sample)[value] for sample in samples]
            assert difference.sqnr_db == pytest.approx(sqnr(expected, results), abs=1e-3)
    whole = outputs(quantized(), samples)
    assert report.output_db == pytest.approx(sqnr(outputs(model, samples), whole), abs=1e-4)


@pytest.mark.parametrize("sabotage", ["weights", "activations", ""])
@pytest.mark.parametrize("flags", [{}, {"per_channel": False, "calibration_method": "minmax"}])
def test_the_suggested_recipe_gives_what_was_predicted(
    rng, samples, tmp_path, sabotage, flags
):
    model = chain(rng, sabotage)
    path = tmp_path / "recipe.yaml"
    options = DebugOptions(output=path, samples=len(samples), restore=38.0, **flags)
    report = api.debug(model.clone(), samples, options=options)
    recipe = QuantizeOptions(recipe=path)
    found = outputs(api.quantize(model.clone(), samples, options=recipe), samples)
    assert report.search.predicted_db == pytest.approx(
        sqnr(outputs(model, samples), found), abs=1e-6
    )
    assert report.search.predicted_db >= 38.0
    again = api.debug(model, samples, options=DebugOptions(recipe=path, samples=len(samples)))
    assert again.output_db == pytest.approx(report.search.predicted_db, abs=1e-6)


def test_apply_extends_a_recipe(rng, samples, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(
        json.dumps([{"pass": "quantize", "args": {"calibration_method": "minmax"}}])
    )
    yaml = tmp_path / "r.yaml"
    yaml.write_text(path.read_text())
    api.debug(chain(rng, "activations"), samples, options=DebugOptions(apply=yaml))
    text = yaml.read_text()
    assert "minmax" in text
    assert "dB" in text
    api.debug(
        chain(rng, "weights"), samples, options=DebugOptions(apply=tmp_path / "new.yaml")
    )
    assert BAD in (tmp_path / "new.yaml").read_text()


def test_two_outputs_and_sums(rng, samples):
    g = Graph()
    x = g.input("x", (1, 3, 12, 12))
    a = g("Conv", x, normal(rng, 4, 3, 1, 1), name="a")
    b = g("Conv", a, normal(rng, 4, 4, 1, 1), name="b")
    s = g("Relu", g("Add", a, b, name="sum"), name="relu")
    p = g("GlobalAveragePool", s, name="mean")
    top = g("ArgMax", g("Conv", p, normal(rng, 4, 4, 1, 1), name="head"), axis=1)
    report = api.debug(
        g.model(g("Conv", s, normal(rng, 2, 4, 1, 1), name="map"), top), samples
    )
    names = {each.layer.name: each for each in report.layers}
    assert set(names) == {"a", "b", "sum", "mean", "head", "map"}
    assert names["sum"].layer.operator == "Add+Relu"
    assert names["sum"].weights is None
    assert len(names["sum"].layer.inputs) == 2
    assert len(report.outputs) == 2
    assert math.isfinite(report.output_db)
    json.dumps(report.as_dict(), allow_nan=False)


def test_samples_that_do_not_fit_are_read_again(rng, samples, monkeypatch):
    model = chain(rng)
    wanted = DebugOptions(bisect=False)
    whole = api.debug(model.clone(), samples, options=wanted)
    monkeypatch.setattr(outputs_module, "KEPT_BYTES", 1)
    monkeypatch.setattr(measure, "MEMORY_BYTES", 1)
    parts = api.debug(model, samples, options=wanted)
    assert parts.as_dict() == whole.as_dict()


@pytest.mark.parametrize(
    ("settings", "code", "text"),
    [
        ({"precision": "fp32"}, Code.USAGE, "nothing to compare"),
        ({"samples": 0}, Code.USAGE, "--samples"),
        ({"apply": "a.yaml", "output": "b.yaml"}, Code.USAGE, "not together"),
        ({"nodes_to_exclude": ("re:.*",)}, Code.USAGE, "every layer of the model stays float"),
    ],
)
def test_bad_options(rng, samples, settings, code, text):
    with pytest.raises(EdgecompError, match=text) as caught:
        api.debug(chain(rng), samples, options=DebugOptions(**settings))
    assert caught.value.code is code


def test_bad_models_and_data(rng, samples, tmp_path):
    g = Graph()
    model = g.model(g("Softmax", g.input("x", (1, 3, 12, 12)), name="s"))
    with pytest.raises(
        EdgecompError, match="no layer of the model can be quantized"
    ) as caught:
        api.debug(model, samples)
    assert caught.value.code is Code.OPERATOR_UNSUPPORTED
    with pytest.raises(EdgecompError, match="quantized already") as caught:
        api.debug(api.quantize(chain(rng), samples), samples)
    assert caught.value.code is Code.MODEL_INVALID
    with pytest.raises(EdgecompError, match="needs calibration data"):
        api.debug(chain(rng))
    with pytest.raises(EdgecompError, match="has shape") as caught:
        api.debug(chain(rng), [{"x": normal(rng, 1, 3, 12, 11)}])
    assert caught.value.code is Code.CALIBRATION_INVALID
    (tmp_path / "there.yaml").write_text("")
    with pytest.raises(EdgecompError, match="exists already"):
        api.debug(chain(rng), samples, options=DebugOptions(output=tmp_path / "there.yaml"))
