"""What MobileNetV2 costs besides its inferences: building, opening, memory. Asserts no time."""

import json
import os
import subprocess
import time

import pytest
from helpers.classifiers import classifier

from edgecomp import api
from edgecomp.options import BuildOptions

STARTS = 15


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cost")
    api.save(classifier("mobilenet_v2").clone(), folder / "mobilenet_v2.onnx")
    return folder


def timed_build(folder, output, cache):
    begin = time.perf_counter()
    options = BuildOptions(output=folder / output, cache_dir=folder / cache)
    return api.build(folder / "mobilenet_v2.onnx", options), time.perf_counter() - begin


@pytest.fixture(scope="module")
def built(folder):
    return timed_build(folder, "first", "cache")


def test_build_and_rebuild(folder, built, figure):
    figure("build of MobileNetV2, empty cache", f"{built[1]:.1f} s", "at most 30")
    again, seconds = timed_build(folder, "again", "cache")
    figure("the same build again", f"{seconds:.1f} s", "at most 5")
    first = {p.relative_to(folder / "first") for p in (folder / "first").rglob("*")}
    assert first == {p.relative_to(folder / "again") for p in (folder / "again").rglob("*")}
    assert again.manifest == built[0].manifest


def cpu_seconds(command):
    """Processor time of a program from its start to its end, and what it printed."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime, text


def test_first_inference_of_a_process(folder, built, figure):
    bundle = built[0]
    assert bundle.manifest.memory.arena_bytes == bundle.manifest.memory.arena_bound_bytes
    name = bundle.inputs[0].name
    command = [
        folder / "first" / "bin" / "edgecomp_run",
        "--weights", folder / "first" / "weights.bin",
        "--input", f"{name}={folder / 'first' / 'golden' / '0' / 'input_0.bin'}",
        "--json",
    ]  # fmt: skip
    results = [cpu_seconds(command) for _ in range(STARTS)]
    best = min(seconds for seconds, _ in results)
    peak = min(json.loads(text)["peak_rss_bytes"] for _, text in results)
    figure(
        "start to first output of MobileNetV2, processor time, hash checked",
        f"{best * 1e3:.1f} ms",
        "at most 10",
    )
    figure("peak memory of that process", f"{peak / 1e6:.1f} MB", "at most 25")
    assert peak <= 25e6
