"""Bundles with dynamic dimensions: built, verified at several sizes, run and timed."""

import json

import numpy as np
import onnxruntime
import pytest
from helpers.graphs import Graph

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BenchmarkOptions, BuildOptions

MOST = 37
RNG = np.random.default_rng(0)


def network():
    g = Graph()
    x = g.input("x", ("rows", 24), np.float32)
    hidden = g("Gemm", x, weights(24, 40), weights(40))
    return g.proto(g("Gemm", g("Relu", hidden), weights(40, 10), weights(10)))


def weights(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module", params=["fp32", "w8a8"])
def built(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dynamic")
    proto = network()
    options = BuildOptions(
        input=(f"x:[1..{MOST}]x24",),
        precision=request.param,
        output=folder / "bundle",
        cache_dir=folder / "cache",
        name="dynamic",
    )
    dataset = [{"x": weights(MOST, 24)} for _ in range(4)]
    given = dataset if request.param == "w8a8" else None
    with api.build(proto, options, calibration_dataset=given) as bundle:
        yield bundle, proto, request.param


def test_every_size(built):
    bundle, proto, precision = built
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    for rows in (1, 2, 9, 16, MOST - 1, MOST, 3):
        x = weights(rows, 24)
        (expected,) = reference.run(None, {"x": x})
        (found,) = bundle.run({"x": x}, threads=2).values()
        limit = 1e-4 if precision == "fp32" else 0.1 * np.abs(expected).max()
        assert found.shape == (rows, 10)
        assert np.abs(found - expected).max() < limit
    with pytest.raises(EdgecompError) as caught:
        bundle.run({"x": weights(MOST + 1, 24)})
    assert caught.value.code is Code.INPUT_MISMATCH


def test_golden_vectors_of_several_sizes(built):
    """The largest, the smallest and an odd size, through the runner."""
    bundle, _, _ = built
    sizes = {vector.inputs["x"].shape[0] for vector in bundle.golden}
    assert sizes == {MOST, 1, 13}
    assert len(api.verify(bundle).checks) == len(bundle.golden)


def test_manifest(built):
    bundle, _, _ = built
    content = json.loads((bundle.directory / "manifest.json").read_text())
    assert content["dynamic"] == {"rows": [1, MOST]}
    (port,) = bundle.inputs
    assert (port.shape, port.dimensions) == ((MOST, 24), ("rows", "24"))


def test_benchmark_of_one_size(built):
    bundle, _, _ = built
    options = BenchmarkOptions(shape=("x:5x24",), num_runs=2, warmup_runs=0)
    assert api.benchmark(bundle, options).measurement.wall.runs == 2
    with pytest.raises(EdgecompError, match="at most"):
        api.benchmark(bundle, BenchmarkOptions(shape=("x:50x24",)))
    with pytest.raises(EdgecompError, match="one size"):
        api.benchmark(bundle, BenchmarkOptions(shape=("x:[1..3]x24",)))


def test_another_shape_within_at_one_row(tmp_path):
    """The output's shape is the same: a row is summed, or, of one row, its first element."""
    g = Graph()
    x = g.input("x", ("rows", 4), np.float32)
    row = g("Gather", g("Squeeze", x), np.array(0), axis=0)
    proto = g.proto(g("ReduceSum", row, keepdims=0))
    with pytest.raises(EdgecompError, match=r"Gather .* gives \[\] at rows=1") as caught:
        api.build(proto, BuildOptions(input=("x:[1..20]x4",), output=tmp_path / "bundle"))
    assert caught.value.code is Code.DIMENSION_FREE


def test_another_model_between_sizes(tmp_path):
    """Shapes at the smallest size are not those of the others: refused, not guessed."""
    g = Graph()
    x = g.input("x", ("rows", 4), np.float32)
    proto = g.proto(g("Slice", x, np.array([-2]), np.array([10**9]), np.array([0])))
    with pytest.raises(EdgecompError, match=r"gives \[1, 4\] at rows=1") as caught:
        api.build(proto, BuildOptions(input=("x:[1..20]x4",), output=tmp_path / "bundle"))
    assert caught.value.code is Code.DIMENSION_FREE
    assert not (tmp_path / "bundle").exists()
