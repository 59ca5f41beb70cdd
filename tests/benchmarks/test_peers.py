"""The comparison's tables and history file; nothing is measured here."""

import copy
import json

import pytest
from benchmarks import ceilings, peer_table, peer_work, peers
from benchmarks.peer_turns import OWN
from benchmarks.peer_work import PEERS

_RATIO = {"low": 1.1, "high": 1.4, "rounds": 15, "inconclusive": False}


def engine(ms, ratio=None, *, right=True, sqnr=100.0):
    found = {"version": "1", "form": "ONNX", "right": right, "sqnr_db": sqnr}
    for clock in ("cpu", "wall"):
        found[f"{clock}_ns"] = {"p50_ns": ms * 1e6, "round_medians": [1, 2]}
        if ratio:
            found[f"{clock}_ratio"] = {"value": ratio, **_RATIO}
    return found


def history(**engines):
    row = {
        "model": "resnet50",
        "precision": "fp32",
        "threads": 1,
        "multiply_adds": 4_000_000_000,
        "load_average": [0.1, 0.2],
        "edgecomp": {"commit": "abc", "changed": False, "sources": "0"},
        "engines": {OWN: engine(50), **engines},
    }
    two = copy.deepcopy({**row, "threads": 2})
    for each in two["engines"].values():
        if "error" not in each:
            each["cpu_ns"]["p50_ns"] *= 2  # both threads had a processor
    ceilings_found = {"1 thread": {"float32 G multiply-adds/s": 100.0}}
    return {"machine": {}, "ceilings": ceilings_found, "versions": {}, "rows": [row, two]}


def cells(text, line):
    rows = [r for r in text.splitlines() if r.startswith("| resnet50")]
    return [cell.strip() for cell in rows[line].strip("|").split("|")]


def test_the_best_peer_is_the_fastest_that_is_right():
    found = history(
        onnxruntime=engine(60, 1.2),
        openvino=engine(40, 0.8, right=False, sqnr=2.0),
        litert={"error": "no such operator"},
        ncnn=engine(90, 1.8),
    )
    text = peer_table.markdown(found)
    expected = ["resnet50", "50.00", "onnxruntime", "**1.20**", "1.10 to 1.40", "1.20", "80%"]
    expected += ["60.00", "40.00 !", "fails", "90.00"]
    assert cells(text, 0) == expected
    # With two threads there is one clock, and no ceiling is known here.
    assert cells(text, 1) == [*expected[:5], "", *expected[7:]]
    assert cells(text, 2) == ["resnet50", "100", "100", "2 !", "fails", "100"]


def test_no_peer_is_right():
    text = peer_table.markdown(history(mnn=engine(60, 1.2, right=False)))
    assert cells(text, 0)[:6] == ["resnet50", "50.00", "", "", "", ""]


def test_a_disturbed_line_is_no_result():
    found = history(mnn=engine(60, 1.5))
    row = found["rows"][1]
    assert not peer_table.disturbed(row)
    for each in row["engines"].values():
        each["cpu_ns"]["p50_ns"] /= 2
    assert peer_table.disturbed(row)
    assert "(1.50, disturbed)" in cells(peer_table.markdown(found), 1)


def test_the_mean_of_the_leads():
    found = history(mnn=engine(60, 1.5))
    found["rows"] = [found["rows"][0], {**found["rows"][0], "model": "mobilenetv2"}]
    assert "Geometric mean of 2 models 1.50; behind on 0." in peer_table.markdown(found)


def test_a_history_file_is_read_back(tmp_path):
    path = tmp_path / "history.json"
    assert peers.read_history(path)["rows"] == []
    found = history(mnn=engine(60, 1.5))
    peers.write_history(path, found)
    assert peers.read_history(path) == json.loads(json.dumps(found))
    assert '"round_medians": [1, 2]' in path.read_text()


def test_flags(tmp_path):
    flags = peers.parse(
        ["--models", "all", "--peer-python", "mnn=python3", "--peers", "mnn,onnxruntime"]
    )
    assert flags.models == list(peers.EVERY)
    assert flags.pythons == {"mnn": "python3"}
    assert flags.peers == ["onnxruntime", "onnxruntime, same file", "mnn"]
    assert flags.json.parent == peers.HISTORY
    for wrong in (["--models", "none"], ["--peer-python", "mnn"], ["--prepare", "--table"]):
        with pytest.raises(SystemExit):
            peers.parse(wrong)


def test_every_history_file_can_be_printed():
    paths = sorted(peers.HISTORY.glob("*.json"))
    assert paths
    for path in paths:
        found = peers.read_history(path)
        assert {p for row in found["rows"] for p in row["engines"]} <= {OWN, *PEERS}, path
        text = peer_table.markdown(found)
        assert all(row["model"] in text for row in found["rows"]), path


def test_a_stamp_names_the_sources(monkeypatch, tmp_path):
    monkeypatch.setattr(peer_work, "ROOT", tmp_path)
    source = tmp_path / "runtime" / "src" / "run.c"
    source.parent.mkdir(parents=True)
    stamps = []
    for text in ("int a;", "int b;", "int a;"):
        source.write_text(text)
        stamps.append(peer_work.source_stamp()["sources"])
    assert stamps[0] == stamps[2] != stamps[1]


def test_ceilings_of_this_machine():
    found = ceilings.measured_ceilings([1])
    if not found:
        pytest.skip("no C compiler")
    figures = {key: value for key, value in found["1 thread"].items() if key != "int8 by"}
    assert {"float32 G multiply-adds/s", "level 1 GB/s", "memory GB/s"} <= set(figures)
    assert all(value > 0 for value in figures.values())


def test_without_a_compiler_there_are_no_ceilings(monkeypatch):
    monkeypatch.setattr(ceilings.shutil, "which", lambda name: None)
    assert ceilings.measured_ceilings([1]) == {}
