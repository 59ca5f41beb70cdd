"""Attention is quantized where what runs the model has kernels for that."""

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp import api
from edgecomp.device.load import load_target
from edgecomp.graph.integer_operators import ValueProduct
from edgecomp.graph.qdq import recognize
from edgecomp.options import BuildOptions, QuantizeOptions
from edgecomp.steps.value_products import multiplies_values


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


@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        ("host", {}, True),
        ("raspberry-pi-4", {}, True),
        ("generic-opencl", {}, False),
        ("generic-opencl", {"accelerator": "cpu"}, True),
        ("jetson-orin", {"accelerator": "cpu,gpu"}, False),
    ],
)
def test_a_gpu_has_one_kernel_for_all_of_it(rng, target, options, expected):
    asked = BuildOptions(target=target, **options)
    assert multiplies_values(attention(rng), asked, load_target(target)) is expected


def test_without_a_target_it_is(rng):
    assert multiplies_values(attention(rng), QuantizeOptions())


def test_dynamic_models_have_no_kernel_for_it(rng):
    g = Graph()
    x = g.input("x", (1, "rows", 16))
    q, k = (g("MatMul", x, normal(rng, 16, 16)) for _ in range(2))
    proto = g.proto(g("MatMul", q, g("Transpose", k, perm=[0, 2, 1])))
    options = QuantizeOptions(input=("x:1x[1..64]x16",))
    assert not products(api.quantize(proto, samples(rng, 64), options=options))
