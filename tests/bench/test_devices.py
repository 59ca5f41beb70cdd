"""Bundles on this machine and under qemu, and what is said when that fails."""

import dataclasses
import importlib.util
import shutil
import subprocess

import numpy as np
import pytest
from helpers.small_plan import expected, small_inputs, write_small
from helpers.targets import A53, A76, AVX2, reason_not_runnable

from edgecomp.bench.devices import open_device
from edgecomp.bench.failures import program_failed
from edgecomp.bench.local import ProcessDevice
from edgecomp.bench.runner import MeasureOptions
from edgecomp.bundle.reader import open_bundle
from edgecomp.errors import Code, EdgecompError

LOCAL = ProcessDevice("local")
OPTIONS = MeasureOptions(num_runs=5, warmup_runs=1, profile=True)


def _code(action):
    with pytest.raises(EdgecompError) as caught:
        action()
    return caught.value.code


def _check(outputs, inputs):
    reference = expected(inputs)
    np.testing.assert_allclose(outputs["scores"], reference["scores"], 1e-5, 1e-6)
    np.testing.assert_array_equal(outputs["line"], reference["line"])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("seed", [7, 8])
def test_run_here(host_bundle, seed, threads):
    inputs = small_inputs(seed)
    _check(LOCAL.run(host_bundle, inputs, threads=threads), inputs)
    _check(host_bundle.run(inputs, threads=threads), inputs)


def test_run_emulated(emulated):
    bundle, target = emulated
    inputs = small_inputs(9)
    _check(open_device("qemu", target).run(bundle, inputs, threads=2), inputs)


def test_built_by_zig(tmp_path):
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed (pip install ziglang)")
    if reason_not_runnable(A53):
        pytest.skip(reason_not_runnable(A53))
    bundle = write_small(A53, tmp_path / "small", toolchain="zig")
    bundle.check()
    inputs = small_inputs(11)
    _check(open_device("qemu", A53).run(bundle, inputs, threads=2), inputs)


def test_emulating_without_the_shared_libraries_of_the_target():
    error = program_failed(
        "qemu", ["edgecomp_run"], 255, "qemu-arm: Could not open '/lib/ld-linux-armhf.so.3'"
    )
    assert error.code is Code.DEVICE_FAILED
    assert "C library" in error.hint


def test_inputs_in_another_memory_order(host_bundle):
    inputs = small_inputs(3)
    strided = {**inputs, "pixels": np.asfortranarray(inputs["pixels"])}
    _check(LOCAL.run(host_bundle, strided), inputs)


def _measurement_holds(measurement):
    assert measurement.load_ns > 0
    assert measurement.first_run_ns > 0
    assert measurement.wall.runs == measurement.cpu.runs == OPTIONS.num_runs
    assert measurement.peak_rss_bytes > 100_000
    assert [(c.index, c.source, c.schedule) for c in measurement.calls] == [
        (0, "model.py:12", "elementwise_f32"),
        (1, "model.py:13", "gemm_f32"),
        (2, "model.py:20", "fallback"),
    ]
    assert all(c.minimum_ns <= c.mean_ns for c in measurement.calls)
    assert measurement.calls[1].multiply_adds == 105


def test_measure_here(host_bundle):
    measurement = LOCAL.measure(host_bundle, OPTIONS)
    _measurement_holds(measurement)
    assert not measurement.emulated
    assert not LOCAL.measure(host_bundle, MeasureOptions(num_runs=1)).calls


def test_measure_emulated(emulated):
    bundle, target = emulated
    measurement = open_device("qemu", target).measure(bundle, OPTIONS)
    _measurement_holds(measurement)
    assert measurement.emulated


def test_measure_without_golden_vectors(tmp_path):
    if reason_not_runnable(AVX2):
        pytest.skip(reason_not_runnable(AVX2))
    bundle = write_small(AVX2, tmp_path / "small", golden=[])
    assert LOCAL.measure(bundle, MeasureOptions(num_runs=2)).wall.runs == 2


def test_a_bundle_built_again_in_one_place_runs_the_new_code(tmp_path):
    """The system's loader would give back the library that it has under this path."""
    from helpers.small_plan import changed, golden, portable_model, small_plan

    from edgecomp.bundle.write import write_bundle

    if reason_not_runnable(AVX2):
        pytest.skip(reason_not_runnable(AVX2))
    plan = small_plan(AVX2)
    rest = {"model_bytes": portable_model(), "golden": golden(), "facts": {}, "force": True}
    first = write_bundle(plan, AVX2, tmp_path / "small", **rest)
    _check(first.run(small_inputs()), small_inputs())
    weights = bytearray(plan.weights)
    for i in range(0, len(weights), 4):
        weights[i + 3] ^= (
            0x80  # negates every float: gain and weight, so scores keep their sign
        )
    second = write_bundle(
        changed(plan, weights=bytes(weights)), AVX2, tmp_path / "small", **rest
    )
    _check(second.run(small_inputs()), small_inputs())
    assert first.manifest.weights.xxh3 != second.manifest.weights.xxh3


@pytest.mark.parametrize(
    "change",
    [
        {"wrong": np.zeros(1, np.float32)},
        {"pixels": np.zeros((3, 4), np.float32)},
        {"pixels": np.zeros((3, 5), np.float64)},
    ],
)
def test_inputs_that_do_not_fit(host_bundle, change):
    inputs = {**small_inputs(), **change}
    assert _code(lambda: LOCAL.run(host_bundle, inputs)) is Code.INPUT_MISMATCH
    assert _code(lambda: host_bundle.run(inputs)) is Code.INPUT_MISMATCH


def test_missing_input(host_bundle):
    inputs = {"pixels": small_inputs()["pixels"]}
    assert _code(lambda: LOCAL.run(host_bundle, inputs)) is Code.INPUT_MISMATCH


def test_damaged_weights(host_bundle, tmp_path):
    copy = open_bundle(shutil.copytree(host_bundle.directory, tmp_path / "copy"))
    content = bytearray(copy.weights_path.read_bytes())
    content[5] ^= 1
    copy.weights_path.write_bytes(content)
    assert _code(lambda: LOCAL.run(copy, small_inputs())) is Code.BUNDLE_CORRUPT
    assert _code(lambda: copy.run(small_inputs())) is Code.BUNDLE_CORRUPT


def test_a_processor_that_lacks_the_instructions(tmp_path):
    """A dotprod bundle on an emulated core without it: refused in words, not killed."""
    if reason_not_runnable(A76):
        pytest.skip(reason_not_runnable(A76))
    bundle = write_small(A76, tmp_path / "small")
    with pytest.raises(EdgecompError, match="dotprod") as caught:
        open_device("qemu", A53).run(bundle, small_inputs())
    assert caught.value.code is Code.DEVICE_FAILED


def test_a_bundle_for_another_machine(emulated):
    bundle, _ = emulated
    assert _code(lambda: bundle.run(small_inputs())) is Code.DEVICE_FAILED
    try:
        subprocess.run([str(bundle.runner_path), "--info"], check=False, capture_output=True)
    except OSError:
        error = _code(lambda: LOCAL.run(bundle, small_inputs()))
        assert error is Code.DEVICE_FAILED
    else:
        pytest.skip("this machine starts programs of other processors (binfmt_misc)")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -ILL $$", "SIGILL"),
        ("kill -SEGV $$", "SIGSEGV"),
        ("kill -KILL $$", "memory ran out"),
        (
            "echo 'edgecomp_run: error: no such thing' >&2; exit 8",
            "failed on local: no such thing",
        ),
        ("exit 3", "status 3"),
        ("echo this is no json", "cannot be read"),
        ('echo "{}"', "cannot be read"),
    ],
)
def test_a_runner_that_fails(fake_bundle, script, words):
    with pytest.raises(EdgecompError, match=words) as caught:
        LOCAL.measure(fake_bundle(script), OPTIONS)
    assert caught.value.code is Code.DEVICE_FAILED


def test_a_runner_that_does_not_end(fake_bundle):
    device = ProcessDevice("local", timeout_s=0.2)
    with pytest.raises(EdgecompError, match="did not end") as caught:
        device.measure(fake_bundle("exec sleep 20"), OPTIONS)
    assert caught.value.code is Code.DEVICE_FAILED


def test_bundle_without_a_runner(fake_bundle):
    bundle = fake_bundle("")
    bundle.runner_path = None
    assert _code(lambda: LOCAL.measure(bundle, OPTIONS)) is Code.TOOLCHAIN_MISSING


@pytest.mark.parametrize(
    "spec", ["locale", "adb:1", "ssh", "ssh:", "ssh:-oProxyCommand=x", "ssh:u@h:x"]
)
def test_unknown_devices(spec):
    assert _code(lambda: open_device(spec, AVX2)) is Code.USAGE


def test_devices_that_are_not_there():
    assert _code(lambda: open_device("qemu", AVX2)) is Code.DEVICE_UNREACHABLE
    gone = dataclasses.replace(A53.emulator, command="qemu-no-such", install="apt install it")
    with pytest.raises(EdgecompError) as caught:
        open_device("qemu", dataclasses.replace(A53, emulator=gone))
    assert caught.value.code is Code.DEVICE_UNREACHABLE
    assert caught.value.hint == "apt install it"


@pytest.mark.parametrize(
    "options",
    [
        {"threads": 0},
        {"num_runs": 0},
        {"warmup_runs": -1},
        {"max_secs": 0},
    ],
)
def test_options_out_of_range(options):
    assert _code(lambda: MeasureOptions(**options)) is Code.USAGE
