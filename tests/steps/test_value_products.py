"""Attention is quantized where what runs the model has kernels for that."""

import numpy as np
import onnx_ir as ir
import pytest
from helpers.gpu_bundles import (
    TARGETS,
    built,
    session_on_device,
    with_older_tensor_cores,
)
from helpers.graphs import Graph, normal
from helpers.qdq import QdqGraph, stored_numbers

from edgecomp import api
from edgecomp.device.load import load_target
from edgecomp.graph.integer_operators import ValueProduct
from edgecomp.graph.qdq import recognize
from edgecomp.native import Session
from edgecomp.options import BuildOptions, QuantizeOptions
from edgecomp.progress import silent
from edgecomp.reference.interpreter import Reference
from edgecomp.steps.prepare import prepare
from edgecomp.steps.value_products import multiplied_values


def attention(rng, rows=32):
    """One head over rows that a product makes."""
    g = Graph()
    x = g.input("x", (1, rows, 16))
    q, k, v = (g("MatMul", x, normal(rng, 16, 16)) for _ in range(3))
    scores = g("MatMul", q, g("Transpose", k, perm=[0, 2, 1]))
    return g.model(g("MatMul", g("Softmax", scores, axis=-1), v))


def products(model):
    return [s for s in recognize(model.graph).steps if isinstance(s, ValueProduct)]


def samples(rng, rows=32):
    return [{"x": normal(rng, 1, rows, 16)} for _ in range(4)]


def test_attention_is_quantized(rng):
    quantized = api.quantize(attention(rng), samples(rng))
    _, second = products(quantized)
    weights = second.inputs[0].affine
    assert weights.zero_point == 0
    assert weights.scale <= np.float32(1 / 255)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_what_a_softmax_makes_is_not_clipped(method):
    """Few rows are sure, most have small weights; what reads them too keeps the softmax whole."""
    g = Graph()
    x = g.input("x", (1, 64, 64))
    values = g("MatMul", g.input("v", (1, 64, 16)), normal(np.random.default_rng(0), 16, 16))
    weights = g("Softmax", x, axis=-1)
    model = g.model(g("MatMul", weights, values), g("Relu", weights))
    rng = np.random.default_rng(1)
    feeds = []
    for _ in range(8):
        logits = normal(rng, 1, 64, 64) * 0.1
        logits[0, 0, 0] = 8.0
        feeds.append({"x": logits, "v": normal(rng, 1, 64, 16)})
    options = QuantizeOptions(
        precision="w8a8", calibration_method=method, calibration_percentile=99.9
    )
    (product,) = products(api.quantize(model, feeds, options=options))
    assert 255 * float(product.inputs[0].affine.scale) > 0.95


@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        ("host", {}, "each"),
        ("raspberry-pi-4", {}, "each"),
        ("generic-opencl", {}, "none"),
        ("generic-opencl", {"accelerator": "cpu"}, "each"),
        ("jetson-xavier", {"accelerator": "cpu,gpu"}, "whole"),
        ("jetson-orin", {"accelerator": "cpu,gpu"}, "whole"),
        ("cuda-sm90", {}, "whole"),
    ],
)
def test_other_gpus_have_one_kernel_for_floats(target, options, expected):
    asked = BuildOptions(target=target, **options)
    assert multiplied_values(asked, load_target(target)).value == expected


@pytest.mark.parametrize("interface", TARGETS)
def test_a_gpu_has_the_bits_of_a_quantized_product(interface, tmp_path, rng):
    g = QdqGraph()
    a = g.stored("a", (2, 3, 19, 40), 0.02, 91)
    b = g.stored("b", (2, 3, 40, 21), 0.03, 128)
    model = g.model(g.quantize(g("MatMul", a, b), 0.07, 120))
    feeds = {
        value.name: stored_numbers(rng, tuple(value.shape.numpy()))
        for value in model.graph.inputs
    }
    bundle = built(ir.to_proto(model), tmp_path, TARGETS[interface][0])
    with session_on_device(bundle) as session:
        own = {"opencl": "opencl_batch_matrix_multiply", "cuda": "cuda_tensor_batch_product"}
        assert own[interface] in {call.schedule for call in session.calls}
        (found,) = session.run(feeds).values()
    (expected,) = Reference(model)(feeds).values()
    np.testing.assert_array_equal(found, expected)


def test_without_a_target_it_is():
    assert multiplied_values(QuantizeOptions()).value == "each"


def dynamic_attention(rng, most):
    """One head over up to ``most`` rows, and the options that quantize it."""
    g = Graph()
    x = g.input("x", (1, "rows", 16))
    q, k, v = (g("MatMul", x, normal(rng, 16, 16)) for _ in range(3))
    scores = g("MatMul", q, g("Transpose", k, perm=[0, 2, 1]))
    proto = g.proto(g("MatMul", g("Softmax", scores, axis=-1), v))
    return proto, QuantizeOptions(precision="w8a8", input=(f"x:1x[1..{most}]x16",))


@pytest.mark.parametrize(("most", "depths"), [(64, [16, 64]), (600, [16]), (15, [16])])
def test_the_largest_sizes_decide(most, depths, rng):
    proto, options = dynamic_attention(rng, most)
    found = products(api.quantize(proto, samples(rng, most), options=options))
    assert [p.inputs[0].shape[-1] for p in found] == depths


@pytest.mark.parametrize(("most", "count"), [(64, 2), (600, 1)])
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_other_sizes_are_quantized_alike(most, count, rows, rng):
    """Also where by themselves sums would be too short to gain, or short enough to be exact."""
    proto, options = dynamic_attention(rng, most)
    largest = prepare(proto, options, silent, dataset=samples(rng, most))
    other = prepare(proto, options, silent, sizes={"rows": rows}, largest=largest)
    found, expected = (
        [(p.node.name, [each.affine for each in p.inputs]) for p in products(model)]
        for model in (other.model, largest.model)
    )
    assert len(found) == count
    assert found == expected


@pytest.mark.parametrize("is_older", [False, True], ids=["cuda-sm90", "jetson-xavier"])
def test_attention_of_any_length_on_tensor_cores(is_older, tmp_path, rng):
    """One kernel takes every number of rows and keys; a step of an exponential may differ."""
    proto, options = dynamic_attention(rng, 64)
    settings = {"precision": "w8a8", "input": options.input}
    target = with_older_tensor_cores(tmp_path) if is_older else "cuda-sm90"
    bundle = built(proto, tmp_path, target, samples=samples(rng, 64), **settings)
    with (
        session_on_device(bundle) as session,
        Session(bundle.library_path, weights=bundle.weights_path, plan="cpu") as processor,
    ):
        assert "cuda_tensor_attention" in {call.schedule for call in session.calls}
        for rows in (64, 1, 5, 40):
            feeds = {"x": normal(rng, 1, rows, 16)}
            (found,), (want,) = (each.run(feeds).values() for each in (session, processor))
            np.testing.assert_allclose(found, want, rtol=0, atol=0.01 * np.abs(want).max())
