"""Calibration as the options say it, its warnings and its facts."""

import logging

import numpy as np
import pytest

from edgecomp.errors import Code, EdgecompError, ExitCode
from edgecomp.options import BuildOptions
from edgecomp.progress import silent
from edgecomp.steps.prepare import prepare


@pytest.fixture
def many(rng):
    return [{"x": rng.standard_normal((1, 32, 24, 24)).astype(np.float32)} for _ in range(20)]


def prepared(model, samples, **settings):
    return prepare(model, BuildOptions(precision="w8a8", **settings), silent, dataset=samples)


def test_warnings_are_logged_and_kept(model, many, caplog):
    with caplog.at_level(logging.WARNING):
        facts = prepared(model, many[:2] * 10, num_samples=20).facts["quantization"]
    (warning,) = facts["calibration_warnings"]
    assert warning.startswith("repeated-samples: 18 of 20 samples")
    assert "18 of 20 samples" in caplog.text


def test_a_shortfall_is_said_once(model, many, caplog):
    with caplog.at_level(logging.WARNING):
        facts = prepared(model, many, num_samples=30).facts["quantization"]
    assert [text.partition(":")[0] for text in facts["calibration_warnings"]] == [
        "fewer-samples"
    ]
    assert caplog.text.count("30") == 1


def test_nobody_asked_for_the_default_number(model, many):
    facts = prepared(model, many, strict_calibration=True).facts["quantization"]
    assert facts["samples"] == 20
    assert "calibration_warnings" not in facts


def test_strict(model, many):
    with pytest.raises(EdgecompError) as caught:
        prepared(model, many[:2] * 10, num_samples=30, strict_calibration=True)
    assert caught.value.code is Code.CALIBRATION_DOUBTFUL
    assert caught.value.code.exit_code is ExitCode.CALIBRATION == 11
    assert "fewer-samples" in caught.value.cause
    assert "repeated-samples" in caught.value.cause
    assert caught.value.hint


def test_the_example_input_of_a_torch_module(rng):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    args = (torch.rand(1, 3, 16, 16),)
    options = BuildOptions(precision="w8a8")
    pixels = [
        {"input": rng.integers(0, 256, (1, 3, 16, 16)).astype(np.float32)} for _ in range(20)
    ]
    warnings = []
    for scale in (1, np.float32(1 / 255)):
        samples = [sample["input"] * scale for sample in pixels]
        facts = prepare(module, options, silent, args=args, dataset=samples).facts
        warnings.append(facts["quantization"].get("calibration_warnings", []))
    assert [text.partition(":")[0] for text in warnings[0]] == ["normalization"]
    assert warnings[1] == []


def test_without_data(model, caplog):
    with caplog.at_level(logging.WARNING):
        facts = prepared(model, None, data_free=True).facts["quantization"]
    assert facts["data_free"] == "noise"
    assert facts["samples"] == 32
    assert "measure the accuracy" in caplog.text
    with pytest.raises(EdgecompError, match="data-free"):
        BuildOptions(precision="w8a8", data_free=True, calibration_data="images")


def test_reading_stops_when_ranges_settle(model, many):
    samples = np.concatenate([sample["x"] for sample in many * 8])
    facts = prepared(model, samples, num_samples=160, calibration_tolerance=0.3).facts
    facts = facts["quantization"]
    assert facts["samples"] in (32, 64)
    assert facts["samples"] + facts["samples_left"] == 160
    assert "changed no range" in facts["stopped"]
