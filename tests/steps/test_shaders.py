"""Bundles with kernels for an app's own GPU code: their launch tables, run beside onnxruntime."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.gpu_network import SHAPE, network
from helpers.graphs import Graph
from helpers.metal_host import MetalModel
from helpers.webgpu import webgpu_device

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BuildOptions


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Builds a model; kernels are compiled once for all tests."""
    cache = tmp_path_factory.mktemp("cache")

    def build(model, folder, target, data=None, **settings):
        settings = {"toolchain": "none", **settings}
        options = BuildOptions(
            target=target,
            output=folder / "bundle",
            cache_dir=cache,
            name="network",
            **settings,
        )
        return api.build(model, options, calibration_dataset=data)

    return build


@pytest.fixture
def target(request):
    """One that can be run here."""
    if request.param == "webgpu":
        webgpu_device()
    return request.param


def on(*targets):
    return pytest.mark.parametrize("target", targets, indirect=True)


def opened(bundle, target):
    if target == "apple-gpu":
        return MetalModel(bundle.directory)
    from helpers.webgpu_host import WebGpuModel

    return WebGpuModel(bundle.directory, webgpu_device())


def reference(proto, feeds):
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(None, feeds)[0]


def some(rng, shape=SHAPE):
    return {"x": rng.standard_normal(shape).astype(np.float32)}


@on("webgpu", "apple-gpu")
def test_float(built, tmp_path, target, rng):
    proto = network(rng)
    bundle = built(proto, tmp_path, target)
    model = opened(bundle, target)
    for _ in range(2):
        feeds = some(rng)
        (found,) = model.run(feeds).values()
        np.testing.assert_allclose(found, reference(proto, feeds), rtol=1e-5, atol=1e-6)


@on("webgpu", "apple-gpu")
def test_integers_are_those_of_the_processor(built, tmp_path, target, rng):
    proto = network(rng, softmax=False)
    data = [some(rng) for _ in range(4)]
    bundle = built(proto, tmp_path, target, data, precision="w8a8")
    more = {"precision": "w8a8", "toolchain": "auto"}
    on_cpu = built(proto, tmp_path / "cpu", "host", data, **more)
    model = opened(bundle, target)
    assert "Quantize" in {call["operator"] for call in model.table["calls"]}
    for feeds in data:
        (found,), (want,) = model.run(feeds).values(), on_cpu.run(feeds).values()
        np.testing.assert_array_equal(found, want)


@on("webgpu", "apple-gpu")
def test_floats_of_16_bits_between_kernels(built, tmp_path, target, rng):
    proto = dense_network(rng)
    bundle = built(proto, tmp_path, target, precision="fp16")
    model = opened(bundle, target)
    assert model.table["requires"]["features"] == ["shader-f16"] * (target == "webgpu")
    assert bundle.report["facts"]["gpu_floats"]["values"] >= 3
    feeds = some(rng, (1, 3, 9, 7))
    (found,), want = model.run(feeds).values(), reference(proto, feeds)
    assert 0 < np.abs(found - want).max() < 2e-3 * np.abs(want).max()


def dense_network(rng):
    """Concatenations whose parts are written where they end: a call reads and writes one tensor."""

    def weights(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    g = Graph()
    x = g.input("x", (1, 3, 9, 7))
    a = g("Relu", g("Conv", x, weights(8, 3, 3, 3), weights(8), pads=[1] * 4))
    b = g("Relu", g("Conv", a, weights(8, 8, 3, 3), weights(8), pads=[1] * 4))
    c = g("Concat", a, b, axis=1)
    d = g("Concat", c, g("Conv", c, weights(8, 16, 1, 1), weights(8)), axis=1)
    return g.proto(g("Conv", d, weights(4, 24, 1, 1), weights(4)))


@on("webgpu")
def test_a_tensor_that_is_read_and_written(built, tmp_path, target, rng):
    """WebGPU forbids two bindings of it: the kernel has one."""
    proto = dense_network(rng)
    model = opened(built(proto, tmp_path, target), target)
    convolutions = [c for c in model.table["calls"] if c["operator"] == "Convolution"]
    assert {len(call["bindings"]) for call in convolutions} == {3, 4}
    feeds = some(rng, (1, 3, 9, 7))
    (found,) = model.run(feeds).values()
    np.testing.assert_allclose(found, reference(proto, feeds), rtol=1e-5, atol=1e-6)


@on("webgpu")
def test_indices_of_64_bits(built, tmp_path, target, rng):
    table = rng.standard_normal((11, 8)).astype(np.float32)
    g = Graph()
    ids = g.input("ids", (2, 3), np.int64)
    proto = g.proto(g("Relu", g("Gather", table, ids)))
    model = opened(built(proto, tmp_path, target), target)
    feeds = {"ids": np.array([[0, -1, 10], [3, -11, 5]], np.int64)}
    (found,) = model.run(feeds).values()
    np.testing.assert_array_equal(found, reference(proto, feeds))


def test_the_bundle(built, tmp_path, rng):
    """Its library runs the processor's plan; it says what else there is; twice it is the same."""
    path = tmp_path / "network.onnx"
    onnx.save(network(rng), path)
    bundle = built(path, tmp_path, "webgpu", toolchain="auto")
    assert bundle.manifest.devices == ()
    assert bundle.manifest.shaders == {
        "language": "wgsl",
        "source": "shaders/network.wgsl",
        "table": "shaders/network.json",
    }
    api.verify(bundle)
    shaders = bundle.report["shaders"]
    assert shaders["multiply_adds"] == bundle.report["coverage"]["multiply_adds"] > 0
    assert "for an app's own GPU code" in (bundle.directory / "report.md").read_text()
    first = {name: facts.sha256 for name, facts in bundle.manifest.files.items()}
    again = built(
        path, tmp_path, "webgpu", force=True, toolchain="auto"
    )  # from what the first build kept
    assert {name: facts.sha256 for name, facts in again.manifest.files.items()} == first
    assert built(path, tmp_path / "cpu", "webgpu", accelerator="cpu").manifest.shaders == {}


CHECK_AS_CHROME = """
import pathlib, sys
import numpy as np
import wgpudawn._as_wgpu
wgpudawn._as_wgpu.install_as_wgpu()
import wgpu
from helpers.webgpu_host import WebGpuModel
device = wgpu.gpu.request_adapter_sync().request_device_sync(required_features=["shader-f16"])
model = WebGpuModel(pathlib.Path(sys.argv[1]), device)
model.run({p["name"]: np.zeros(p["shape"], p["dtype"]) for p in model.table["inputs"]})
"""


@pytest.mark.parametrize("precision", ["fp32", "w8a8", "fp16"])
def test_chromes_implementation_takes_all_of_it(built, tmp_path, precision, rng):
    """Dawn checks text, bindings and limits; its Null backend computes nothing."""
    if importlib.util.find_spec("wgpudawn") is None:
        pytest.skip("Dawn is not installed (pip install wgpudawn)")
    data = [some(rng)] if precision == "w8a8" else None
    bundle = built(network(rng), tmp_path, "webgpu", data, precision=precision)
    tests = str(pathlib.Path(__file__).parents[1])
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", CHECK_AS_CHROME, bundle.directory],
        env={**os.environ, "WGPU_BACKEND_TYPE": "Null", "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_whole_model_has_to_have_kernels(built, tmp_path, rng):
    g = Graph()
    proto = g.proto(g("CumSum", g("Relu", g.input("x", SHAPE)), np.array(1)))
    with pytest.raises(EdgecompError) as info:
        built(proto, tmp_path, "apple-gpu")
    assert info.value.code is Code.FALLBACK_REFUSED
    assert "Cumulative 'n1'" in info.value.cause
    assert "--accelerator cpu" in info.value.hint
    report = api.check(proto, ["apple-gpu"])
    assert [c.operator for c in report.checks if c.status == "impossible"] == ["CumSum"]
    with pytest.raises(EdgecompError) as info:
        built(network(rng), tmp_path, "webgpu", cpu_plan=False)
    assert info.value.code is Code.USAGE
