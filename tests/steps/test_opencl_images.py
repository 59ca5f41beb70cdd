"""Bundles whose kernels read images, on this machine's OpenCL device."""

import numpy as np
import pytest
from helpers.gpu_bundles import built, devices_of, reference, session_on_device
from helpers.gpu_network import SHAPE, network
from helpers.graphs import Graph

from edgecomp import api
from edgecomp.native import Session
from edgecomp.resources import resource_folder


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """The file of generic-opencl, for devices that read images faster."""
    text = (resource_folder("targets") / "generic-opencl.toml").read_text()
    text = text.replace('aliases = ["opencl"]\n', "").replace("generic-opencl", "with-images")
    table = "[gpu.textures]\nwidth = 16384\nheight = 16384\n\n[sources]"
    path = tmp_path_factory.mktemp("target") / "with-images.toml"
    path.write_text(text.replace("[sources]", table))
    return str(path)


def images_of(bundle):
    """Lines of the descriptor's source that say what is an image."""
    return (bundle.directory / "src" / "network.c").read_text().count("ec_image images_")


def test_float(tmp_path, target, rng):
    proto = network(rng)
    bundle = built(proto, tmp_path, target, require_full_target=True)
    assert images_of(bundle) == 4
    x = rng.standard_normal(SHAPE).astype(np.float32)
    with session_on_device(bundle) as session:
        assert devices_of(session) == {1}
        for _ in range(2):
            (found,) = session.run({"x": x}).values()
            np.testing.assert_allclose(found, reference(proto, x), rtol=1e-5, atol=1e-6)
    api.verify(bundle)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_floats_of_16_bits(tmp_path, target, rng, precision):
    bundle = built(network(rng), tmp_path, target, precision=precision)
    assert images_of(bundle) == 4
    session_on_device(bundle).close()
    api.verify(bundle)


def test_integers_are_those_of_the_processor(tmp_path, target, rng):
    samples = [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(4)]
    proto = network(rng, softmax=False)
    bundle = built(proto, tmp_path, target, samples=samples, precision="w8a8")
    assert images_of(bundle) == 4
    with (
        session_on_device(bundle) as session,
        Session(bundle.library_path, weights=bundle.weights_path, plan="cpu") as processor,
    ):
        for sample in samples:
            (found,) = session.run(sample).values()
            (expected,) = processor.run(sample).values()
            np.testing.assert_array_equal(found, expected)


def test_packed_weights(tmp_path, target, rng):
    g = Graph()
    x = g.input("x", (3, 160))
    proto = g.proto(g("MatMul", x, rng.standard_normal((160, 72)).astype(np.float32)))
    bundle = built(proto, tmp_path, target, precision="w4a16")
    assert images_of(bundle) == 1
    given = rng.standard_normal((3, 160)).astype(np.float32)
    with (
        session_on_device(bundle) as session,
        Session(bundle.library_path, weights=bundle.weights_path, plan="cpu") as processor,
    ):
        (found,) = session.run({"x": given}).values()
        (expected,) = processor.run({"x": given}).values()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
