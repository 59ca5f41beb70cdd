"""Bundles whose kernels read images, on this machine's OpenCL device."""

import re

import numpy as np
import pytest
from helpers.gpu_bundles import (
    assert_bits_of_the_processor,
    built,
    devices_of,
    reference,
    session_on_device,
)
from helpers.gpu_network import SHAPE, network
from helpers.graphs import Graph

from edgecomp import api
from edgecomp.native import Session
from edgecomp.resources import resource_folder

#: Keys of a target beside the sizes: without rows over buffers activations are none.
TEXTURES = {"weights": "", "activations": "row_texels = 64\nbase_texels = 64\n"}


@pytest.fixture(scope="module", params=TEXTURES)
def kind(request):
    """What is read as images."""
    return request.param


@pytest.fixture(scope="module")
def target(tmp_path_factory, kind):
    """The file of generic-opencl, for devices that read images faster."""
    text = (resource_folder("targets") / "generic-opencl.toml").read_text()
    text = text.replace('aliases = ["opencl"]\n', "").replace("generic-opencl", "with-images")
    table = f"[gpu.textures]\nwidth = 16384\nheight = 16384\n{TEXTURES[kind]}\n[sources]"
    path = tmp_path_factory.mktemp("target") / "with-images.toml"
    path.write_text(text.replace("[sources]", table))
    return str(path)


def images_of(bundle):
    """Of each call that has any, those arguments that are images."""
    text = (bundle.directory / "src" / "network.c").read_text()
    tables = re.findall(r"ec_image images_\d+\[\] = \{\n(.*?)\n\};", text, re.DOTALL)
    return [tuple(map(int, re.findall(r"\{(\d+),", table))) for table in tables]


def expected_images(kind):
    """Those of the network: its input has three channels."""
    return [(1,), *[(0, 1) if kind == "activations" else (1,)] * 3]


def test_float(tmp_path, target, kind, rng):
    proto = network(rng)
    bundle = built(proto, tmp_path, target, require_full_target=True)
    assert images_of(bundle) == expected_images(kind)
    x = rng.standard_normal(SHAPE).astype(np.float32)
    with session_on_device(bundle) as session:
        assert devices_of(session) == {1}
        for _ in range(2):
            (found,) = session.run({"x": x}).values()
            np.testing.assert_allclose(found, reference(proto, x), rtol=1e-5, atol=1e-6)
    api.verify(bundle)


def test_the_report(tmp_path, target, kind, rng):
    bundle = built(network(rng), tmp_path, target, toolchain="none")
    images = bundle.report["images"]
    assert (images["calls"], images["weights"]) == (4, 4)
    # Rows of K in fours; columns in fours: [12, 3 x 9], [12, 9], [12, 12] and [10, 12].
    assert images["weights_bytes"] == 4 * (12 * 9 * 4 + 12 * 3 * 4 + 12 * 12 + 12 * 12)
    assert images["activations"] == (3 if kind == "activations" else 0)
    assert bool(images["activations_bytes"]) == (kind == "activations")
    assert "4 calls read images: 4 of weights" in (bundle.directory / "report.md").read_text()
    plain = built(network(rng), tmp_path / "plain", "generic-opencl", toolchain="none")
    assert plain.report["images"] is None
    assert "images" not in (plain.directory / "report.md").read_text()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_floats_of_16_bits(tmp_path, target, kind, rng, precision):
    bundle = built(network(rng), tmp_path, target, precision=precision)
    halves = kind if precision == "fp16" else "weights"  # bfloat16 stays in buffers
    assert images_of(bundle) == expected_images(halves)
    session_on_device(bundle).close()
    api.verify(bundle)


def test_integers_are_those_of_the_processor(tmp_path, target, rng):
    samples = [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(4)]
    proto = network(rng, softmax=False)
    bundle = built(proto, tmp_path, target, samples=samples, precision="w8a8")
    assert images_of(bundle) == [(1,)] * 4
    assert_bits_of_the_processor(bundle, samples)


def test_packed_weights(tmp_path, target, rng):
    g = Graph()
    x = g.input("x", (3, 160))
    proto = g.proto(g("MatMul", x, rng.standard_normal((160, 72)).astype(np.float32)))
    bundle = built(proto, tmp_path, target, precision="w4a16")
    assert images_of(bundle) == [(1,)]
    given = rng.standard_normal((3, 160)).astype(np.float32)
    with (
        session_on_device(bundle) as session,
        Session(bundle.library_path, weights=bundle.weights_path, plan="cpu") as processor,
    ):
        (found,) = session.run({"x": given}).values()
        (expected,) = processor.run({"x": given}).values()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
