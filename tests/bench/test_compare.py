"""Taking turns with onnxruntime: the mechanics, never the times."""

import importlib.util
import json

import pytest

from edgecomp.bench import engines
from edgecomp.bench.compare import CompareOptions, compare
from edgecomp.bench.devices import open_device
from edgecomp.bench.local import ProcessDevice
from edgecomp.bench.report import comparison_dict
from edgecomp.errors import Code, EdgecompError
from helpers.targets import A53, AVX2

LOCAL = ProcessDevice("local")
SHORT = CompareOptions(rounds=5, seconds_per_turn=0.01)


def _code(action):
    with pytest.raises(EdgecompError) as caught:
        action()
    return caught.value.code


@pytest.fixture(autouse=True)
def _needs_onnxruntime():
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")


@pytest.mark.parametrize(("threads", "clock"), [(1, "cpu"), (2, "wall")])
def test_a_comparison(host_bundle, threads, clock):
    steps = []
    options = CompareOptions(threads=threads, rounds=5, seconds_per_turn=0.01)
    result = compare(
        host_bundle, LOCAL, "onnxruntime", options, progress=lambda *s: steps.append(s)
    )
    assert result.clock == clock
    assert result.threads == threads
    assert result.model == "model.onnx"
    assert result.engine_version
    assert result.own.runs >= 5
    assert result.other.runs >= 5
    assert result.ratio.rounds == 5
    assert result.ratio.low <= result.ratio.value <= result.ratio.high
    assert steps[-1] == ("compare in turns", 5, 5)
    json.dumps(comparison_dict(result))


def test_another_model(host_bundle, tmp_path):
    model = tmp_path / "float.onnx"
    model.write_bytes(host_bundle.model_path.read_bytes())
    assert compare(host_bundle, LOCAL, "onnxruntime", SHORT, model=model).model == "float.onnx"


def test_what_cannot_be_compared(host_bundle, tmp_path):
    def run(device=LOCAL, engine="onnxruntime", model=None):
        compare(host_bundle, device, engine, SHORT, model=model)

    assert _code(lambda: run(engine="onnxruntim")) is Code.USAGE
    assert _code(lambda: run(device=ProcessDevice("qemu", ("qemu",)))) is Code.USAGE
    assert _code(lambda: run(model=tmp_path / "none.onnx")) is Code.FILE_MISSING
    assert _code(lambda: CompareOptions(rounds=0)) is Code.USAGE
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    assert _code(lambda: run(model=tmp_path / "bad.onnx")) is Code.DEVICE_FAILED


def test_engine_package_missing(host_bundle, monkeypatch):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda _: None)
    assert _code(lambda: compare(host_bundle, LOCAL, "onnxruntime", SHORT)) is (
        Code.PACKAGE_MISSING
    )


@pytest.mark.parametrize("script", [
    "exit 8", "kill -ILL $$", "echo no json; cat", "echo '{\"error\": 1}'; cat",
    "echo '{}'; read line; exit 1", "echo '[]'; cat",
])
def test_a_runner_that_fails(fake_bundle, tmp_path, script):
    from helpers.small_plan import portable_model, small_inputs

    class Golden:
        inputs = small_inputs()

    bundle = fake_bundle(script)
    bundle.model_path.write_bytes(portable_model())
    bundle.golden = (Golden,)
    assert _code(lambda: compare(bundle, LOCAL, "onnxruntime", SHORT)) is Code.DEVICE_FAILED


def test_open_device_gives_what_compare_takes(host_bundle):
    assert isinstance(open_device("local", AVX2), ProcessDevice)
    assert isinstance(open_device("qemu", A53), ProcessDevice)
