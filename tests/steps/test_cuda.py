"""Bundles for CUDA devices: built by nvcc, run on a driver without a device.

The driver (``tests/cuda_emulator/emulator.h``) has the kernels' CUDA C compiled for this machine's
processor; everything else is what a device would see. Nothing here needs one.
"""

import os
import subprocess

import numpy as np
import pytest
from helpers.cuda import emulate, emulator_folder, host_library
from helpers.gpu_bundles import built, cuda_text_of, reference, session_of
from helpers.gpu_network import SHAPE, network

from edgecomp.errors import Code, EdgecompError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model that the device computes alone, and its bundle."""
    proto = network(np.random.default_rng(1))
    return proto, built(
        proto, tmp_path_factory.mktemp("whole"), "cuda-sm90", require_full_target=True
    )


def test_a_run_is_one_graph(whole, rng):
    proto, bundle = whole
    driver = emulate(cuda_text_of(bundle))
    x = rng.standard_normal(SHAPE).astype(np.float32)
    with session_of(bundle) as session:
        assert {call.device for call in session.calls} == {2}
        for run in range(1, 3):
            (found,) = session.run({"x": x}).values()
            np.testing.assert_allclose(found, reference(proto, x), rtol=1e-5, atol=1e-6)
            assert driver.ec_emulator_graphs() == run
        _, profiles = session.run_profiled({"x": x})
        assert all(profile.runs == 1 for profile in profiles)
    assert driver.ec_emulator_live() == 0
    assert bundle.report["coverage"]["devices"]["cuda"]["calls"] > 1
    assert bundle.report["facts"]["on_the_processor"] == []


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ({"init": 100}, Code.DEVICE_FAILED, "no CUDA device"),
        ({"version": 11000}, Code.DEVICE_FAILED, "has version 11.0"),
        ({"capability": 87}, Code.DEVICE_FAILED, "built for sm_90 compute_90"),
        ({"jit": "ptxas fatal"}, Code.DEVICE_FAILED, "ptxas fatal"),
        ({"memory": 1000}, Code.DEVICE_FAILED, "no memory or registers left"),
        ({"fail_at": 9, "fail_with": 700}, Code.DEVICE_FAILED, "device was lost"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_refusals_leave_the_process_working(whole, rng, how, code, said):
    proto, bundle = whole
    driver = emulate(cuda_text_of(bundle), **how)
    with pytest.raises(EdgecompError) as info:
        session_of(bundle)
    assert info.value.code is code
    assert said in info.value.cause
    assert driver.ec_emulator_live() == 0
    emulate(cuda_text_of(bundle))
    x = rng.standard_normal(SHAPE).astype(np.float32)
    with session_of(bundle) as session:
        (found,) = session.run({"x": x}).values()
    np.testing.assert_allclose(found, reference(proto, x), rtol=1e-5, atol=1e-6)


def run_runner(bundle, **environment):
    command = [bundle.runner_path, "--random-inputs", "--weights", bundle.weights_path,
               "--profile", "--num-runs", "2", "--plan", "device"]  # fmt: skip
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_the_runner(whole, tmp_path):
    _, bundle = whole
    left = tmp_path / "left"
    options = f"kernels={host_library(cuda_text_of(bundle))};report={left}"
    done = run_runner(bundle, LD_LIBRARY_PATH=str(emulator_folder()), EC_EMULATOR=options)
    assert done.returncode == 0, done.stderr
    assert left.read_text().startswith("live 0 ")


def test_without_a_driver(whole):
    """The runner says what is missing; nothing else happens."""
    _, bundle = whole
    done = run_runner(bundle)
    if done.returncode == 0:
        pytest.skip("this machine has a CUDA driver")
    assert done.returncode == 8
    assert "CUDA" in done.stderr


def test_another_device(whole):
    _, bundle = whole
    emulate(cuda_text_of(bundle))
    with pytest.raises(EdgecompError, match="named 'No Such Device'"):
        session_of(bundle, device="No Such Device")


def test_a_build_for_a_board(whole, tmp_path):
    """Everything is compiled for the other processor and for the other device."""
    proto, _ = whole
    bundle = built(proto, tmp_path, "jetson-orin")
    descriptor = (bundle.directory / "src" / "network.c").read_text()
    assert '.options = "sm_87 compute_87"' in descriptor
    assert "EC_PROGRAM_CUDA_FATBIN" in descriptor
