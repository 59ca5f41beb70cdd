"""``edgecomp tune`` on this machine: measure, stop, go on, build by it."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import onnx.parser
import pytest
from helpers import interruptible

from edgecomp.schedules.cost_table import read_table

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
tiny (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y)
<float[8, 4, 1, 1] w, float[8] b, float[4, 8, 1, 1] v, float[4] c>
{
  p = Conv (x, w, b)
  q = Relu (p)
  y = Conv (q, v, c)
}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    if not shutil.which("cc"):
        pytest.skip("no C compiler called cc: apt install gcc")
    proto = onnx.parser.parse_model(MODEL)
    rng = np.random.default_rng(0)
    for value in proto.graph.value_info:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        array = rng.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
    del proto.graph.value_info[:]
    path = tmp_path_factory.mktemp("tune") / "tiny.onnx"
    onnx.save(proto, path)
    return path


def begin(*arguments):
    """The program as a process of its own."""
    command = [sys.executable, "-m", "edgecomp", *map(str, arguments)]
    root = str(pathlib.Path(__file__).parents[2])
    return interruptible.popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
def test_stopped_then_gone_on_with(run, model, tmp_path, number):
    table = tmp_path / "table.json"
    options = ("tune", model, "-o", table, "--trials", "20")
    process = begin(*options)
    while not table.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    os.killpg(process.pid, number)
    _, err = process.communicate()
    assert "measure layers" in err
    kept = table.read_text()
    known = read_table(table)
    if process.returncode:  # the other layer was not finished
        assert process.returncode == (130 if number == signal.SIGINT else -number)
        assert len(known.layers) == 1
    result = run(*options, "--json")
    assert result.status == 0, result.err
    assert result.json["known"] == len(known.layers)
    assert result.json["known"] + result.json["measured"] == 2
    again = read_table(table)
    for layer in again.layers:
        entries = again.entries(layer)
        assert any(entry.in_model_ns for entry in entries)
        if layer in known.layers:
            alone = [dataclasses.replace(entry, in_model_ns=0) for entry in entries]
            assert alone == known.entries(layer)
    assert json.loads(kept)["entries"]


def test_a_build_by_its_table(run, model, tmp_path):
    table = tmp_path / "table.json"
    result = run("tune", model, "-o", table, "--trials", "3")
    assert result.status == 0, result.err
    assert "2 layers measured, 0 known before, 0 left" in result.out
    folders = [tmp_path / name for name in ("tuned", "again", "plain")]
    for folder, given in zip(folders, (table, table, "none"), strict=True):
        arguments = (
            "-o",
            folder,
            "--cost-table",
            given,
            "--cache-dir",
            tmp_path / f"cache-{folder.name}",
        )
        built = run("build", model, *arguments)
        assert built.status == 0, built.err
    reports = [json.loads((folder / "report.json").read_text()) for folder in folders]
    choices = [report["facts"]["kernel_choice"] for report in reports]
    assert choices[0]["by_measurement"] == 2
    assert choices[0]["by_cost_model"] == 0
    assert choices[0]["measured_on"] == read_table(table).header.device
    assert choices[2] == {"by_measurement": 0, "by_cost_model": 2}
    assert "measured on" in (folders[0] / "report.md").read_text().replace("_", " ")
    first, second = (
        {p.relative_to(f): p.read_bytes() for p in sorted(f.rglob("*")) if p.is_file()}
        for f in folders[:2]
    )
    assert first == second
    for folder in folders:
        assert run("verify", folder).status == 0
    # A bundle is tuned by the model and the target that it has.
    known = run("tune", folders[0], "-o", table, "--json")
    assert (known.json["known"], known.json["measured"]) == (2, 0)


def test_the_key_of_a_kept_build_has_the_table(model, tmp_path):
    from edgecomp.bundle.record_key import record_key
    from edgecomp.device.load import load_target
    from edgecomp.options import BuildOptions

    table = tmp_path / "table.json"
    target = load_target("x86-64-v3")

    def key():
        return record_key(model, BuildOptions(cost_table=str(table)), target)

    table.write_text("one")
    before = key()
    assert before == key()
    table.write_text("two")
    assert before != key()
    assert before
    table.unlink()
    assert key() == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [("{}", "format"), ("nothing", "cannot be read as JSON"), (None, "no such cost table")],
)
def test_a_table_that_cannot_be_used(run, model, tmp_path, content, words):
    table = tmp_path / "table.json"
    if content is not None:
        table.write_text(content)
    result = run("build", model, "-o", tmp_path / "b", "--cost-table", table)
    assert result.status == 2
    assert words in result.err
    assert not (tmp_path / "b").exists()


def test_refusals(run, model):
    result = run("tune", model, "--device", "qemu", "--target", "raspberry-pi-3")
    assert result.status in (2, 8)  # 8 where the emulator is not installed
    assert "emulator" in result.err or "not installed" in result.err
    result = run("tune", model, "--target", "raspberry-pi-3")
    assert result.status == 2
    assert "cannot measure target 'raspberry-pi-3'" in result.err
    result = run("tune", model, "--trials", "1")
    assert result.status == 2
