"""What a GPU gets of a model of dynamic sizes."""

import numpy as np
import onnxruntime
import pytest
from helpers.dynamic import dynamic_lowered, link
from helpers.graphs import Graph
from helpers.opencl import reason_without_device


def with_a_transpose(rng):
    """Two products, and between them a copy that needs more sizes than the others."""
    g = Graph()
    weights = (rng.standard_normal((32, 32)) * 0.2).astype(np.float32)
    hidden = g("MatMul", g.input("x", ("b", "s", 32)), weights)
    turned = g("Softmax", g("Transpose", hidden, perm=[0, 2, 1]))
    return g.proto(g("MatMul", turned, g("Erf", hidden)))


def test_kernels_that_a_build_leaves_out_compute_nothing(rng):
    """Of the rest the GPU gets none where it has no kernels for most of the products."""
    g = Graph()
    weights = rng.standard_normal((32, 32)).astype(np.float32)
    proto = g.proto(g("Relu", g("Softmax", g("MatMul", g.input("x", ("s", 32)), weights))))
    specs = ["x:[1..40]x32"]
    everything = dynamic_lowered(proto, specs, target="generic-opencl")
    assert not everything.on_processor
    without = ("opencl_matrix_multiply", "opencl_convolution")
    found = dynamic_lowered(proto, specs, target="generic-opencl", without=without)
    (left,) = map(str, found.on_processor)
    assert left.startswith("the model: most of its products have sizes that")
    assert left.endswith("(opencl_matrix_multiply: excluded)")
    assert {call.device for call in found.plan.calls} == {0}


def test_the_processor_reads_no_floats_of_16_bits(rng, monkeypatch, tmp_path):
    """Where a kernel would take more sizes than a launch has, the processor computes float32."""
    monkeypatch.setattr("edgecomp.schedules.gpu.family.MOST_SIZES", 2)
    proto = with_a_transpose(rng)
    found = dynamic_lowered(
        proto, ["x:[1..3]x[1..40]x32"], target="generic-opencl", floats="float16"
    )
    (left,) = map(str, found.on_processor)
    assert left.startswith("StridedCopy")
    assert left.endswith("opencl_move: more sizes than a kernel takes")
    assert found.narrow
    if reason_without_device():
        pytest.skip(reason_without_device())
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    with link([found.plan], tmp_path)("model", plan="device") as session:
        for batch, rows in ((3, 40), (1, 1), (2, 7)):
            x = rng.standard_normal((batch, rows, 32)).astype(np.float32)
            (y,) = session.run({"x": x}).values()
            np.testing.assert_allclose(y, reference.run(None, {"x": x})[0], atol=2e-2)
