"""What the comparison on a CUDA device does beside its measurements."""

import types

from benchmarks import cuda_models


def test_every_tool_of_the_sanitizer_runs_the_program(tmp_path, monkeypatch):
    """A program in its place finds hazards, and nothing else."""
    tool, given = tmp_path / "compute-sanitizer", tmp_path / "given"
    tool.write_text(
        f'#!/bin/sh\necho "$@" >> {given}\n'
        '[ "$2" = racecheck ] && { echo "2 hazards displayed"; exit "$4"; }\nexit 0\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    bundle = types.SimpleNamespace(runner_path="bundle/run", weights_path="bundle/weights.bin")
    assert cuda_models.sanitized(bundle) == {
        "memcheck": "clean",
        "racecheck": "NOT CLEAN: 2 hazards displayed",
        "synccheck": "clean",
    }
    lines = given.read_text().splitlines()
    assert len(lines) == 3
    assert all("bundle/run --weights bundle/weights.bin" in line for line in lines)
