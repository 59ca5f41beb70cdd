"""Budgets on the command line: what is printed, and what is wrong with what was given."""

import json

import numpy as np
import pytest
from debugging.conftest import BAD, chain
from helpers.graphs import normal

from edgecomp import api
from edgecomp.graph.run import Runner

METRIC = """
import pathlib
import numpy as np

TRUTH = np.load(pathlib.Path(__file__).with_name("truth.npy"))


def likeness(run, data):
    found = np.stack([run(feed)[run.outputs[0]] for feed in data])
    return 1 - float(np.sqrt(((found - TRUTH) ** 2).sum() / (TRUTH**2).sum()))


def scores(run, data):
    value = likeness(run, data)
    return value, [value] * 100


def fails(run):
    return [][0]


def nothing(run):
    pass
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """net.onnx with one bad layer, data.npy and metric.py."""
    folder = tmp_path_factory.mktemp("budget")
    rng = np.random.default_rng(0)
    model = chain(rng, "activations")
    api.save(model, folder / "net.onnx")
    data = normal(rng, 5, 3, 12, 12)
    np.save(folder / "data.npy", data)
    np.save(folder / "same.npy", np.repeat(data[:1], 20, 0))
    runner = Runner(model)
    np.save(
        folder / "truth.npy", np.stack([runner({"x": x[None]})[runner.names[0]] for x in data])
    )
    (folder / "metric.py").write_text(METRIC)
    return folder


@pytest.fixture
def quantize(run, folder, monkeypatch, tmp_path):
    """quantize("--max-drop", "1%", metric="likeness") -> Result, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def start(*arguments, metric="", data="data.npy"):
        given = ("--metric", f"{folder}/metric.py:{metric}") if metric else ()
        given += ("--calibration-data", folder / data) if data else ()
        return run("quantize", folder / "net.onnx", *given, *arguments)

    return start


def test_what_is_found(quantize, run, folder, tmp_path):
    result = quantize("--max-drop", "2%", metric="likeness")
    assert result.status == 0
    lines = result.out.splitlines()
    assert lines[0] == "net.w8a8.onnx"
    assert lines[1].startswith("metric of float: 1")
    assert [line for line in lines if line.startswith("-> 4 layers in 8 bits, 1 in float")]
    assert lines[-1] == "recipe: net.w8a8.onnx.recipe.yaml"
    text = (tmp_path / "net.w8a8.onnx.recipe.yaml").read_text()
    assert BAD in text
    assert "# 4 layers in 8 bits, 1 in float, bias correction: metric 0.9" in text
    data = ("--calibration-data", folder / "data.npy")
    recipe = ("--recipe", "net.w8a8.onnx.recipe.yaml", "-o", "again.onnx")
    assert run("quantize", folder / "net.onnx", *data, *recipe).status == 0
    files = [(tmp_path / name).read_bytes() for name in ("again.onnx", "net.w8a8.onnx")]
    assert files[0] == files[1]


def test_build(run, folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    # A target whose costs are the same on every machine.
    target = ("--target", "raspberry-pi-5", "--toolchain", "none")
    data = ("--calibration-data", folder / "data.npy", *target)
    budget = ("--max-drop", "2%", "--metric", f"{folder}/metric.py:likeness")
    result = run("build", folder / "net.onnx", *data, *budget, "-o", "b")
    assert result.status == 0
    assert "-> 4 layers in 8 bits, 1 in float" in result.out
    assert result.out.splitlines()[-1] == "recipe: b.recipe.yaml"
    found = run("build", folder / "net.onnx", *data, *budget, "-o", "b", "--force", "--json")
    assert found.json["budget"]["chosen"]["precisions"] == {"fp32": 1, "w8a8": 4}
    assert found.json["budget"]["chosen"]["ms_is"] == "modelled"
    recipe = ("--recipe", "b.recipe.yaml", "-o", "again")
    assert run("build", folder / "net.onnx", *data, *recipe).status == 0
    for name in ("model.onnx", "weights.bin", "manifest.json"):
        pair = [(tmp_path / bundle / name).read_bytes() for bundle in ("b", "again")]
        assert pair[0] == pair[1], name


def test_nothing_is_searched_for_an_output_that_exists(quantize, run, folder, tmp_path):
    data = ("--calibration-data", folder / "data.npy")
    for output, start in (("q.onnx", quantize), ("b", lambda *given: run(
        "build", folder / "net.onnx", *data, *given
    ))):  # fmt: skip
        (tmp_path / output).write_text("mine")
        result = start("--max-bytes", 9, "-o", output)
        assert "EC0108" in result.err  # not EC0600: no 9 bytes will do
        assert (tmp_path / output).read_text() == "mine"


def test_json(quantize, tmp_path):
    found = quantize(
        "--max-bytes", 5000, "--json", "--save-recipe", "r.json", metric="likeness"
    ).json  # fmt: skip
    assert found["recipe"] == "r.json"
    budget = found["budget"]
    assert budget["limits"] == {"max_bytes": 5000}
    assert budget["objective"] == "noise of the outputs"
    assert budget["chosen"]["weight_bytes"] <= 5000
    assert budget["chosen"]["metric"] == pytest.approx(1 - budget["chosen"]["drop"], abs=1e-5)
    assert len(budget["tried"]) >= 2


def test_ranges_by_metric(quantize):
    result = quantize("--ranges-by-metric", metric="scores")
    assert result.status == 0
    lines = result.out.splitlines()
    assert lines[2].startswith("ranges by the metric: ")
    assert len([line for line in lines if line.startswith("-> ")]) == 1
    found = quantize("--ranges-by-metric", "--force", "--json", metric="scores").json["budget"]
    assert found["objective"] == "metric"
    assert found["limits"] == {}
    assert found["ranges_by_metric"]["samples"] == 100


@pytest.mark.parametrize(
    ("arguments", "metric", "status", "texts"),
    [
        (("--max-drop", "1%"), "fails", 2, ("EC0116", "IndexError", "return [][0]", "metric.py:")),
        (("--max-drop", "1%"), "nothing", 2, ("EC0116", "returned None")),
        (("--max-drop", "1%"), "likenes", 2, ("EC0116", "did you mean 'likeness'")),
        (("--max-drop", "much"), "likeness", 2, ("EC0100", "found 'much'")),
        (("--max-drop", "-1"), "likeness", 2, ("EC0100", "not negative")),
        (("--max-drop", "nan"), "likeness", 2, ("EC0100", "not negative")),
        (("--max-drop", "1%"), "", 2, ("EC0100", "add --metric")),
        ((), "likeness", 2, ("EC0100", "add --max-drop")),
        (("--ranges-by-metric",), "", 2, ("EC0100", "add --metric")),
        (("--ranges-by-metric",), "likeness", 2, ("EC0116", "not none", "(number, scores)")),
        (
            ("--ranges-by-metric", "--precision", "auto", "-t", "raspberry-pi-4"),
            "likeness", 2, ("EC0100", "leaves no layer float"),
        ),
        (("--max-bytes", "10"), "", 6, ("EC0600", "at least", "allow --max-bytes")),
        (("--max-bytes", "0"), "", 2, ("EC0100", "positive")),
        (("--max-bytes", "5000", "--calibration-method", "ema"), "", 2, ("EC0100", "by ema")),
        (("--max-bytes", "5000", "--save-recipe", "r.txt"), "", 2, ("EC0100", "'.txt'")),
        (("--max-ms", "1"), "", 2, ("EC0100", "add --target")),
        (("--max-ms", "1e-9", "-t", "raspberry-pi-4"), "", 5, ("EC0500", "modelled for")),
        (("--max-drop", "1e-8"), "likeness", 4, ("EC0400", "best: ", "allow --max-drop")),
        (("--max-bytes", "9", "--precision", "w4a16"), "", 2, ("EC0100", "leave --precision")),
        (
            ("--max-drop", "1", "--metric-direction", "up"),
            "likeness", 2, ("EC0100", "unknown 'up'"),
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(quantize, tmp_path, arguments, metric, status, texts):
    result = quantize(*arguments, metric=metric)
    assert result.status == status
    assert all(text in result.err for text in texts), result.err
    assert "hint: " in result.err
    assert list(tmp_path.iterdir()) == []


def test_doubtful_calibration_data(quantize):
    """They are warned about before anything is searched, and refused where that was asked for."""
    result = quantize(
        "--max-drop", "1%", "--strict-calibration", metric="likeness", data="same.npy"
    )
    assert result.status == 11
    assert "repeated-samples" in result.err
    assert quantize("--max-bytes", 9, data=None).status == 2


def test_json_of_an_error(quantize):
    result = quantize("--max-drop", "1e-8", "--json", metric="likeness")
    assert json.loads(result.out)["error"]["code"] == "EC0400"
