"""Taking turns with onnxruntime: the mechanics, never the times."""

import dataclasses
import importlib.util
import json

import pytest
from helpers.targets import A53, AVX2

from edgecomp.bench.compare import ROUNDS, PeerSettings, compare_engines
from edgecomp.bench.devices import open_device
from edgecomp.bench.local import ProcessDevice
from edgecomp.bench.peers.catalog import CATALOG
from edgecomp.bench.report import comparison_dict
from edgecomp.bench.runner import MeasureOptions
from edgecomp.errors import Code, EdgecompError
from edgecomp.progress import silent

LOCAL = ProcessDevice("local")
ONE = MeasureOptions()


def _compare(bundle, device=LOCAL, engine="onnxruntime", options=ONE, progress=silent, **rest):
    (result,) = compare_engines(
        bundle,
        device,
        [engine],
        options,
        max_seconds=0.2,
        settings=PeerSettings(**rest),
        progress=progress,
    )
    return result


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
    options = MeasureOptions(threads=threads)
    result = _compare(host_bundle, options=options, progress=lambda *s: steps.append(s))
    assert result.clock == clock
    assert result.threads == threads
    assert result.same_network
    assert result.own_sqnr_db is not None
    assert result.engine_version
    assert result.own.runs >= ROUNDS
    assert result.other.runs >= ROUNDS
    assert result.ratio.rounds == ROUNDS
    assert result.ratio.low <= result.ratio.value <= result.ratio.high
    assert steps[-1] == ("compare in turns", ROUNDS, ROUNDS)
    json.dumps(comparison_dict(result))


def test_another_model(host_bundle, tmp_path):
    model = tmp_path / "float.onnx"
    model.write_bytes(host_bundle.model_path.read_bytes())
    assert _compare(host_bundle, model=model).same_network


def test_what_cannot_be_compared(host_bundle, tmp_path):
    def run(**changes):
        _compare(host_bundle, **changes)

    assert _code(lambda: run(engine="onnxruntim")) is Code.USAGE
    assert _code(lambda: run(device=ProcessDevice("qemu", ("qemu",)))) is Code.USAGE
    assert _code(lambda: run(model=tmp_path / "none.onnx")) is Code.FILE_MISSING
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    assert _code(lambda: run(model=tmp_path / "bad.onnx")) is Code.MODEL_UNREADABLE
    assert _code(lambda: run(pythons={"onnxruntime": "no/python"})) is Code.FILE_MISSING
    assert _code(lambda: run(files={"onnxruntime": tmp_path / "none"})) is Code.FILE_MISSING
    assert _code(lambda: run(files={"onnxruntime": tmp_path / "bad.onnx"})) is (
        Code.DEVICE_FAILED
    )


def test_a_runtime_that_is_not_installed(host_bundle, monkeypatch):
    entry = dataclasses.replace(CATALOG["openvino"], runs=("no_such_package",))
    monkeypatch.setitem(CATALOG, "openvino", entry)
    with pytest.raises(EdgecompError) as caught:
        _compare(host_bundle, engine="openvino")
    assert caught.value.code is Code.PACKAGE_MISSING
    assert "pip install openvino nncf" in caught.value.hint


@pytest.mark.parametrize(
    "script",
    [
        "exit 8",
        "kill -ILL $$",
        "echo no json; cat",
        "echo '{\"error\": 1}'; cat",
        "echo '{}'; read line; exit 1",
        "echo '[]'; cat",
    ],
)
def test_a_runner_that_fails(fake_bundle, tmp_path, script):
    from helpers.small_plan import portable_model, small_inputs

    class Golden:
        inputs = small_inputs()

    bundle = fake_bundle(script)
    bundle.model_path.write_bytes(portable_model())
    bundle.golden = (Golden,)
    assert _code(lambda: _compare(bundle)) is Code.DEVICE_FAILED


def test_open_device_gives_what_compare_takes(host_bundle):
    assert isinstance(open_device("local", AVX2), ProcessDevice)
    assert isinstance(open_device("qemu", A53), ProcessDevice)
