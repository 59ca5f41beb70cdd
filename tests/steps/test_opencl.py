"""Bundles for an OpenCL device: built, run beside onnxruntime, refused where they cannot run."""

import json
import os
import re
import subprocess

import numpy as np
import pytest
from helpers import gpu_bundles
from helpers.gpu_bundles import (
    assert_bits_of_the_processor,
    devices_of,
    reference,
    session_on_device,
    target_of_speed,
    target_with,
)
from helpers.gpu_network import SHAPE, network
from helpers.graphs import Graph
from helpers.opencl import reason_without_device

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.native import Session
from edgecomp.options import BuildOptions


def built(proto, folder, target="generic-opencl", **settings):
    return gpu_bundles.built(proto, folder, str(target), **settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model that the device computes alone, and its bundle."""
    proto = network(np.random.default_rng(1))
    return proto, built(proto, tmp_path_factory.mktemp("whole"), require_full_target=True)


def check_float(proto, bundle, rng, devices):
    x = rng.standard_normal(SHAPE).astype(np.float32)
    with session_on_device(bundle) as session:
        assert devices_of(session) == devices
        for _ in range(2):
            (found,) = session.run({"x": x}).values()
            np.testing.assert_allclose(found, reference(proto, x), rtol=1e-5, atol=1e-6)
        _, profiles = session.run_profiled({"x": x})
        assert all(profile.runs == 1 for profile in profiles)
    assert bundle.report["coverage"]["devices"]["opencl"]["calls"] > 1


def test_float(whole, rng):
    proto, bundle = whole
    check_float(proto, bundle, rng, {1})
    assert bundle.report["facts"]["on_the_processor"] == []


def test_dot_products(tmp_path, rng):
    """By the device's extension where its compiler has one; the processor's bits in any case."""
    target = target_with(tmp_path, ("features = []", 'features = ["int8_dot"]'))
    samples = [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(4)]
    proto = network(rng, softmax=False)
    bundle = built(proto, tmp_path, target, precision="w8a8", samples=samples)
    assert bundle.report["coverage"]["schedules"]["opencl_dot_product"]["calls"] >= 2
    assert_bits_of_the_processor(bundle, samples)


def test_placement_by_cost(tmp_path, rng):
    """What the GPU cannot compute, and what does not pay for its copy, stay on the processor."""
    g = Graph()
    x = g.input("x", (1, 64, 64, 64))
    weight = (rng.standard_normal((64, 64, 3, 3)) * 0.05).astype(np.float32)
    a = g("Relu", g("Conv", x, weight, pads=[1] * 4))
    b = g("CumSum", g("GlobalAveragePool", a), np.array(1))
    proto = g.proto(g("Sigmoid", b))
    bundle = built(proto, tmp_path, target_of_speed(tmp_path, 9e3, 0.1), accelerator="cpu,gpu")
    facts = bundle.report["facts"]
    devices = {row["operator"]: row["device"] for row in facts["placement"]}
    assert devices["Convolution"] == "gpu"
    assert devices["Cumulative"] == devices["Elementwise"] == "cpu"
    assert "faster there" in (bundle.directory / "report.md").read_text()
    cost = facts["placement_cost"]
    others = cost["all on the processor"], cost["on the GPU what it can compute"]
    assert cost["microseconds of a run"] < min(others)
    given = rng.standard_normal((1, 64, 64, 64)).astype(np.float32)
    with session_on_device(bundle) as session:
        assert devices_of(session) == {0, 1}
        (found,) = session.run({"x": given}).values()
    np.testing.assert_allclose(found, reference(proto, given), rtol=1e-5, atol=1e-6)
    with pytest.raises(EdgecompError) as info:
        built(
            proto, tmp_path / "refused", tmp_path / "other.toml", accelerator="cpu,gpu",
            require_full_target=True,
        )  # fmt: skip
    assert info.value.code is Code.FALLBACK_REFUSED
    assert "CumSum" in info.value.cause or "Cumulative" in info.value.cause
    assert "Elementwise" not in info.value.cause


@pytest.mark.parametrize("accelerator", ["cpu", "cpu,gpu"])
def test_all_on_the_processor(tmp_path, rng, accelerator):
    target = target_of_speed(tmp_path, 1.0, 1e6)
    proto = network(rng)
    bundle = built(proto, tmp_path, target, accelerator=accelerator, require_full_target=True)
    assert bundle.manifest.devices == ()
    assert bundle.manifest.cpu_plan is False
    x = rng.standard_normal(SHAPE).astype(np.float32)
    (found,) = bundle.run({"x": x}).values()
    np.testing.assert_allclose(found, reference(proto, x), rtol=1e-5, atol=1e-6)
    api.verify(bundle)


def test_accelerators_that_are_not_there(tmp_path, rng):
    proto = network(rng)
    with pytest.raises(EdgecompError) as info:
        built(proto, tmp_path, "host", accelerator="cpu,gpu")
    assert info.value.code is Code.USAGE
    assert "has no GPU" in info.value.cause
    target = target_of_speed(tmp_path, 1.0, 1.0)
    text = target.read_text()
    target.write_text(
        re.sub(r"(?s)\[gpu.speed\].*?\n\n", "", text).replace('"gpu.speed"', '"gpu.api"')
    )
    with pytest.raises(EdgecompError) as info:
        built(proto, tmp_path, target, accelerator="gpu,cpu")
    assert "how fast its GPU is" in info.value.cause
    assert "gpu.speed" in info.value.hint
    with pytest.raises(EdgecompError) as info:
        BuildOptions(accelerator="cpu,gpus")
    assert info.value.hint == "did you mean 'gpu'?"


def run_without_a_driver(bundle, folder, *more):
    empty = folder / "vendors"
    empty.mkdir(exist_ok=True)
    environment = {**os.environ, "OCL_ICD_VENDORS": str(empty)}
    command = [bundle.runner_path, "--weights", bundle.weights_path, "--json", *more]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )


def test_without_a_driver(tmp_path, whole, rng):
    """The runner says what is missing, and runs the CPU plan unless that is forbidden."""
    proto, bundle = whole
    x = rng.standard_normal(SHAPE).astype(np.float32)
    x.tofile(tmp_path / "x.bin")
    given = ["--input", f"x={tmp_path / 'x.bin'}", "--output-dir", tmp_path]
    done = run_without_a_driver(bundle, tmp_path, *given)
    assert done.returncode == 0, done.stderr
    assert "OpenCL" in done.stderr
    said = json.loads(done.stdout)
    assert (said["plan"], said["device_failure"]) == ("cpu", "device_absent")
    found = np.fromfile(tmp_path / f"{bundle.outputs[0].name}.bin", np.float32)
    np.testing.assert_allclose(found, reference(proto, x).reshape(-1), rtol=1e-5, atol=1e-6)
    done = run_without_a_driver(bundle, tmp_path, *given, "--plan", "device")
    assert done.returncode == 8
    assert "OpenCL" in done.stderr


def test_the_cpu_plan(whole, rng):
    """It needs no device, and shares the weights."""
    proto, bundle = whole
    x = rng.standard_normal(SHAPE).astype(np.float32)
    with Session(bundle.library_path, weights=bundle.weights_path, plan="cpu") as session:
        assert (session.plan, session.device_failure) == ("cpu", "")
        assert devices_of(session) == {0}
        (found,) = session.run({"x": x}).values()
        np.testing.assert_allclose(found, reference(proto, x), rtol=1e-5, atol=1e-6)
    api.verify(bundle, plan="cpu")
    sizes = bundle.report["sizes"]
    assert sizes["weights_of_cpu_plan"] < sizes["weights"] / 2
    assert "This CPU plan adds" in (bundle.directory / "report.md").read_text()
    assert bundle.manifest.devices == ("opencl",)


def test_another_device_is_said_when_the_cpu_plan_runs(whole):
    _, bundle = whole
    with Session(bundle.library_path, weights=bundle.weights_path, device="No") as session:
        assert session.plan == "cpu"
        assert "OpenCL" in session.device_failure
    with pytest.raises(EdgecompError) as info:
        Session(bundle.library_path, weights=bundle.weights_path, plan="gpu")
    assert info.value.code is Code.USAGE


def test_no_cpu_plan(tmp_path, whole):
    proto, _ = whole
    bundle = built(proto, tmp_path, cpu_plan=False)
    assert run_without_a_driver(bundle, tmp_path, "--random-inputs").returncode == 8
    assert "There is no CPU plan" in (bundle.directory / "report.md").read_text()
    assert "weights_of_cpu_plan" not in bundle.report["sizes"]
    with pytest.raises(EdgecompError) as info:
        api.verify(bundle, plan="cpu")
    assert info.value.code is Code.USAGE
    assert info.value.hint == "build it without --no-cpu-plan"


def test_another_device(whole):
    _, bundle = whole
    with pytest.raises(EdgecompError) as info:
        session_on_device(bundle, device="No Such Device")
    assert info.value.code is Code.DEVICE_FAILED
    assert "named 'No Such Device'" in info.value.cause


def test_what_a_driver_compiled_is_kept(tmp_path, whole, rng):
    _, bundle = whole
    cache = tmp_path / "programs"
    cache.mkdir()
    x = rng.standard_normal(SHAPE).astype(np.float32)
    found = []
    for _ in range(2):
        with session_on_device(bundle, device_cache=cache) as session:
            found.append(session.run({"x": x}))
    assert len(list(cache.iterdir())) == 1
    for name, value in found[0].items():
        np.testing.assert_array_equal(found[1][name], value)


def test_the_runner(whole):
    if reason_without_device():
        pytest.skip(reason_without_device())
    _, bundle = whole
    command = [bundle.runner_path, "--random-inputs", "--weights", bundle.weights_path,
               "--profile", "--num-runs", "2"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
