"""Bundles with dimensions that the data decides: built, verified, run and described."""

import json
import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.graphs import Graph

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BenchmarkOptions, BuildOptions

RNG = np.random.default_rng(0)
SIDE, PLACES, MOST = 8, 64, 30


def weights(*shape):
    scale = np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 1
    return (RNG.standard_normal(shape) / scale).astype(np.float32)


def cut(g, x, begin, end, axis):
    return g("Slice", x, np.array([begin]), np.array([end]), np.array([axis]))


def detector():
    """Convolutions, boxes around a grid of points, suppression, and what belongs to each box."""
    g = Graph()
    x = g.input("x", (1, 3, 4 * SIDE, 4 * SIDE))
    y = g(
        "Relu", g("Conv", x, weights(16, 3, 3, 3), weights(16), strides=[2, 2], pads=[1] * 4)
    )
    y = g(
        "Relu", g("Conv", y, weights(24, 16, 3, 3), weights(24), strides=[2, 2], pads=[1] * 4)
    )
    scores = g("Sigmoid", g("Conv", y, weights(3, 24, 1, 1), weights(3)))
    scores = g("Reshape", scores, np.array([1, 3, PLACES]))
    edges = g(
        "Reshape", g("Conv", y, weights(4, 24, 1, 1), weights(4)), np.array([1, 4, PLACES])
    )
    edges = g("Transpose", edges, perm=[0, 2, 1])
    grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1)
    points = g("Add", cut(g, edges, 0, 2, 2), grid.reshape(1, PLACES, 2).astype(np.float32))
    extent = g("Exp", cut(g, edges, 2, 4, 2))
    boxes = g("Concat", g("Sub", points, extent), g("Add", points, extent), axis=2)
    chosen = g(
        "NonMaxSuppression", boxes, scores, np.array([10]), np.array([0.5], np.float32),
        np.array([0.55], np.float32), name="suppress",
    )  # fmt: skip
    place = g("Reshape", cut(g, chosen, 2, 3, 1), np.array([-1]))
    found = g("Gather", g("Squeeze", boxes, np.array([0])), place, axis=0)
    return g.proto(
        found,
        g("GatherND", scores, chosen),
        g("Reshape", cut(g, chosen, 1, 2, 1), np.array([-1])),
        g("Gather", g("Shape", chosen), np.array([0])),
        cut(g, found, 0, 5, 0),
    )


PROTO = detector()


def image(scale=1.0, seed=1):
    values = np.random.default_rng(seed).standard_normal((1, 3, 4 * SIDE, 4 * SIDE))
    return {"x": (scale * values).astype(np.float32)}


@pytest.fixture(scope="module", params=["fp32", "w8a8"])
def built(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("counted")
    given = [image(seed=seed) for seed in range(8)] if request.param == "w8a8" else None
    options = BuildOptions(
        precision=request.param,
        output=folder / "bundle",
        cache_dir=folder / "cache",
        name="detector",
    )
    with api.build(PROTO, options, calibration_dataset=given) as bundle:
        yield bundle, request.param


def test_any_count(built):
    """The actual shapes; the 8-bit model finds other boxes than the float one."""
    bundle, precision = built
    reference = onnxruntime.InferenceSession(PROTO.SerializeToString())
    portable = onnxruntime.InferenceSession(bundle.model_path)
    assert portable.get_outputs()[0].shape == [None, 4]
    counts = set()
    for feeds in (image(0), image(0.5), image(), image(9), {"x": -np.abs(image()["x"])}):
        found = bundle.run(feeds, threads=2)
        expected = (reference if precision == "fp32" else portable).run(None, feeds)
        assert [a.dtype for a in found.values()] == [a.dtype for a in expected]
        if precision == "fp32":
            for value, wanted in zip(found.values(), expected, strict=True):
                assert value.shape == wanted.shape
                np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-4)
        boxes, scores, labels, count, few = found.values()
        assert boxes.shape == (count[0], 4)
        assert scores.shape == labels.shape == (count[0],)
        assert few.shape == (min(count[0], 5), 4)
        counts.add(int(count[0]))
    assert len(counts) > 1


def test_verified(built):
    bundle, _ = built
    assert len(api.verify(bundle).checks) == 5 * len(bundle.golden)
    assert api.benchmark(bundle, BenchmarkOptions(num_runs=2)).measurement.wall.runs == 2


def test_described(built):
    bundle, _ = built
    content = json.loads((bundle.directory / "manifest.json").read_text())
    (name,) = content["counted"]
    assert content["dynamic"] == {name: [0, MOST]}
    assert [port.shape for port in bundle.outputs] == [
        (MOST, 4),
        (MOST,),
        (MOST,),
        (1,),
        (5, 4),
    ]
    assert bundle.outputs[0].dimensions == (name, "4")
    assert bundle.outputs[4].dimensions == (f"min({name},5)", "4")
    report = (bundle.directory / "report.md").read_text()
    assert "Sizes that the data decides" in report
    assert f"| {name} | [0, {MOST}] |" in report


def test_runner_writes_the_actual_shapes(built, tmp_path):
    bundle, _ = built
    if not bundle.manifest.build.runner:
        pytest.skip("the bundle has no runner: no C compiler")
    feeds = image(0.5)
    feeds["x"].tofile(tmp_path / "x.bin")
    runner, out = bundle.directory / bundle.manifest.build.runner, tmp_path / "out"
    weights_file = bundle.directory / bundle.manifest.weights.file
    arguments = ["--weights", weights_file, "--input", f"x={tmp_path / 'x.bin'}"]
    subprocess.run([runner, *arguments, "--output-dir", out], check=True, capture_output=True)
    for port, value in zip(bundle.outputs, bundle.run(feeds).values(), strict=True):
        if port.dimensions:
            text = (out / f"{port.name}.shape").read_text()
            assert text == "x".join(map(str, value.shape))
        np.testing.assert_array_equal(
            np.fromfile(out / f"{port.name}.bin", value.dtype), value.reshape(-1)
        )
    info = subprocess.run([runner, "--info"], check=True, capture_output=True, text=True)
    assert f"0 to {MOST}; shapes above are the largest" in info.stdout


@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="qemu-aarch64 is not installed")
@pytest.mark.skipif(
    not shutil.which("aarch64-linux-gnu-gcc"), reason="aarch64-linux-gnu-gcc is not installed"
)
def test_under_emulation(tmp_path):
    """Another processor writes the same counts."""
    options = BuildOptions(
        target="raspberry-pi-4", output=tmp_path / "bundle", cache_dir=tmp_path / "cache"
    )
    with api.build(PROTO, options) as bundle:
        assert len(api.verify(bundle, "qemu").checks) == 5
        feeds = {"x": -np.abs(image(3)["x"])}
        found = list(api.run(bundle, feeds, "qemu").values())
        reference = onnxruntime.InferenceSession(PROTO.SerializeToString())
        for value, wanted in zip(found, reference.run(None, feeds), strict=True):
            assert value.shape == wanted.shape
            np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-4)


def compressed(follow):
    g = Graph()
    x = g.input("x", (20,))
    return g.proto(follow(g, g("Compress", x, g("Greater", x, np.float32(0)))))


def test_something_else_with_few_elements(tmp_path):
    """The last two of one element are one: seen although no output shows it."""
    proto = compressed(lambda g, y: g("ReduceSum", cut(g, y, -2, 10**9, 0), np.array([0])))
    with pytest.raises(
        EdgecompError, match=r"Slice .* gives \[[01]\] at .*, where other"
    ) as caught:
        api.build(proto, BuildOptions(output=tmp_path / "bundle"))
    assert caught.value.code is Code.DIMENSION_FREE
    assert caught.value.source.startswith("net.py")
    assert "--bound" in caught.value.hint
    assert not (tmp_path / "bundle").exists()


def test_a_bound_of_the_user(tmp_path):
    proto = compressed(lambda g, y: g("Neg", y))
    onnx.save(proto, tmp_path / "m.onnx")
    with api.build(tmp_path / "m.onnx", BuildOptions(output=tmp_path / "b")) as bundle:
        (name,) = bundle.manifest.counted
    options = BuildOptions(output=tmp_path / "bounded", bound=(f"{name}:[1..4]",))
    few = np.full(20, -1, np.float32)
    few[3] = 5
    with api.build(tmp_path / "m.onnx", options) as bundle:
        assert bundle.manifest.dynamic == {name: (1, 4)}
        (value,) = bundle.run({"x": few}).values()
        np.testing.assert_array_equal(value, [-5])
        for wrong in (np.full(20, -1, np.float32), np.ones(20, np.float32)):
            with pytest.raises(EdgecompError, match="built for 1 to 4") as caught:
                bundle.run({"x": wrong})
            assert caught.value.code is Code.INPUT_MISMATCH
        (value,) = bundle.run({"x": few}).values()
        np.testing.assert_array_equal(value, [-5])
