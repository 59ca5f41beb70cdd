"""edgecomp_run: files in and out, reports, the command mode, and how it fails."""

import json
import os
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest
from helpers.demo_library import (
    DEMO,
    compile_plain,
    demo_library,
    demo_outputs,
    demo_runner,
    demo_weights,
    runtime_objects,
)

FILES = {"y": "y.bin", "row/sum:0": "row_sum_0.bin", "total": "total.bin", "bias": "bias.bin"}


@pytest.fixture
def inputs(tmp_path, rng):
    """Arguments that give the inputs, and the inputs."""
    x = rng.integers(-128, 128, (37, 16)).astype(np.float32)
    gain = np.array([0.75], np.float32)
    x.tofile(tmp_path / "x.bin")
    gain.tofile(tmp_path / "gain.bin")
    arguments = ["--input", f"x={tmp_path / 'x.bin'}"]
    arguments += [f"--input=gain={tmp_path / 'gain.bin'}"]
    return arguments, x, gain


def start(*arguments, program=None, emulator=(), **kwargs):
    command = [*emulator, program or demo_runner(), *arguments]
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **kwargs
    )


def report(*arguments, **kwargs):
    done = start("--json", *arguments, **kwargs)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def refused(exit_code, *arguments, **kwargs):
    done = start(*arguments, **kwargs)
    assert done.returncode == exit_code, done
    assert done.stdout == ""
    assert re.fullmatch(r"edgecomp_run: error: .+\n", done.stderr), done.stderr
    return done.stderr


def check_outputs(folder, x, gain):
    for name, expected in demo_outputs(x, gain).items():
        found = np.fromfile(folder / FILES[name], expected.dtype)
        np.testing.assert_array_equal(found, expected.ravel())
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES.values())


def test_files_in_and_out(tmp_path, inputs):
    arguments, x, gain = inputs
    for threads in (1, 3):
        folder = tmp_path / f"out{threads}"
        report(*arguments, "--output-dir", folder, "--threads", threads)
        check_outputs(folder, x, gain)
    done = start(*arguments, "--output_dir", folder)  # an existing folder; _ for -
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("compiler", "emulator"),
    [("aarch64-linux-gnu-gcc", "qemu-aarch64"), ("arm-linux-gnueabihf-gcc", "qemu-arm")],
)
def test_under_an_emulator(tmp_path, inputs, compiler, emulator):
    for name in (compiler, emulator):
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")
    arguments, x, gain = inputs
    program = demo_runner(cc=compiler, static=True)
    found = report(
        *arguments, "--output-dir", tmp_path / "out", "--num-runs", 2, "--threads", 2,
        program=program, emulator=[emulator],
    )  # fmt: skip
    assert len(found["run_ns"]) == 2
    check_outputs(tmp_path / "out", x, gain)


def test_report(inputs):
    found = report(*inputs[0], "--warmup-runs", 2, "--num-runs", 7, "--profile")
    assert (found["model"], found["target"], found["threads"]) == ("demo", "any", 1)
    assert len(found["run_ns"]) == len(found["cpu_ns"]) == 7
    assert all(ns > 0 for ns in [*found["run_ns"], found["load_ns"], found["first_run_ns"]])
    assert 100_000 < found["peak_rss_bytes"] < 100_000_000
    first = found["profile"][0]
    assert (first["operator"], first["schedule"]) == ("Affine", "affine")
    assert (first["nodes"], first["source"]) == ("mul_0,add_1", "demo.py:10")
    assert first["multiply_adds"] == 1184
    assert first["runs"] == 7
    assert 7 * first["minimum_ns"] <= first["total_ns"]
    assert len(found["profile"]) == 4


def test_peak_memory_is_not_that_of_the_parent(inputs):
    """ru_maxrss would be: this process is far larger than the demo."""
    ballast = np.ones(20_000_000)
    assert report(*inputs[0])["peak_rss_bytes"] < ballast.nbytes / 4


def test_time_limit(inputs):
    found = report(*inputs[0], "--num-runs", 1_000_000_000, "--max-secs", 0.05)
    assert 1 <= len(found["run_ns"]) < 1_000_000
    assert "profile" not in found


def test_without_timed_runs(inputs):
    found = report(*inputs[0], "--profile")
    assert found["run_ns"] == []
    assert found["profile"][0]["runs"] == 1


def test_text_report(inputs):
    done = start(*inputs[0], "--num-runs", 3, "--profile")
    assert done.returncode == 0
    assert "3 runs: minimum" in done.stdout
    assert "demo.py:10" in done.stdout


def test_info():
    found = report("--info", "--threads", 2)
    assert found["inputs"][0] == {"name": "x", "dtype": "float32", "shape": [37, 16],
                                  "bytes": 2368}  # fmt: skip
    assert found["outputs"][2]["shape"] == []
    assert (found["calls"], found["arena_bytes"], found["weights_bytes"]) == (4, 4992, 256)
    assert found["session_bytes"] > report("--info")["session_bytes"]
    done = start("--info")
    assert "input   x: float32 [37, 16]\n" in done.stdout
    assert start("--help").stdout.startswith("usage: edgecomp_run")


def test_random_inputs_repeat(tmp_path, inputs):
    for folder in ("a", "b"):
        report("--random-inputs", "--output-dir", tmp_path / folder)
    for name in FILES.values():
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    y = np.fromfile(tmp_path / "a" / "y.bin", np.int8)
    assert len(np.unique(y)) > 5
    report(*inputs[0][:2], "--random-inputs")  # only those that are not given


def test_serves_commands(inputs):
    commands = 'run 0.01 5\nrun 0 3\nnonsense\nrun 1\nprofile 2\nrun 0 0\nrun 0 1 "x"\n'
    done = start(*inputs[0], "--serve", "--num-runs", 2, input=commands)
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 8
    assert len(lines[0]["run_ns"]) == 2
    assert len(lines[1]["run_ns"]) >= 5
    assert sum(lines[1]["run_ns"]) > 1_000_000
    assert len(lines[2]["run_ns"]) == len(lines[2]["cpu_ns"]) == 3
    assert lines[5]["profile"][0]["runs"] == 2
    for line in (lines[3], lines[4], lines[6], lines[7]):
        assert "commands" in line["error"]
    assert lines[7]["line"] == 'run 0 1 "x"'


def test_serves_each_command_at_once(inputs):
    """An answer comes before the input ends, so that engines can take turns."""
    command = [str(demo_runner()), *map(str, inputs[0]), "--serve"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert "load_ns" in json.loads(process.stdout.readline())
        for runs in (1, 4):
            process.stdin.write(f"run 0 {runs}\n")
            process.stdin.flush()
            assert len(json.loads(process.stdout.readline())["run_ns"]) == runs
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--what"], "--what"),
        (["model.bin"], "model.bin"),
        (["--threads"], "needs a value"),
        (["--threads", "two"], "not a count"),
        (["--threads", "-1"], "not a count"),
        (["--threads=9999"], "9999 threads"),
        (["--num-runs", "99999999999999999999"], "not a count"),
        (["--max-secs", "0"], "not a time"),
        (["--json=yes"], "takes no value"),
        (["--input", "x"], "NAME=FILE"),
        (["--input", "=file"], "NAME=FILE"),
        (["--input", "z=/dev/null"], "no input named 'z'"),
        ([], "input 'x' is not given"),
        (["--weights", "/nowhere/w.bin", "--random-inputs"], "no such file"),
    ],
)
def test_usage_errors(arguments, word):
    assert word in refused(2, *arguments)


def test_input_files(tmp_path, inputs):
    arguments, x, _ = inputs
    path = tmp_path / "x.bin"
    path.write_bytes(x.tobytes()[:-1])
    assert "has fewer" in refused(2, *arguments)
    path.write_bytes(x.tobytes() + b"\0")
    assert "has more" in refused(2, *arguments)
    path.unlink()
    assert "No such file" in refused(2, *arguments)
    path.mkdir()
    assert "cannot read" in refused(2, *arguments)


def test_input_from_a_pipe(tmp_path, inputs):
    arguments, x, gain = inputs
    path = tmp_path / "x.bin"
    path.unlink()
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(x.tobytes(),))
    writer.start()
    report(*arguments, "--output-dir", tmp_path / "out", "--num-runs", 2)
    writer.join()
    check_outputs(tmp_path / "out", x, gain)


def test_output_folder(tmp_path, inputs):
    arguments = inputs[0]
    assert "cannot make folder" in refused(2, *arguments, "--output-dir", tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    refused(2, *arguments, "--output-dir", tmp_path / "file")
    (tmp_path / "taken" / "y.bin").mkdir(parents=True)
    assert "cannot write" in refused(2, *arguments, "--output-dir", tmp_path / "taken")
    assert [p.name for p in (tmp_path / "taken").iterdir()] == ["y.bin"]


def test_weights(tmp_path, inputs):
    arguments, x, gain = inputs
    program = demo_runner("DEMO_SIDE_FILE")
    weights = tmp_path / "w.bin"
    weights.write_bytes(demo_weights())
    report(*arguments, "--weights", weights, "--output-dir", tmp_path / "out", program=program)
    check_outputs(tmp_path / "out", x, gain)
    (program.parent / "demo.bin").write_bytes(demo_weights())
    report(*arguments, program=program)  # found beside the program
    (program.parent / "demo.bin").unlink()
    assert "no such file" in refused(2, *arguments, program=program)
    weights.write_bytes(demo_weights()[:-1])
    error = refused(10, *arguments, "--weights", weights, program=program)
    assert "weights_bytes" in error
    weights.write_bytes(bytes(256))
    error = refused(10, *arguments, "--weights", weights, program=program)
    assert "weights_hash" in error
    report(*arguments, "--weights", weights, "--skip-hash", program=program)


def test_other_version_and_missing_feature(inputs):
    program = demo_runner("DEMO_ABI_VERSION=99")
    assert "version" in refused(10, *inputs[0], program=program)
    assert "version" in refused(10, "--info", program=program)
    program = demo_runner('DEMO_FEATURES="avx2000"')
    assert "avx2000" in refused(8, *inputs[0], program=program)


def test_links_with_the_shared_library(tmp_path, inputs):
    """The runner needs nothing of the runtime but its public functions."""
    library = demo_library()
    program = compile_plain(
        tmp_path / "runner", [*runtime_objects()[1].values(), library],
        f"-Wl,-rpath,{library.parent}",
    )  # fmt: skip
    report(*inputs[0], program=program)


def test_model_function_by_name(tmp_path, inputs):
    runtime, runner = runtime_objects()
    main = next(p for p in runner if p.endswith("edgecomp_run.c"))
    others = [output for source, output in runner.items() if source != main]
    program = compile_plain(
        tmp_path / "runner", [main, *others, *runtime.values(), DEMO],
        "-DEC_MODEL_FUNCTION=demo_model",
    )  # fmt: skip
    assert report(*inputs[0], program=program)["model"] == "demo"
