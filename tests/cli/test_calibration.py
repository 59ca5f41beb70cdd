"""What is said about calibration on the command line."""

import numpy as np
import onnx
import pytest
from helpers.graphs import Graph, normal


@pytest.fixture
def folder(tmp_path, rng, monkeypatch):
    graph = Graph()
    model = graph.proto(graph("MatMul", graph.input("x", (1, 8)), normal(rng, 8, 8)))
    onnx.save(model, tmp_path / "net.onnx")
    np.save(tmp_path / "rows.npy", normal(rng, 20, 8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_warnings_are_in_the_result(run, folder):
    given = ("quantize", "net.onnx", "--calibration-data", "rows.npy", "--num-samples", 30)
    result = run(*given, "--json", "-o", "out.onnx")
    assert result.status == 0, result.err
    (warning,) = result.json["calibration_warnings"]
    assert warning.startswith("fewer-samples: 30 samples were asked for, 20 found")
    strict = run(*given, "--strict-calibration", "-o", "strict.onnx")
    assert strict.status == 11
    assert "EC1102" in strict.err
    assert "hint:" in strict.err
    assert not (folder / "strict.onnx").exists()


def test_without_data(run, folder):
    result = run("quantize", "net.onnx", "--data-free", "--json", "-o", "out.onnx")
    assert result.status == 0, result.err
    assert result.json["data_free"] == "noise"
    missing = run("quantize", "net.onnx", "-o", "other.onnx")
    assert missing.status == 2
    assert "--data-free" in missing.err
