"""``edgecomp debug`` and ``--recipe`` with the real API."""

import numpy as np
import onnx
import pytest
from debugging.conftest import BAD, chain
from helpers.graphs import Graph, normal

from edgecomp import api


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """net.onnx with one bad layer, soft.onnx without any, data.npy and others."""
    folder = tmp_path_factory.mktemp("debug")
    rng = np.random.default_rng(0)
    api.save(chain(rng, "activations"), folder / "net.onnx")
    g = Graph()
    soft = g.model(g("Softmax", g.input("x", (1, 3, 12, 12)), name="s"))
    api.save(soft, folder / "soft.onnx")
    np.save(folder / "data.npy", normal(rng, 5, 3, 12, 12))
    np.save(folder / "narrow.npy", normal(rng, 5, 3, 12, 11))
    return folder


@pytest.fixture
def debug(run, folder, monkeypatch, tmp_path):
    """debug("net", "--json", data="data.npy") -> Result, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def start(name, *arguments, data="data.npy"):
        given = ("--calibration-data", folder / data) if data else ()
        return run("debug", folder / f"{name}.onnx", *given, *arguments)

    return start


def test_the_table_has_the_worst_layer_first(debug, tmp_path):
    result = debug("net", "-o", "r.yaml", "--html", "p.html", "--top", 2)
    assert result.status == 0
    rows = [line for line in result.out.splitlines() if line.startswith("│ c")]
    assert len(rows) == 2
    assert rows[0].split("│")[1].strip() == BAD
    assert "net.py:6" in rows[0]
    assert "float in 1 of 5 layers" in result.out
    assert "suggested: " in result.out
    assert "wrote r.yaml" in result.err
    assert (tmp_path / "p.html").read_text().startswith("<!DOCTYPE html>")


def test_the_recipe_builds_what_was_predicted(debug, run, folder, tmp_path):
    found = debug("net", "-o", "r.yaml", "--json").json
    assert found["layers"][0]["name"] == BAD
    assert found["search"]["layers"] == [BAD]
    data = ("--calibration-data", folder / "data.npy")
    written = run("quantize", folder / "net.onnx", *data, "--recipe", "r.yaml", "-o", "q.onnx")
    assert written.status == 0
    names = [n.name for n in onnx.load(tmp_path / "q.onnx").graph.node]
    assert BAD in names
    again = debug("net", "--recipe", "r.yaml", "--no-bisect", "--json").json
    assert again["output_db"] == pytest.approx(found["search"]["predicted_db"], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments", "data", "status", "text"),
    [
        ("net", (), None, 2, "needs --calibration-data"),
        ("net", (), "none.npy", 2, "EC0101"),
        ("net", (), "narrow.npy", 11, "EC1101"),
        ("soft", (), "data.npy", 3, "no layer of the model can be quantized"),
        ("net", ("--precision", "fp32"), "data.npy", 2, "needs no calibration"),
        ("net", ("--recipe", "none.yaml"), "data.npy", 2, "the recipe does not exist"),
        ("net", ("--nodes-to-exclude", "c9"), "data.npy", 2, "did you mean 'c"),
    ],
)
def test_what_is_wrong_is_said(debug, name, arguments, data, status, text):
    result = debug(name, *arguments, data=data)
    assert result.status == status
    assert text in result.err
    assert "hint: " in result.err


def test_a_target_that_is_not_there_has_its_line(debug, tmp_path):
    (tmp_path / "r.yaml").write_text("- pass: quantize\n- pass: float\n  targets: [conv3]\n")
    result = debug("net", "--recipe", "r.yaml")
    assert result.status == 2
    assert "EC0114: pass 'float': 'conv3' matches no node" in result.err
    assert "file r.yaml:2" in result.err
