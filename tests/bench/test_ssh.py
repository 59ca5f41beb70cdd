"""The ssh device against stand-ins for ssh and scp that work in a folder of this machine."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from helpers import interruptible
from helpers.small_plan import expected, small_inputs
from helpers.targets import AVX2

from edgecomp.bench.devices import open_device
from edgecomp.bench.runner import MeasureOptions
from edgecomp.errors import Code, EdgecompError

OPTIONS = """
while [ $# -gt 0 ]; do
  case "$1" in
    -o) case "$2" in BatchMode=yes) batch=1 ;; Port=*) echo "$2" >> "$FAKE_LOG" ;; esac; shift 2 ;;
    -O) exit 0 ;;
    -q) shift ;;
    *) break ;;
  esac
done
[ -n "$batch" ] || exit 99
"""
SSH = (
    OPTIONS
    + """
host=$1; shift
if [ "$host" = down@board ]; then echo "Connection refused" >&2; exit 255; fi
echo "ssh $host" >> "$FAKE_LOG"
cd "$FAKE_HOME" || exit 98
HOME="$FAKE_HOME" TMPDIR="$FAKE_HOME/tmp" exec sh -c "$*"
"""
)
SCP = (
    OPTIONS
    + """
from=${1#*@board:}; to=${2#*@board:}
echo "scp $(basename "$from") $(basename "$to")" >> "$FAKE_LOG"
[ -z "$FAKE_FULL" ] || { echo "No space left on device" >&2; exit 1; }
exec cp "$from" "$to"
"""
)


@pytest.fixture
def board(tmp_path, monkeypatch):
    programs, home = tmp_path / "bin", tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    programs.mkdir()
    for name, text in (("ssh", SSH), ("scp", SCP)):
        (programs / name).write_text(f"#!/bin/sh\n{text}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_HOME", str(home))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path


def _log(board):
    return (board / "log").read_text().splitlines()


def test_run_and_measure(board, host_bundle):
    device = open_device("ssh:pi@board", AVX2)
    outputs = device.run(host_bundle, small_inputs())
    assert outputs["line"].tolist() == expected(small_inputs())["line"].tolist()
    measurement = device.measure(host_bundle, MeasureOptions(num_runs=3))
    assert measurement.wall.runs == 3
    assert measurement.device == "ssh:pi@board"
    assert not measurement.emulated


def test_runner_and_weights_are_copied_once_and_scratch_is_removed(board, host_bundle):
    device = open_device("ssh:pi@board", AVX2)
    for _ in range(2):
        device.run(host_bundle, small_inputs())
    copied = [line for line in _log(board) if line.endswith(".part")]
    assert len(copied) == 2
    kept = board / "home" / ".cache" / "edgecomp" / "device"
    assert len(list(kept.iterdir())) == 2
    assert list((board / "home" / "tmp").iterdir()) == []


def test_port(board, host_bundle):
    open_device("ssh:pi@board:2222", AVX2).run(host_bundle, small_inputs())
    assert "Port=2222" in _log(board)


def test_a_served_runner_answers_and_leaves_nothing(board, host_bundle):
    device = open_device("ssh:pi@board", AVX2)
    with device.place(host_bundle) as place:
        process = place.serve(["--weights", place.weights, "--random-inputs"])
        assert process.answer()["load_ns"] > 0
        assert len(process.ask("profile 1")["profile"]) == len(host_bundle.report["calls"])
        process.close()
        place.discard()
    assert list((board / "home" / ".cache" / "edgecomp" / "device").iterdir()) == []


def test_describe(board):
    assert (
        open_device("ssh:pi@board", AVX2).describe() == open_device("local", None).describe()
    )


def _fails(device, bundle):
    with pytest.raises(EdgecompError) as caught:
        device.measure(bundle, MeasureOptions(num_runs=1))
    return caught.value


def test_unreachable(board, host_bundle):
    error = _fails(open_device("ssh:down@board", AVX2), host_bundle)
    assert error.code is Code.DEVICE_UNREACHABLE
    assert "Connection refused" in error.cause


def test_no_ssh_client(monkeypatch, host_bundle):
    monkeypatch.setenv("PATH", "/nonexistent")
    error = _fails(open_device("ssh:pi@board", AVX2), host_bundle)
    assert error.code is Code.DEVICE_UNREACHABLE
    assert "openssh-client" in error.hint


def test_copy_fails(board, host_bundle, monkeypatch):
    monkeypatch.setenv("FAKE_FULL", "1")
    error = _fails(open_device("ssh:pi@board", AVX2), host_bundle)
    assert error.code is Code.DEVICE_FAILED
    assert "No space left" in error.cause


def test_a_crash_there_is_explained(board, fake_bundle):
    error = _fails(open_device("ssh:pi@board", AVX2), fake_bundle("kill -ILL $$"))
    assert error.code is Code.DEVICE_FAILED
    assert "SIGILL" in error.cause
    assert list((board / "home" / "tmp").iterdir()) == []


HOLD = """
import pathlib, sys, time
from edgecomp.bench.devices import open_device
from edgecomp.bundle.reader import open_bundle
with open_device("ssh:pi@board", None).place(open_bundle(sys.argv[1])) as place:
    place.send(pathlib.Path(sys.argv[0]), "file")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_scratch_is_removed_when_the_command_is_killed(board, host_bundle, number):
    script = board / "hold.py"
    script.write_text(HOLD)
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, str(script), str(host_bundle.directory)]
    scratch = board / "home" / "tmp"
    with interruptible.popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        assert [[f.name for f in each.iterdir()] for each in scratch.iterdir()] == [["file"]]
        process.send_signal(number)
    deadline = time.monotonic() + 20
    while list(scratch.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(scratch.iterdir()) == []


def test_no_room_for_a_scratch_folder(board, host_bundle):
    (board / "home" / "tmp").rmdir()
    error = _fails(open_device("ssh:pi@board", AVX2), host_bundle)
    assert error.code is Code.DEVICE_FAILED
    assert "mktemp" in str(error.cause)
