"""Budgets on small networks: what is chosen holds, is built from its recipe alone, or is refused."""

import dataclasses
import json
import re

import numpy as np
import onnx_ir as ir
import pytest
from debugging.conftest import BAD, NAMES, chain
from helpers.graphs import Graph, normal

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.run import Runner
from edgecomp.options import BudgetOptions, BuildOptions, QuantizeOptions
from edgecomp.recipe.read import read_recipe
from edgecomp.steps.budget_measure import weight_bytes

METRIC = """
import pathlib
import numpy as np

TRUTH = np.load(pathlib.Path(__file__).with_name("truth.npz"))


def error(run, data):
    found = [run(feed)[run.outputs[0]] for feed in data]
    pairs = list(zip(found, TRUTH.values(), strict=True))
    noise = sum(((a - b) ** 2).sum() for a, b in pairs)
    return float(np.sqrt(noise / sum((b**2).sum() for _, b in pairs)))


def likeness(run, data):
    return 1 - error(run, data)


def raises_in_8_bits(run, data):
    if error(run, data) > 1e-3:
        raise ValueError("too far off")
    return 1.0
"""


@pytest.fixture
def samples(rng):
    return [{"x": normal(rng, 1, 3, 12, 12)} for _ in range(6)]


@pytest.fixture
def task(tmp_path, samples):
    """task(model) -> the path of a metric's file that knows what float gives."""

    def make(model):
        runner = Runner(model)
        truth = {f"s{i}": runner(s)[runner.names[0]] for i, s in enumerate(samples)}
        np.savez(tmp_path / "truth.npz", **truth)
        (tmp_path / "metric.py").write_text(METRIC)
        return tmp_path / "metric.py"

    return make


def search(model, samples, tmp_path, **settings):
    options = BudgetOptions(**{"precision": "w8a8", "force": True, **settings})
    return api.within_budget(
        model.clone(), options, calibration_dataset=samples, recipe=tmp_path / "r.yaml"
    )


def distance(model, expected, samples):
    runners = Runner(model), Runner(expected)
    pairs = [[r(s)[r.names[0]] for r in runners] for s in samples]
    noise = sum(((a - b) ** 2).sum() for a, b in pairs)
    return float(np.sqrt(noise / sum((b**2).sum() for _, b in pairs)))


def text(model):
    return ir.to_proto(model).SerializeToString(deterministic=True)


@pytest.mark.parametrize("direction", ["higher-better", "lower-better"])
@pytest.mark.parametrize("most", ["0.02", "0.3"])
def test_the_bad_layer_is_widened(rng, samples, task, tmp_path, direction, most):
    model = chain(rng, "activations")
    function = "error" if direction == "lower-better" else "likeness"
    chosen, report = search(
        model,
        samples,
        tmp_path,
        max_drop=most,
        metric=f"{task(model)}:{function}",
        metric_direction=direction,
    )
    assert report.candidates[0].drop > float(most)
    assert report.best.drop <= float(most)
    assert report.best.holds(report.limits)
    # Float, or 16-bit activations, which hold its outlier as well.
    assert [s["targets"] for s in report.recipe if "targets" in s] == [[BAD]]
    # What was measured is what is built, from the file alone.
    built = api.quantize(model.clone(), samples, options=chosen)
    assert distance(built, model, samples) == pytest.approx(report.best.drop, abs=1e-6)
    alone = QuantizeOptions(recipe=tmp_path / "r.yaml", precision="w8a8")
    assert text(api.quantize(model.clone(), samples, options=alone)) == text(built)
    assert weight_bytes(built) == report.best.bytes


def test_what_holds_at_once_is_left_alone(rng, samples, task, tmp_path):
    model = chain(rng)
    _, report = search(
        model, samples, tmp_path, max_drop="5%", metric=f"{task(model)}:likeness"
    )
    assert len(report.candidates) == 1
    assert report.best.precisions == {"w8a8": 5}
    assert report.float_metric == pytest.approx(1.0, abs=1e-5)
    assert not [s for s in report.recipe if s["pass"] != "quantize"]


def test_the_cheapest_of_those_that_hold(rng, samples, task, tmp_path):
    """Halfway: no more layers in float than it takes, by every set of layers tried."""
    model = chain(rng, "activations")
    metric = f"{task(model)}:likeness"
    _, report = search(model, samples, tmp_path, max_drop="0.009", metric=metric)
    held = [c for c in report.candidates if c.holds(report.limits)]
    assert report.best in held
    most_integer = max(c.precisions.get("w8a8", 0) for c in held)
    assert report.best.precisions["w8a8"] == most_integer


def test_settings_come_before_layers(rng, samples, task, tmp_path):
    """Ranges by minmax lose to an outlier; another method restores all of it."""
    model = chain(rng)
    samples[0]["x"] = samples[0]["x"].copy()
    samples[0]["x"][0, 0, 0, 0] = 400.0
    metric = f"{task(model)}:likeness"
    _, report = search(
        model, samples[1:] + samples[:1], tmp_path,
        max_drop="0.8", metric=metric, calibration_method="minmax",
    )  # fmt: skip
    first = report.candidates[0]
    assert report.best.drop <= first.drop


def test_few_bytes(rng, samples, tmp_path):
    model = chain(rng, "activations")
    _, whole = search(model, samples, tmp_path, max_bytes=1_000_000)
    assert whole.best.precisions == {"fp32": 5}
    least = whole.candidates[0].bytes
    limit = least + 2000
    _, report = search(model, samples, tmp_path, max_bytes=limit)
    assert report.best.bytes <= limit
    # Weights in 16 bits are as good as float ones: there is room for more layers.
    assert report.best.precisions["w8a8"] == 2
    assert report.best.precisions["fp16"] >= 1
    assert BAD in [name for s in report.recipe for name in s.get("targets", ())]
    _, fewer = search(model, samples, tmp_path, max_bytes=least - 300)
    assert fewer.best.bytes <= least - 300
    assert fewer.best.precisions["w4a8"] >= 1
    with pytest.raises(EdgecompError) as caught:
        search(model, samples, tmp_path, max_bytes=least // 3)
    assert caught.value.code is Code.POLICY_GATE
    assert "at least" in caught.value.cause
    reached = int(caught.value.hint.split("--max-bytes ")[1].split()[0].rstrip(",;"))
    assert least // 3 < reached < least - 300


def test_modelled_time(rng, samples, tmp_path):
    """With a target its prices count, conversions included."""
    graph = Graph()
    x = graph.input("x", (1, 3, 12, 12))
    for name, inputs in (("a", 3), ("b", 64), ("c", 64)):
        x = graph("Relu", graph("Conv", x, normal(rng, 64, inputs, 1, 1), name=name))
    model = graph.model(x)
    _, free = search(model, samples, tmp_path, max_ms=1e6, target="raspberry-pi-5")
    assert free.best.precisions == {"fp32": 3}
    assert not free.best.measured
    fast = free.candidates[0].seconds * 1e3
    slow = free.best.seconds * 1e3
    assert fast < slow
    middle = 0.5 * (fast + slow)
    _, report = search(model, samples, tmp_path, max_ms=middle, target="raspberry-pi-5")
    assert report.best.seconds * 1e3 <= middle
    assert set(report.best.precisions) == {"fp32", "w8a8"}
    with pytest.raises(EdgecompError) as caught:
        search(model, samples, tmp_path, max_ms=fast / 2, target="raspberry-pi-5")
    assert caught.value.code is Code.LATENCY_GATE
    assert "modelled for raspberry-pi-5" in caught.value.cause


def test_auto_takes_the_fastest_that_holds(rng, samples, task, tmp_path):
    model = chain(rng, "activations")
    metric = f"{task(model)}:likeness"
    _, report = search(
        model, samples, tmp_path,
        precision="auto", target="raspberry-pi-3", max_drop="0.5", metric=metric,
    )  # fmt: skip
    # What is slower in 8 bits on this device stays float: here everything.
    assert report.best.precisions == {"fp32": 5}
    assert report.best.seconds < report.candidates[0].seconds


def test_the_best_that_was_reached_is_said(rng, samples, task, tmp_path):
    model = chain(rng)
    with pytest.raises(EdgecompError) as caught:
        search(model, samples, tmp_path, max_drop="1e-9", metric=f"{task(model)}:likeness")
    assert caught.value.code is Code.ACCURACY_GATE
    lost = re.search(r"the best lost (\S+)", caught.value.cause)
    allowed = re.match(r"allow --max-drop ([^\s;]+)", caught.value.hint)
    assert lost
    assert allowed
    assert 0 < float(lost[1]) <= float(allowed[1]) < 1e-3
    assert not (tmp_path / "r.yaml").exists()


def test_drop_and_bytes_together(rng, samples, task, tmp_path):
    model = chain(rng, "activations")
    metric = f"{task(model)}:likeness"
    with pytest.raises(EdgecompError) as caught:
        search(model, samples, tmp_path, max_drop="0.02", metric=metric, max_bytes=3200)
    assert caught.value.code is Code.ACCURACY_GATE
    assert "within the other budgets" in caught.value.cause
    _, report = search(
        model, samples, tmp_path, max_drop="0.02", metric=metric, max_bytes=5000
    )
    assert report.best.holds(report.limits)


def test_a_metric_that_raises_on_a_candidate(rng, samples, task, tmp_path):
    model = chain(rng, "activations")
    metric = f"{task(model)}:raises_in_8_bits"
    with pytest.raises(EdgecompError) as caught:
        search(model, samples, tmp_path, max_drop="0.1", metric=metric)
    assert caught.value.code is Code.METRIC_INVALID
    assert "failed on all layers in 8 bits: ValueError: too far off" in caught.value.cause


def test_flags_and_recipes_hold(rng, samples, tmp_path):
    """What the user says stays float is no choice."""
    model = chain(rng)
    chosen, report = search(
        model, samples, tmp_path,
        max_bytes=1_000_000, nodes_to_exclude=(NAMES[0],), precision="w8a8",
    )  # fmt: skip
    assert sum(report.candidates[0].precisions.values()) == 4
    assert chosen.nodes_to_exclude == ()
    assert report.recipe[1] == {"pass": "float", "targets": [NAMES[0]]}
    own = tmp_path / "own.yaml"
    own.write_text(f"- pass: quantize\n  targets: [{NAMES[1]}, {NAMES[2]}]\n")
    _, report = search(
        model, samples, tmp_path, max_bytes=1_000_000, recipe=own, precision="fp32"
    )
    assert sum(report.candidates[0].precisions.values()) == 2


def test_the_recipe_holds_the_method(rng, samples, tmp_path):
    """Layers of few bits are rounded again as they were while precisions were searched."""
    graph = Graph()
    x = graph.input("x", (1, 64))
    for name in ("a", "b", "c"):
        x = graph("Relu", graph("MatMul", x, normal(rng, 64, 64) / 8, name=name))
    model, data = graph.model(x), [{"x": normal(rng, 1, 64)} for _ in range(8)]
    numbers = {}
    for method in ("rtn", "gptq"):
        chosen, report = search(model, data, tmp_path, max_bytes=8_500, method=method)
        assert report.recipe[0]["args"]["method"] == method
        assert chosen.method is None
        quantized = api.quantize(model.clone(), data, options=chosen)
        written = read_recipe(tmp_path / "r.yaml").as_list()
        assert (
            json.loads(quantized.metadata_props["edgecomp.recipe"])[-len(written) :] == written
        )
        numbers[method] = [
            v.const_value.tobytes() for v in quantized.graph.initializers.values()
        ]
    assert numbers["rtn"] != numbers["gptq"]


def test_nothing_to_choose(rng, samples, tmp_path):
    graph = Graph()
    model = graph.model(graph("Softmax", graph.input("x", (1, 3, 12, 12))))
    with pytest.raises(EdgecompError, match="no layer of the model can be quantized"):
        search(model, samples, tmp_path, max_bytes=100)
    quantized = api.quantize(chain(rng), samples)
    with pytest.raises(EdgecompError, match="quantized already"):
        search(quantized, samples, tmp_path, max_bytes=100)


def test_a_bundle_is_the_one_of_its_recipe(rng, samples, task, tmp_path):
    model = chain(rng, "activations")
    api.save(model, tmp_path / "net.onnx")
    np.save(tmp_path / "data.npy", np.concatenate([s["x"] for s in samples]))
    options = BuildOptions(
        target="host",
        calibration_data=str(tmp_path / "data.npy"),
        max_drop="0.02",
        metric=f"{task(model)}:likeness",
        save_recipe=tmp_path / "r.yaml",
        output=tmp_path / "one",
        toolchain="none",
    )
    api.build(tmp_path / "net.onnx", options)
    again = BuildOptions(
        calibration_data=options.calibration_data,
        recipe=tmp_path / "r.yaml",
        output=tmp_path / "two",
        toolchain="none",
    )
    api.build(tmp_path / "net.onnx", again)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*"))
    for file in files:
        if (tmp_path / "one" / file).is_file():
            pair = [(tmp_path / name / file).read_bytes() for name in ("one", "two")]
            assert pair[0] == pair[1], file


def test_time_of_this_machine(rng, samples, tmp_path):
    model = chain(rng)
    _, report = search(model, samples, tmp_path, max_ms=1e6, target="host")
    assert report.best.measured
    assert 0 < report.best.seconds < 10
    assert dataclasses.replace(report.best, seconds=None).holds(report.limits) is False
