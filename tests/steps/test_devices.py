"""What holds for bundles of every kind of GPU: on an OpenCL device, and on a driver for CUDA."""

import numpy as np
import pytest
from helpers.gpu_bundles import (
    TARGETS,
    built,
    devices_of,
    reference,
    session_of,
    session_on_device,
)
from helpers.gpu_network import SHAPE, network
from helpers.graphs import Graph

from edgecomp.errors import Code, EdgecompError

pytestmark = pytest.mark.parametrize(("target", "device"), TARGETS.values(), ids=TARGETS)


def test_a_part_on_the_processor(tmp_path, rng, target, device):
    g = Graph()
    x = g.input("x", SHAPE)
    total = g("CumSum", g("Relu", x), np.array(1))
    proto = g.proto(g("Mul", total, g("Sigmoid", x)))
    bundle = built(proto, tmp_path, target)
    x = rng.standard_normal(SHAPE).astype(np.float32)
    with session_on_device(bundle) as session:
        assert devices_of(session) == {0, device}
        for _ in range(2):
            (found,) = session.run({"x": x}).values()
            np.testing.assert_allclose(found, reference(proto, x), rtol=1e-5, atol=1e-6)
    (left,) = bundle.report["facts"]["on_the_processor"]
    assert left.startswith("Cumulative 'n1' at net.py:1: ")
    with pytest.raises(EdgecompError) as info:
        built(proto, tmp_path / "refused", target, require_full_target=True)
    assert info.value.code is Code.FALLBACK_REFUSED
    assert left in info.value.cause


def test_integers_are_those_of_the_processor(tmp_path, rng, target, device):
    proto = network(rng, softmax=False)
    samples = [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(4)]
    settings = {"precision": "w8a8", "samples": samples}
    host = built(proto, tmp_path / "host", "host", **settings)
    with session_of(host, plan="auto") as session:
        wanted = [session.run(sample) for sample in samples]
    with session_on_device(built(proto, tmp_path, target, **settings)) as session:
        assert devices_of(session) == {device}
        for sample, want in zip(samples, wanted, strict=True):
            for name, value in session.run(sample).items():
                np.testing.assert_array_equal(value, want[name])


def test_weights_of_few_bits(tmp_path, rng, target, device):
    """The matrix is read as it is stored; the numbers are the processor's."""
    g = Graph()
    x = g.input("x", (1, 9, 64))
    weight = (rng.standard_normal((64, 40)) * 0.1).astype(np.float32)
    proto = g.proto(g("Relu", g("MatMul", x, weight)))
    settings = {"precision": "w4a16", "require_full_target": True}
    bundle = built(proto, tmp_path, target, **settings)
    given = {"x": rng.standard_normal((1, 9, 64)).astype(np.float32)}
    with session_on_device(bundle) as session:
        assert devices_of(session) == {device}
        (found,) = session.run(given).values()
    with session_of(bundle, plan="cpu") as session:
        (want,) = session.run(given).values()
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    assert bundle.report["sizes"]["weights"] < weight.nbytes
