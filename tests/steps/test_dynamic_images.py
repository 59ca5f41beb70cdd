"""Bundles for images of any height and width, float and 8 bits, here and on a phone's processor."""

import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.targets import reason_not_runnable

from edgecomp import api
from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BuildOptions

RNG = np.random.default_rng(0)
PHONE = "raspberry-pi-5"


def weights(*shape):
    return (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def network():
    """Two levels of a pyramid, which only fit where height and width are even."""
    g = Graph()
    x = g.input("x", (1, 3, "height", "width"), np.float32)
    y = g("Relu", g("Conv", x, weights(16, 3, 3, 3), weights(16, 1)[:, 0], pads=[1] * 4))
    down = g("Conv", y, weights(16, 1, 3, 3), group=16, strides=[2, 2], pads=[1] * 4)
    up = g("Resize", down, "", np.array([1, 1, 2, 2], np.float32), mode="nearest")
    return g.proto(g("Conv", g("Add", up, y), weights(5, 16, 1, 1)))


LOCAL = [("fp32", "host"), ("w8a8", "host")]


@pytest.fixture(scope="module", params=[*LOCAL, ("fp32", PHONE), ("w8a8", PHONE)])
def built(request, tmp_path_factory):
    precision, name = request.param
    target = load_target(name)
    if reason := reason_not_runnable(target):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("images")
    options = BuildOptions(
        input=("x:1x3x[8..24:8]x[8..40:2]",),
        precision=precision,
        target=name,
        output=folder / "bundle",
        cache_dir=folder / "cache",
    )
    samples = [{"x": RNG.standard_normal((1, 3, 24, 40)).astype(np.float32)}] * 2
    with api.build(
        network(), options, calibration_dataset=samples if precision == "w8a8" else None
    ) as bundle:
        yield bundle, "local" if name == "host" else "qemu"


def test_golden_vectors(built):
    """The largest, the smallest and an odd size; 8 bits have to be those of the reference."""
    bundle, device = built
    sizes = {vector.inputs["x"].shape[2:] for vector in bundle.golden}
    assert sizes == {(24, 40), (8, 8), (8, 14)}
    assert len(api.verify(bundle, device).checks) == len(bundle.golden)


@pytest.mark.parametrize("built", LOCAL, indirect=True, scope="module")
def test_multiples_alone(built):
    bundle, _ = built
    with pytest.raises(EdgecompError, match="multiple of 8 from 8 to 24, not 12") as caught:
        bundle.run({"x": np.zeros((1, 3, 12, 16), np.float32)})
    assert caught.value.code is Code.INPUT_MISMATCH
    (found,) = bundle.run({"x": np.zeros((1, 3, 16, 22), np.float32)}).values()
    assert found.shape == (1, 5, 16, 22)
