"""Precisions that round weights and nothing else, from a model to a bundle."""

import json

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.run import Runner
from edgecomp.options import WEIGHT_TYPES, BuildOptions, QuantizeOptions
from edgecomp.progress import silent
from edgecomp.steps.prepare import prepare

#: Of float's bytes, biases included.
PART = {"fp16": 5, "bf16": 5, "fp8": 2, "fp8-e5m2": 2, "log2": 1}


@pytest.fixture
def net(rng):
    g = Graph()
    x = g.input("x", (1, 8, 12, 12))
    image = g("Relu", g("Conv", x, normal(rng, 32, 8, 3, 3), normal(rng, 32), name="conv"))
    pooled = g("Flatten", g("GlobalAveragePool", image))
    return g.proto(g("Gemm", pooled, normal(rng, 32, 100), normal(rng, 100), name="gemm"))


@pytest.mark.parametrize("precision", WEIGHT_TYPES)
def test_a_bundle_gives_what_its_portable_model_says(precision, net, tmp_path):
    options = BuildOptions(precision=precision, output=tmp_path / "bundle")
    bundle = api.build(net, options)
    api.verify(bundle)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 8, 12, 12)).astype(np.float32)}
    (found,) = bundle.run(feeds).values()
    (wanted,) = Runner(api.export(bundle.directory / "model.onnx"))(feeds).values()
    np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())
    report = json.loads((bundle.directory / "report.json").read_text())
    rows = report["facts"]["weights"]
    assert [row["node"] for row in rows] == ["conv", "gemm"]
    most = 0.04 if precision == "log2" else 0.005
    assert all(0 < row["weight_error"] < most for row in rows)
    assert report["sizes"]["weights"] < 0.7 * 4 * (32 * 8 * 9 + 32 * 100 + 132)
    assert (
        f"{precision} on host: weights take 0.{PART[precision]}"
        in report["facts"]["gain"]["summary"]
    )
    again = api.build(bundle.directory / "model.onnx", BuildOptions(output=tmp_path / "again"))
    (same,) = again.run(feeds).values()
    np.testing.assert_array_equal(same, found)


@pytest.mark.parametrize("precision", ["fp16", "fp8", "log2"])
def test_dynamic_sizes_share_the_weights(precision, rng, tmp_path):
    g = Graph()
    x = g.input("x", ("n", 96))
    model = g.proto(g("Relu", g("MatMul", x, normal(rng, 96, 64), name="p")))
    options = BuildOptions(
        precision=precision, input=("x:[n=1..8]x96",), output=tmp_path / "bundle"
    )
    bundle = api.build(model, options)
    api.verify(bundle)
    feeds = {"x": np.ones((5, 96), np.float32)}
    fixed = prepare(
        model, QuantizeOptions(precision=precision, input=("x:5x96",)), silent
    ).model
    (wanted,) = Runner(fixed)(feeds).values()
    (found,) = bundle.run(feeds).values()
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_powers_of_two_are_for_dense_products(rng):
    g = Graph()
    x = g.input("x", (1, 8, 6, 6))
    image = g("Conv", x, normal(rng, 8, 1, 3, 3), name="depthwise", group=8)
    model = g.proto(g("Conv", image, normal(rng, 24, 8, 1, 1), name="dense"))
    found = prepare(model, QuantizeOptions(precision="log2"), silent)
    assert [row["node"] for row in found.facts["weights"]] == ["dense"]
    assert found.facts["weights"][0]["bytes"] == 24 * 8 // 2 + 24 * 4
    (reason,) = found.facts["quantization"]["stay_float"].values()
    assert "depthwise" in reason
    with pytest.raises(EdgecompError, match="no weights that are stored as log2"):
        prepare(
            model, QuantizeOptions(precision="log2", op_types_to_quantize=("Gather",)), silent
        )


def test_calibration_data_say_nothing_to_them():
    with pytest.raises(EdgecompError) as caught:
        QuantizeOptions(precision="bf16", calibration_data="images")
    assert caught.value.code is Code.USAGE
    assert "needs no calibration" in caught.value.cause


def test_names_of_other_tools():
    assert QuantizeOptions(precision="float16").precision == "fp16"
    assert QuantizeOptions(precision="BFLOAT16").precision == "bf16"
