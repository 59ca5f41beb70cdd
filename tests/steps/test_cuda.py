"""Bundles for CUDA devices: built by nvcc, run on a driver without a device.

The driver (``tests/cuda_emulator/emulator.c``) has the kernels' CUDA C compiled for this machine's
processor; everything else is what a device would see. Nothing here needs one.
"""

import os
import subprocess

import numpy as np
import onnxruntime
import pytest
from helpers.cuda import emulate, emulator_folder, host_library, require_nvcc
from helpers.graphs import Graph

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.native import Session
from edgecomp.options import BuildOptions

SHAPE = (1, 3, 17, 13)


def network(rng, *, softmax=True):
    """Convolutions, a residual, a pool, a resize and a classifier."""

    def weights(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    g = Graph()
    x = g.input("x", SHAPE)
    a = g(
        "Relu", g("Conv", x, weights(12, 3, 3, 3), weights(12), pads=[1] * 4, strides=[2, 2])
    )
    b = g("Conv", a, weights(12, 1, 3, 3), weights(12), pads=[1] * 4, group=12)
    c = g("Add", g("HardSwish", g("Conv", b, weights(12, 12, 1, 1), weights(12))), a)
    d = g("MaxPool", c, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    e = g("Resize", d, "", np.array([1, 1, 2, 2], np.float32), mode="nearest")
    f = g("GlobalAveragePool", e)
    h = g("Gemm", g("Flatten", f), weights(12, 10), weights(10))
    return g.proto(g("Softmax", h, axis=-1) if softmax else h)


def built(proto, folder, *, target="cuda-sm90", samples=None, **settings):
    if target != "host":
        require_nvcc()
    options = BuildOptions(
        target=target,
        output=folder / target,
        cache_dir=folder / "cache",
        name="network",
        **settings,
    )
    return api.build(proto, options, calibration_dataset=samples)


def reference(proto, x):
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(None, {"x": x})[0]


def text_of(bundle):
    """Its CUDA C."""
    return (bundle.directory / "src" / "network.cu").read_text()


def session_of(bundle, **more):
    more = {"plan": "device", **more}
    return Session(bundle.library_path, weights=bundle.weights_path, **more)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model that the device computes alone, and its bundle."""
    proto = network(np.random.default_rng(1))
    return proto, built(proto, tmp_path_factory.mktemp("whole"), require_full_target=True)


def test_a_run_is_one_graph(whole, rng):
    proto, bundle = whole
    driver = emulate(text_of(bundle))
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


def test_a_part_on_the_processor(tmp_path, rng):
    g = Graph()
    x = g.input("x", SHAPE)
    total = g("CumSum", g("Relu", x), np.array(1))
    proto = g.proto(g("Mul", total, g("Sigmoid", x)))
    bundle = built(proto, tmp_path)
    driver = emulate(text_of(bundle))
    x = rng.standard_normal(SHAPE).astype(np.float32)
    with session_of(bundle) as session:
        (found,) = session.run({"x": x}).values()
        np.testing.assert_allclose(found, reference(proto, x), rtol=1e-5, atol=1e-6)
    assert driver.ec_emulator_graphs() == 2  # before and behind the processor's part
    with pytest.raises(EdgecompError) as info:
        built(proto, tmp_path / "refused", require_full_target=True)
    assert info.value.code is Code.FALLBACK_REFUSED


def test_integers_are_those_of_the_processor(tmp_path, rng):
    proto = network(rng, softmax=False)
    samples = [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(4)]
    results = {}
    for target in ("host", "cuda-sm90"):
        bundle = built(proto, tmp_path, target=target, samples=samples, precision="w8a8")
        if target != "host":
            emulate(text_of(bundle))
        with session_of(bundle) as session:
            results[target] = [session.run(sample) for sample in samples]
            devices = {call.device for call in session.calls}
            assert devices == ({0} if target == "host" else {2})
    for one, other in zip(*results.values(), strict=True):
        for name, value in one.items():
            np.testing.assert_array_equal(other[name], value)


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
    driver = emulate(text_of(bundle), **how)
    with pytest.raises(EdgecompError) as info:
        session_of(bundle)
    assert info.value.code is code
    assert said in info.value.cause
    assert driver.ec_emulator_live() == 0
    emulate(text_of(bundle))
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
    options = f"kernels={host_library(text_of(bundle))};report={left}"
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
    emulate(text_of(bundle))
    with pytest.raises(EdgecompError, match="named 'No Such Device'"):
        session_of(bundle, device="No Such Device")


def test_a_build_for_a_board(whole, tmp_path):
    """Everything is compiled for the other processor and for the other device."""
    proto, _ = whole
    bundle = built(proto, tmp_path, target="jetson-orin")
    descriptor = (bundle.directory / "src" / "network.c").read_text()
    assert '.options = "sm_87 compute_87"' in descriptor
    assert "EC_PROGRAM_CUDA_FATBIN" in descriptor
