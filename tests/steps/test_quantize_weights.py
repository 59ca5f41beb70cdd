"""Weight-only precisions from a model to a bundle."""

import json

import numpy as np
import pytest
from helpers.correlated import correlated
from helpers.graphs import Graph, normal

from edgecomp import api
from edgecomp.errors import Code, EdgecompError, ExitCode
from edgecomp.graph.run import Runner
from edgecomp.options import WEIGHT_BITS, BuildOptions, QuantizeOptions
from edgecomp.progress import silent
from edgecomp.steps.prepare import prepare

#: Inputs that share a scale, where they are not 64: of signs all of an output.
GROUP = {"binary": -1}


@pytest.fixture
def perceptron(rng):
    g = Graph()
    x = g.input("x", (2, 96))
    hidden = g("Relu", g("Gemm", x, normal(rng, 96, 64), normal(rng, 64), name="up"))
    return g.proto(g("MatMul", hidden, normal(rng, 64, 80), name="down"))


@pytest.fixture
def data(rng):
    return [{"x": part} for part in np.split(correlated(rng, 80, 96).astype(np.float32), 40)]


@pytest.mark.parametrize("precision", WEIGHT_BITS)
def test_gptq_where_there_are_data_else_rounding_to_nearest(precision, perceptron, data):
    found = prepare(perceptron, QuantizeOptions(precision=precision), silent, dataset=data)
    facts = found.facts["quantization"]
    assert (facts["method"], facts["samples"], facts["group_size"]) == (
        "gptq",
        40,
        GROUP.get(precision, 64),
    )
    assert facts["activations"] == "float32"
    assert [row["node"] for row in found.facts["weights"]] == ["up", "down"]
    for row in found.facts["weights"]:
        assert 0 < row["error"] < row["rtn_error"]
        assert row["bytes"] < row["float_bytes"] / 3
    alone = prepare(perceptron, QuantizeOptions(precision=precision), silent)
    assert alone.facts["quantization"]["method"] == "rtn"
    assert "error" not in alone.facts["weights"][0]


def test_gptq_keeps_more_of_the_results(perceptron, data):
    feeds = data[:10]
    expected = [next(iter(Runner(api.export(perceptron))(f).values())) for f in feeds]
    lost = {}
    for method in ("rtn", "gptq"):
        options = QuantizeOptions(precision="w3a16", method=method, group_size=16)
        model = prepare(perceptron, options, silent, dataset=data).model
        found = [next(iter(Runner(model)(f).values())) for f in feeds]
        lost[method] = sum(((a - b) ** 2).sum() for a, b in zip(found, expected, strict=True))
    assert lost["gptq"] < 0.5 * lost["rtn"]


def test_a_bundle_gives_what_its_portable_model_says(perceptron, data, tmp_path):
    options = BuildOptions(precision="w4a16", output=tmp_path / "bundle", symmetric=False)
    bundle = api.build(perceptron, options, calibration_dataset=data)
    api.verify(bundle)
    (found,) = bundle.run(data[0]).values()
    (wanted,) = Runner(api.export(bundle.directory / "model.onnx"))(data[0]).values()
    np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())
    report = json.loads((bundle.directory / "report.json").read_text())
    assert report["facts"]["weights"][0]["method"] == "gptq"
    assert report["sizes"]["weights"] < 4 * (96 * 64 + 64 * 80) / 4
    again = api.build(bundle.directory / "model.onnx", BuildOptions(output=tmp_path / "again"))
    (same,) = again.run(data[0]).values()
    np.testing.assert_array_equal(same, found)


def test_dynamic_sizes_share_the_weights(data, rng, tmp_path):
    g = Graph()
    x = g.input("x", ("n", 96))
    model = g.proto(g("Relu", g("MatMul", x, normal(rng, 96, 64), name="p")))
    options = BuildOptions(
        precision="w4a16", input=("x:[n=1..8]x96",), output=tmp_path / "bundle"
    )
    bundle = api.build(model, options)
    api.verify(bundle)
    (wanted,) = Runner(
        prepare(model, QuantizeOptions(precision="w4a16", input=("x:5x96",)), silent).model
    )({"x": np.ones((5, 96), np.float32)}).values()
    (found,) = bundle.run({"x": np.ones((5, 96), np.float32)}).values()
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "cause", "hint"),
    [
        ({"group_size": 48}, "--group-size 48 does not divide the 64 inputs", "32"),
        ({"method": "gptq"}, "gptq needs calibration data", "rtn"),
    ],
)
def test_what_cannot_be(options, cause, hint, perceptron):
    with pytest.raises(EdgecompError) as caught:
        prepare(perceptron, QuantizeOptions(precision="w4a16", **options), silent)
    assert caught.value.code is Code.USAGE
    assert caught.value.code.exit_code is ExitCode.USAGE
    assert cause in caught.value.cause
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (
            {"precision": "w8a8", "group_size": 64},
            "--group-size: it is for weights of few bits",
        ),
        ({"precision": "fp32", "method": "rtn"}, "--method: it is for weights of few bits"),
        ({"precision": "w4a16", "group_size": 20}, "expected a multiple of 16"),
        ({"precision": "w4a16", "group_size": 0}, "expected a multiple of 16"),
        ({"precision": "w4a16", "method": "awq"}, "--method: unknown 'awq'"),
        ({"precision": "w4a16", "weight_ranges": "kl"}, "--weight-ranges: unknown 'kl'"),
        ({"precision": "binary", "symmetric": False}, "signs have no zero points"),
        ({"precision": "w4a16", "bias_correction": True}, "quantized activations"),
    ],
)
def test_options_that_exclude_each_other(options, cause):
    with pytest.raises(EdgecompError) as caught:
        QuantizeOptions(**options)
    assert cause in caught.value.cause


def test_names_of_other_tools():
    assert QuantizeOptions(precision="W4A32").precision == "w4a16"
    assert QuantizeOptions(precision="weight_only_wi8_afp32").precision == "w8a16"
