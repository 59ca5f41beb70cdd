"""``edgecomp quantize`` to weights of few bits: what it prints and refuses."""

import numpy as np
import onnx
import pytest
from helpers.correlated import correlated
from helpers.graphs import Graph, normal


@pytest.fixture
def files(rng, tmp_path):
    """A model of one product, its data, and where the result goes."""
    g = Graph()
    x = g.input("x", (1, 96))
    onnx.save(
        g.proto(g("Gemm", x, normal(rng, 96, 40), normal(rng, 40), name="p")),
        tmp_path / "m.onnx",
    )
    np.save(tmp_path / "x.npy", correlated(rng, 300, 96).astype(np.float32))
    return tmp_path / "m.onnx", tmp_path / "x.npy", tmp_path / "q.onnx"


def test_the_control_stands_beside_the_method(run, files):
    model, data, output = files
    result = run(
        "quantize", model, "--precision", "w4a16", "--calibration-data", data, "-o", output
    )
    assert result.status == 0
    path, line = result.out.splitlines()
    assert path == str(output)
    assert line.startswith("p: 15360 to 2240 bytes, gptq, error ")
    assert "(rtn " in line
    again = run(
        "quantize", model, "--precision", "int4", "-o", output, "--force", "--json"
    ).json
    (row,) = again["weights"]
    assert (row["method"], row["shape"]) == ("rtn", [96, 40])


@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        (["--group-size", "80"], "does not divide the 96 inputs of 'p'"),
        (["--method", "gptq"], "--method gptq needs --calibration-data"),
        (["--op-types-to-quantize", "Conv"], "operator 'Conv' has no weights"),
    ],
)
def test_what_is_refused(run, files, flags, cause):
    model, _, output = files
    result = run("quantize", model, "--precision", "w4a16", "-o", output, *flags)
    assert result.status == 2
    assert cause in result.err
    assert "hint:" in result.err
    assert not output.exists()
