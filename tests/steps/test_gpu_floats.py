"""--precision fp16 and bf16 on GPUs: values between kernels in 16 bits, checked where they run."""

import numpy as np
import pytest
from helpers.cuda import emulate, require_nvcc
from helpers.graphs import Graph
from helpers.opencl import reason_without_device

from edgecomp import api
from edgecomp.native import Session
from edgecomp.options import BuildOptions

SHAPE = (1, 3, 9, 8)


def network(rng, top=1.0):
    """A convolution, a depthwise one, a product of few values and one of large ones."""

    def weights(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    g = Graph()
    x = g.input("x", SHAPE)
    a = g("Relu", g("Conv", x, weights(16, 3, 3, 3), weights(16), pads=[1] * 4))
    b = g("Conv", a, weights(16, 1, 3, 3), weights(16), pads=[1] * 4, group=16)
    c = g("Add", g("Conv", b, weights(16, 16, 1, 1), weights(16)), a)
    large = g("Mul", c, np.array(top, np.float32))
    d = g("Mul", g("Relu", g("Conv", large, weights(16, 16, 1, 1), weights(16))), np.float32(0.5 / top))
    return g.proto(g("Gemm", g("Flatten", g("GlobalAveragePool", d)), weights(16, 10), weights(10)))


def built(proto, folder, target, precision, **more):
    options = BuildOptions(
        target=target,
        precision=precision,
        output=folder / "bundle",
        cache_dir=folder / "cache",
        name="network",
        require_full_target=True,
        **more,
    )
    return api.build(proto, options)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("target", ["generic-opencl", "cuda-sm90"])
def test_verifies(target, precision, rng, tmp_path):
    if target == "cuda-sm90":
        require_nvcc()
    elif reason_without_device():
        pytest.skip(reason_without_device())
    bundle = built(network(rng), tmp_path, target, precision)
    assert bundle.report["facts"]["gpu_floats"]["values"] >= 4
    if target == "cuda-sm90":
        emulate((bundle.directory / "src" / "network.cu").read_text())
    with Session(bundle.library_path, weights=bundle.weights_path, plan="device") as session:
        (vector,) = bundle.golden
        found = session.run(vector.inputs)
    for name, want in vector.outputs.items():
        difference = np.abs(found[name] - want).max()
        assert 0 < difference <= vector.spread[name]
        assert vector.spread[name] < 0.2 * np.abs(want).max()


def test_values_that_do_not_fit_stay_wide(rng, tmp_path):
    if reason_without_device():
        pytest.skip(reason_without_device())
    bundle = built(network(rng, top=1e6), tmp_path, "generic-opencl", "fp16")
    assert len(bundle.report["facts"]["gpu_floats"]["stay_float32"]) >= 2
    assert all(check.largest_difference <= check.tolerance for check in api.verify(bundle).checks)


def test_the_processor_computes_in_float32(rng, tmp_path):
    bundle = built(network(rng), tmp_path, "generic-opencl", "fp16")
    with Session(bundle.library_path, weights=bundle.weights_path, plan="cpu") as session:
        (vector,) = bundle.golden
        found = session.run(vector.inputs)
    for name, want in vector.outputs.items():
        np.testing.assert_allclose(found[name], want, rtol=1e-4, atol=1e-5)
