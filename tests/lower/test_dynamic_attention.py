"""Attention of dynamic sizes in integers: the program, and its numbers at any size."""

import hypothesis
import numpy as np
import onnx_ir as ir
import pytest
from helpers.dynamic import dynamic_plan, link
from helpers.qdq import QdqGraph, stored_numbers
from hypothesis import strategies

from edgecomp.options import BuildOptions
from edgecomp.progress import silent
from edgecomp.reference.interpreter import Reference
from edgecomp.steps.prepare import prepare

BATCH, LENGTH = 3, 70
HEADS, DEPTH = 2, 24


def heads(g, name):
    """[b, heads, s, depth] of a stored [b, s, heads * depth]."""
    zero = 131 if name == "q" else 128

    def moved(x, operator, *operands, **attributes):
        result = g.quantize(g(operator, x, *operands, **attributes), 0.02, zero)
        return g.dequantize(result, 0.02, zero)

    stored = g.stored(name, ("b", "s", HEADS * DEPTH), 0.02, zero)
    cut = moved(stored, "Reshape", np.array([0, 0, HEADS, DEPTH]))
    turned = moved(cut, "Transpose", perm=[0, 2, 1, 3])
    if name == "k":
        turned = moved(turned, "Transpose", perm=[0, 1, 3, 2])
    return turned


def joined(g, y):
    """Stored, side by side again."""
    result = g.dequantize(g.quantize(y, 0.011, 120), 0.011, 120)
    return g.quantize(g("Transpose", result, perm=[0, 2, 1, 3]), 0.011, 120)


def scores(g):
    product = g("MatMul", heads(g, "q"), heads(g, "k"))
    mask = g.input("mask", ("b", 1, 1, "s"))
    return g("Max", g("Mul", product, np.float32(0.5)), mask)


def weighted(g):
    weights = g.stored("weights", ("b", HEADS, "s", "s"), 1 / 255, 0)
    return joined(g, g("MatMul", weights, heads(g, "v")))


def attention(g):
    weights = g.quantize(g("Softmax", scores(g), axis=-1), 1 / 255, 0)
    return joined(g, g("MatMul", g.dequantize(weights, 1 / 255, 0), heads(g, "v")))


def relative_attention(g):
    """Weights relative to the greatest of their row, their sum behind the product."""
    found = scores(g)
    axes = np.array([-1])
    e = g("Exp", g("Sub", found, g("ReduceMax", found, axes, keepdims=1)))
    weights = g.dequantize(g.quantize(e, 1 / 255, 0), 1 / 255, 0)
    undivided = g("MatMul", weights, heads(g, "v"))
    return joined(g, g("Div", undivided, g("ReduceSum", e, axes, keepdims=1)))


def float_attention(g):
    """Nothing stored but what a product with constant weights reads."""
    x = g.input("x", ("b", "s", DEPTH))
    parts = [
        g("Transpose", g("Reshape", x, np.array([0, 0, 2, 12])), perm=perm)
        for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    ]
    weights = g("Softmax", g("MatMul", *parts[:2]), axis=-1)
    return g("Transpose", g("MatMul", weights, parts[2]), perm=[0, 2, 1, 3])


MODELS = {
    f.__name__: f for f in (scores, weighted, attention, relative_attention, float_attention)
}


def proto_of(name):
    g = QdqGraph()
    return g.proto(MODELS[name](g))


def specs_of(proto, b=f"[b=1..{BATCH}]", s=f"[s=1..{LENGTH}]"):
    text = {"b": b, "s": s}
    found = []
    for value in proto.graph.input:
        dims = [
            text.get(d.dim_param) or str(d.dim_value) for d in value.type.tensor_type.shape.dim
        ]
        found.append(f"{value.name}:{'x'.join(dims)}")
    return found


def model_at(proto, batch, length):
    options = BuildOptions(input=tuple(specs_of(proto, str(batch), str(length))))
    return prepare(proto, options, silent).model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    protos = {name: proto_of(name) for name in MODELS}
    plans = {name: dynamic_plan(p, specs_of(p), name) for name, p in protos.items()}
    for name in ("scores", "weighted"):  # as vision transformers are exported
        fixed = f"{name}_of_batches"
        protos[fixed] = protos[name]
        plans[fixed] = dynamic_plan(protos[name], specs_of(protos[name], s="50"), fixed)
    open_model = link(list(plans.values()), tmp_path_factory.mktemp("dynamic"))
    sessions = {name: open_model(name, threads=2) for name in protos}
    yield {name: (sessions[name], protos[name], plans[name]) for name in protos}
    for session in sessions.values():
        session.close()


def feeds_of(model, seed):
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.inputs:
        shape = tuple(value.shape.numpy())
        if value.dtype == ir.DataType.UINT8:
            feeds[value.name] = stored_numbers(rng, shape)
        else:
            feeds[value.name] = rng.standard_normal(shape).astype(np.float32)
    return feeds


def outputs(models, name, batch, length, seed):
    """Of the bundle of all sizes, and of the reference at this one."""
    session, proto, _ = models[name]
    model = model_at(proto, batch, length)
    feeds = feeds_of(model, seed)
    (found,), (expected,) = session.run(feeds).values(), Reference(model)(feeds).values()
    return found, expected


@pytest.mark.parametrize("name", ["scores", "weighted"])
@hypothesis.given(
    batch=strategies.integers(1, BATCH), length=strategies.integers(1, LENGTH), seed=...
)
@hypothesis.settings(max_examples=25)
@hypothesis.example(batch=1, length=1, seed=0)
@hypothesis.example(batch=BATCH, length=LENGTH, seed=0)
@hypothesis.example(batch=2, length=LENGTH - 1, seed=0)
def test_the_bits_are_those_of_the_reference(models, name, batch: int, length: int, seed: int):
    found, expected = outputs(models, name, batch, length, abs(seed))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["scores_of_batches", "weighted_of_batches"])
@pytest.mark.parametrize("batch", [1, 2, BATCH])
def test_batches_alone(models, name, batch):
    found, expected = outputs(models, name, batch, 50, seed=batch)
    np.testing.assert_array_equal(found, expected)


@hypothesis.given(
    batch=strategies.integers(1, BATCH), length=strategies.integers(1, LENGTH), seed=...
)
@hypothesis.settings(max_examples=25)
@hypothesis.example(batch=1, length=1, seed=0)
@hypothesis.example(batch=BATCH, length=LENGTH, seed=0)
def test_attention(models, batch: int, length: int, seed: int):
    """Of a softmax no bits are promised: some weights are one step away."""
    for name in ("attention", "relative_attention"):
        found, expected = outputs(models, name, batch, length, abs(seed))
        difference = np.abs(found.astype(int) - expected.astype(int))
        assert difference.max() <= 1
        assert np.mean(difference > 0) < 0.02
    found, expected = outputs(models, "float_attention", batch, length, abs(seed))
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scores", ["batch_matrix_multiply_int8"]),
        ("weighted", ["batch_matrix_multiply_int8"]),
        (
            "attention",
            ["batch_matrix_multiply_int8", "softmax_dynamic", "batch_matrix_multiply_int8"],
        ),
        (
            "relative_attention",
            ["batch_matrix_multiply_int8", "exponentials", "batch_matrix_multiply_int8"],
        ),
        (
            "float_attention",
            [
                "batch_matrix_multiply_float32",
                "softmax_dynamic",
                "batch_matrix_multiply_float32",
            ],
        ),
    ],
)
def test_nothing_is_between_products_and_softmax(models, name, expected):
    _, _, plan = models[name]
    kernels = [call.kernel.removeprefix("ec_") for call in plan.calls]
    kernels = [k for k in kernels if not k.startswith("lookup")]  # of stored inputs
    assert len(kernels) == len(expected)
    assert all(k.startswith(e) for k, e in zip(kernels, expected, strict=True))


def test_products_whose_largest_sum_is_not_exact_stay_float():
    """Keys of up to 600: shorter sums are exact, but the program is one for all."""
    proto = proto_of("weighted")
    plan = dynamic_plan(proto, specs_of(proto, s="[s=1..600]"))
    kernels = [call.kernel for call in plan.calls]
    assert any("multiply_float32" in kernel for kernel in kernels)
    assert not any("multiply_int8" in kernel for kernel in kernels)
