"""The whole way through the verbs, on a small model, with the real API."""

import json
import shutil

import numpy as np
import onnx.parser
import onnxruntime
import PIL.Image
import pytest

MODEL = """
<ir_version: 10, opset_import: ["" : 18]>
tiny (float[N, 3, 16, 16] x) => (float[N, 4] y)
<float[4, 3, 3, 3] w, float[4] b, float[4, 4, 7, 7] g>
{
  c = Conv <strides = [2, 2]> (x, w, b)
  r = Relu (c)
  p = Conv (r, g)
  y = Flatten (p)
}
"""
INPUT = ("--input", "x:1x3x16x16")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """model.onnx, images/ and labels.txt."""
    folder = tmp_path_factory.mktemp("way")
    model = onnx.parser.parse_model(MODEL)
    rng = np.random.default_rng(0)
    for value in model.graph.value_info:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        array = rng.standard_normal(shape).astype(np.float32) / 4
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
    del model.graph.value_info[:]
    onnx.save(model, folder / "model.onnx")
    (folder / "images").mkdir()
    for index in range(4):
        pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
    (folder / "labels.txt").write_text("cat\ndog\nowl\nfox\n")
    return folder


@pytest.fixture(scope="module")
def bundle(folder):
    import click.testing

    from edgecomp.cli.program import program

    if not shutil.which("cc"):
        pytest.skip("no C compiler called cc: apt install gcc")
    arguments = [
        "build",
        str(folder / "model.onnx"),
        *INPUT,
        "-o",
        str(folder / "b"),
        "--json",
    ]
    result = click.testing.CliRunner().invoke(program, arguments)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["bundle"] == str(folder / "b")
    return folder / "b"


def test_run_equals_onnxruntime(run, folder, bundle):
    x = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    np.save(folder / "x.npy", x)
    values = run("run", bundle, "-i", folder / "x.npy", "--json").json["outputs"][0]["values"]
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(None, {"x": x})
    span = expected.max() - expected.min()
    np.testing.assert_allclose(values, expected, atol=1e-4 * span, rtol=0)


def test_a_picture_gets_a_label(run, folder, bundle):
    picture = folder / "images" / "0.png"
    result = run("run", bundle, "-i", picture, "--labels", folder / "labels.txt", "--top", 1)
    assert result.status == 0, result.err
    assert result.out.split()[-1] in ("cat", "dog", "owl", "fox")


def test_verify_report_and_check(run, folder, bundle):
    for arguments in (
        ("verify", bundle),
        ("report", bundle),
        ("check", folder / "model.onnx", *INPUT, "-t", "host"),
    ):
        result = run(*arguments)
        assert result.status == 0, result.err
        assert json.loads(run(*arguments, "--json").out)


def test_check_writes_sarif(run, folder):
    log = folder / "check.sarif"
    result = run("check", folder / "model.onnx", *INPUT, "-t", "host", "--sarif", log)
    assert result.status == 0, result.err
    assert json.loads(log.read_text())["version"] == "2.1.0"
    nowhere = folder / "model.onnx" / "check.sarif"
    result = run("check", folder / "model.onnx", *INPUT, "-t", "host", "--sarif", nowhere)
    assert result.status != 0
    assert str(nowhere.parent) in result.err


def test_benchmark(run, bundle):
    result = run("benchmark", bundle, "--num-runs", 3, "--enable-op-profiling", "--json")
    assert result.status == 0, result.err
    assert result.json


def test_int8_from_a_configuration_file(run, folder, bundle):
    config = {
        "model": str(folder / "model.onnx"),
        "input": "x:1x3x16x16",
        "precision": "w8a8",
        "calibration-data": str(folder / "images"),
        "num_samples": 4,
        "output": str(folder / "q"),
    }
    (folder / "edgecomp.json").write_text(json.dumps(config))
    result = run("build", "-c", folder / "edgecomp.json")
    assert result.status == 0, result.err
    assert "calibrate" in result.err
    assert run("verify", folder / "q").status == 0


def test_quantize_writes_a_model_that_onnxruntime_runs(run, folder):
    path = folder / "q.onnx"
    result = run(
        "quantize", folder / "model.onnx", *INPUT, "--calibration-data", folder / "images",
        "--num-samples", 4, "-o", path,
    )  # fmt: skip
    assert result.status == 0, result.err
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.zeros((1, 3, 16, 16), np.float32)})
    assert y.shape == (1, 4)


def test_mistakes_end_with_their_status(run, folder, bundle):
    model = folder / "model.onnx"
    text = folder / "text.onnx"
    text.write_text("not a model")
    for arguments, code in (
        (("build", model, "-o", folder / "new"), "EC0107"),
        (("build", model, *INPUT, "-o", bundle), "EC0108"),
        (("build", folder / "none.onnx"), "EC0101"),
        (("build", text), "EC0102"),
        (("build", model, *INPUT, "--target", "rasberry-pi-4"), "EC0105"),
        (("run", folder), "EC1002"),
        (("run", bundle), "EC0110"),
        (("verify", bundle, "-d", "qemu"), "EC0800"),
    ):
        result = run(*arguments)
        assert f"error: {code}: " in result.err
        assert result.status == (10 if code == "EC1002" else 8 if code == "EC0800" else 2)
    assert not (folder / "new").exists()


def test_auto_says_what_it_chose(run, folder):
    arguments = (
        folder / "model.onnx", *INPUT, "--precision", "auto", "--num-samples", 4,
        "--calibration-data", folder / "images",
    )  # fmt: skip
    result = run("build", *arguments, "-o", folder / "auto", "--json")
    assert result.status == 0, result.err
    chosen = result.json["quantization"]["result"]
    assert chosen in ("float", "mixed", "int8")
    report = json.loads(run("report", folder / "auto", "--json").out)
    facts = report["report"]["facts"]
    assert facts["precision_choice"]["result"] == chosen
    text = run("report", folder / "auto").out
    assert all(line.partition(": ")[2] in text for line in facts["layers_that_stay_float"])
    assert run("verify", folder / "auto").status == 0
    portable = run("quantize", *arguments, "-t", "host", "-o", folder / "a.onnx", "--json")
    assert portable.json["precision_choice"]["result"] == chosen


def test_auto_needs_a_target_and_data(run, folder):
    model = (folder / "model.onnx", *INPUT, "--precision", "auto")
    for arguments in (("build", *model), ("quantize", *model, "-t", "host")):
        result = run(*arguments)
        assert result.status == 2
        assert "--calibration-data" in result.err
    result = run("quantize", *model, "--calibration-data", folder / "images")
    assert result.status == 2
    assert "--target" in result.err
