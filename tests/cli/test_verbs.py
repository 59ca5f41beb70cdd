"""What the verbs hand to the API, and what they print."""

import json
import pathlib
import types

import numpy as np
import pytest

from edgecomp.errors import Code, EdgecompError

X = types.SimpleNamespace(name="x", dtype="float32", shape=(2, 2), dimensions=())
Y = types.SimpleNamespace(name="head/y", dtype="float32", shape=(1, 4), dimensions=())
BUNDLE = types.SimpleNamespace(
    name="net",
    directory=pathlib.Path("/somewhere/net.bundle"),
    inputs=(X,),
    outputs=(Y,),
    manifest=types.SimpleNamespace(
        dynamic={},
        target=types.SimpleNamespace(name="raspberry-pi-4"),
        build=types.SimpleNamespace(shared="lib/libnet.so", note=""),
        shaders={},
        sizes={"weights": 2048, "kernels": 10240},
        quantization={"precision": "w8a8"},
        accuracy={},
    ),
    report={
        "memory": {"arena_bytes": 1000, "arena_bound_bytes": 1000},
        "coverage": {"calls": 2, "fallback_calls": 1, "multiply_adds": 3_000_000},
        "facts": {"gain": {"summary": "w8a8 on raspberry-pi-4: a run is not faster"}},
        "calls": [
            {
                "index": 0,
                "operator": "Convolution",
                "schedule": "convolution_f32",
                "fallback": False,
                "nodes": ["conv"],
                "source": "net.py:7",
                "multiply_adds": 3_000_000,
                "weights_bytes": 2048,
            },
            {
                "index": 1,
                "operator": "Einsum",
                "schedule": "fallback",
                "fallback": True,
                "nodes": ["einsum"],
                "source": "",
                "multiply_adds": 0,
                "weights_bytes": 0,
            },
        ],
    },
)


class Rendered:
    def require_conclusive(self):
        pass

    def as_dict(self):
        return {"p50_ms": 1.5}

    def render(self, console):
        console.print("p50 1.5 ms [not markup]", markup=False)


@pytest.fixture
def calls(api):
    """The API's functions, recording what they are given."""
    seen = {}

    def build(model, options, progress):
        progress("compile kernels", 1, 2)
        seen["build"] = (model, options)
        return BUNDLE

    def quantize(model, dataset, *, options, progress):
        seen["quantize"] = (model, dataset, options)
        return types.SimpleNamespace(meta={}, metadata_props={})

    def run(bundle, inputs, device, *, num_threads, plan):
        seen["run"] = (inputs, device, num_threads, plan)
        return {"head/y": np.array([[0.5, 3, -1, 2]], np.float32)}

    def record(name, result):
        def call(*arguments, **named):
            seen[name] = (*arguments, *named.values())
            return result

        return call

    api.build, api.quantize, api.run = build, quantize, run
    api.open = record("open", BUNDLE)
    api.benchmark = record("benchmark", Rendered())
    api.verify = record("verify", Rendered())
    api.check = record("check", types.SimpleNamespace(possible=True, **methods()))
    return seen


def methods():
    return {"as_dict": Rendered().as_dict, "render": Rendered().render}


def test_build(run, calls):
    result = run(
        "build", "m.onnx", "--target", "rpi4", "--precision", "w8a8", "--calibration-data", "d",
        "--mean", "0.485,0.456,0.406", "--input", "x:1x3x8x8", "--input", "y:2:i64", "--force",
        "--no-per-channel", "-o", "out",
    )  # fmt: skip
    assert result.status == 0
    model, options = calls["build"]
    assert model == "m.onnx"
    assert (options.target, options.precision, options.force) == ("rpi4", "w8a8", True)
    assert options.mean == (0.485, 0.456, 0.406)
    assert options.input == ("x:1x3x8x8", "y:2:i64")
    assert options.output == pathlib.Path("out")
    assert not options.per_channel
    assert "compile kernels" in result.err
    for text in ("/somewhere/net.bundle", "x float32 2x2", "10 KiB", "1 through the fallback"):
        assert text in result.out
    assert "w8a8 on raspberry-pi-4: a run is not faster" in result.out


def test_build_as_json(run, calls):
    facts = run("build", "m.onnx", "--json", "-q").json
    assert facts["bundle"] == "/somewhere/net.bundle"
    assert facts["inputs"] == [{"name": "x", "dtype": "float32", "shape": [2, 2]}]
    assert facts["coverage"]["fallback_calls"] == 1
    assert facts["gain"]["summary"].startswith("w8a8 on")


@pytest.mark.parametrize(
    ("model", "target", "output"),
    [
        ("a/b/net.onnx", "rpi4", "net.rpi4.bundle"),
        ("models.zoo:make_net", "host", "make_net.host.bundle"),
        ("m.py:net", "boards/my.toml", "net.my.bundle"),
    ],
)
def test_the_bundle_is_named_after_model_and_target(run, calls, model, target, output):
    run("build", model, "--target", target)
    assert calls["build"][1].output == pathlib.Path(output)


def test_quantize_means_8_bits(run, calls):
    result = run("quantize", "-m", "net.onnx", "--calibration-data", "images")
    model, dataset, options = calls["quantize"]
    assert (model, dataset, options.precision) == ("net.onnx", "images", "w8a8")
    assert result.out == "net.w8a8.onnx\n"
    assert run("quantize", "net.onnx").status == 2


def test_run_prints_the_outputs(run, calls, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 2), np.float32))
    result = run("run", "b", "-i", tmp_path / "x.npy", "--num-threads", 3, "-d", "qemu")
    inputs, device, threads, plan = calls["run"]
    assert plan == "auto"
    assert inputs["x"].tolist() == [[1, 1], [1, 1]]
    assert (device, threads) == ("qemu", 3)
    assert "0.5 3 -1 2" in result.out
    facts = run("run", "b", "-i", tmp_path / "x.npy", "--json").json
    assert facts["outputs"][0]["values"] == [[0.5, 3, -1, 2]]


def test_run_writes_the_outputs(run, calls, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 2), np.float32))
    facts = run("run", "b", "-i", tmp_path / "x.npy", "-o", tmp_path / "o", "--json").json
    (output,) = facts["outputs"]
    assert "values" not in output
    assert pathlib.Path(output["file"]) == tmp_path / "o" / "head_y.npy"
    assert np.load(output["file"]).tolist() == [[0.5, 3, -1, 2]]
    (tmp_path / "file").write_text("")
    result = run("run", "b", "-i", tmp_path / "x.npy", "-o", tmp_path / "file")
    assert result.status == 2
    assert "EC0109" in result.err


def test_run_prints_labels(run, calls, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 2), np.float32))
    (tmp_path / "labels.txt").write_text("cat\ndog\nowl\nfox\n")
    arguments = ("run", "b", "-i", tmp_path / "x.npy", "--labels", tmp_path / "labels.txt")
    lines = run(*arguments, "--top", 2).out.splitlines()
    assert lines[2].split() == ["3", "1", "dog"]
    assert lines[3].split() == ["2", "3", "fox"]
    assert run(*arguments, "--json").json["top"][0]["label"] == "dog"


def test_benchmark(run, calls, tmp_path):
    path = tmp_path / "new" / "result.json"
    result = run("benchmark", "b", "--compare", "onnxruntime", "--result-json", path)
    bundle, options, _ = calls["benchmark"]
    assert bundle is BUNDLE
    assert options.compare == ("onnxruntime",)
    assert json.loads(path.read_text()) == {"p50_ms": 1.5}
    assert result.out == "p50 1.5 ms [not markup]\n"
    assert run("benchmark", "b", "--json").json == {"p50_ms": 1.5}


def test_verify(run, calls):
    assert run("verify", "b", "-d", "ssh:pi@board").out.startswith("p50")
    assert calls["verify"] == (BUNDLE, "ssh:pi@board", 1, "device")


def test_check(run, calls, api):
    result = run(
        "check",
        "m.onnx",
        "-t",
        "host",
        "-t",
        "rpi4",
        "--input",
        "x:1x3x8x8",
        "--bound",
        "y_0:[0..9]",
    )
    assert result.status == 0
    model, targets, inputs, constants, bounds = calls["check"]
    assert bounds == ("y_0:[0..9]",)
    assert [target.name for target in targets] == ["host", "raspberry-pi-4"]
    assert (model, inputs, constants) == ("m.onnx", ("x:1x3x8x8",), ())
    run("check", "m.onnx")
    assert {"host", "raspberry-pi-3"} <= {target.name for target in calls["check"][1]}
    api.check = lambda *_: types.SimpleNamespace(possible=False, **methods())
    assert run("check", "m.onnx").status == 3


def test_report(run, calls):
    text = run("report", "b").out
    assert "net.py:7" in text
    assert "einsum" in text
    assert run("report", "b", "--json").json["report"] == BUNDLE.report


def test_an_unwritable_result_file(run, calls, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("benchmark", "b", "--result-json", tmp_path / "file" / "x.json")
    assert result.status == 2
    assert "EC0109" in result.err


def test_an_error_of_the_api_keeps_its_place(run, calls, api):
    def fail(*_, **__):
        raise EdgecompError(Code.NUMERIC_MISMATCH, "differs", node="conv_3", source="net.py:9")

    api.verify = fail
    result = run("verify", "b")
    assert result.status == 7
    assert "conv_3" in result.err
    assert "net.py:9" in result.err
