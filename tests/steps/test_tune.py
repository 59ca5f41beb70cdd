"""What a bundle and the options say about how to tune."""

import types

import numpy as np
import onnx.parser
import pytest

from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import TuneOptions
from edgecomp.progress import silent
from edgecomp.schedules.tuned import table_name
from edgecomp.steps import tune as step

MODEL = """<ir_version: 10, opset_import: ["" : 21]>
g (float[1,4,6,6] x) => (float[1,4,6,6] y) { y = Conv (x, w) }"""


@pytest.fixture
def model(tmp_path):
    proto = onnx.parser.parse_model(MODEL)
    weight = np.ones((4, 4, 1, 1), np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(proto, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture
def given(monkeypatch):
    """What ``tune_model`` gets."""
    seen = []
    monkeypatch.setattr(step, "tune_model", lambda *arguments: seen.append(arguments))
    return seen


def test_the_table_lies_in_the_cache_by_default(model, given, tmp_path):
    step.tune(model, TuneOptions(cache_dir=tmp_path, trials=7, num_threads=2), silent)
    ((_, target, device, settings, _),) = given
    assert target.name == "host"
    assert device.spec == "local"
    assert settings.output == tmp_path / "tuned" / table_name(target)
    assert (settings.trials, settings.threads) == (7, 2)


def test_a_bundle_brings_its_model_and_its_target(model, given, monkeypatch, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    name = "x86-64-v3"
    manifest = types.SimpleNamespace(target=types.SimpleNamespace(name=name))
    bundle = types.SimpleNamespace(manifest=manifest, model_path=model)
    monkeypatch.setattr(step, "open_bundle", lambda path: bundle if path == tmp_path else None)
    monkeypatch.setattr(step, "require_measurable", lambda *_: None)
    step.tune(tmp_path, TuneOptions(output=tmp_path / "t.json"), silent)
    ((_, target, _, settings, _),) = given
    assert target.name == name
    assert settings.output == tmp_path / "t.json"
    step.tune(tmp_path, TuneOptions(target="raspberry-pi-4"), silent)
    assert given[-1][1].name == load_target("raspberry-pi-4").name


def test_a_device_is_refused_before_the_model_is_read(tmp_path):
    with pytest.raises(EdgecompError) as error:
        step.tune(tmp_path / "none.onnx", TuneOptions(target="raspberry-pi-4"), silent)
    assert error.value.code is Code.USAGE
