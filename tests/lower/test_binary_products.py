"""Products of signs with signs are counts of bits, equal to numpy's sums on every target."""

import ml_dtypes
import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.kernels import run_calls
from helpers.plans import PlanRunner
from helpers.targets import A76, ARMV7, AVX2, AVX512, reason_not_runnable

from edgecomp.device.load import load_target
from edgecomp.frontend.load import load_model
from edgecomp.graph.run import run_model
from edgecomp.lower.lower import lower
from edgecomp.lower.operators.binary import pack_weights
from edgecomp.plan.finish import Scale
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.quantization import PackSigns
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import matrix_multiply, pack_signs


def signs(rng, *shape):
    return np.where(rng.random(shape) < 0.5, np.float32(-1), np.float32(1))


def at_least_zero(g, x, high=1.0, comparison="GreaterOrEqual"):
    chosen = g(comparison, x, np.float32(0))
    return g("Where", chosen, np.float32(high), np.float32(-high))


def symbols(plan):
    return " ".join(call.kernel for call in plan.calls)


@pytest.mark.parametrize("target", ["host", "avx2"])
def test_a_network_of_signs(target, rng):
    chosen = load_target("host") if target == "host" else AVX2
    if reason := reason_not_runnable(chosen):
        pytest.skip(reason)
    g = Graph()
    x = g.input("x", (2, 19, 7, 6))
    scale = rng.uniform(0.1, 2, 37).astype(np.float32)
    filters = signs(rng, 37, 19, 3, 3) * scale[:, None, None, None]
    a = g("Conv", g("Sign", x), filters, normal(rng, 37), pads=[1, 1, 1, 1], name="padded")
    b = at_least_zero(g, a, 0.5)
    b = g("Conv", b, signs(rng, 70, 37, 2, 3) * np.float32(0.25), strides=[2, 1], name="plain")
    c = g("Reshape", b, np.array([6, -1], np.int64))
    depth = 2 * 70 * 3 * 4 // 6
    c = g(
        "MatMul", g("Mul", g("Sign", c), np.float32(3)), signs(rng, depth, 50), name="matmul"
    )
    last = signs(rng, 21, 50) * rng.uniform(0.1, 2, (21, 1)).astype(np.float32)
    model = load_model(
        g.proto(g("Gemm", at_least_zero(g, c, -1.0, "Less"), last, normal(rng, 21), transB=1))
    )
    lowered = lower(model, chosen, name="signs")
    names = symbols(lowered.plan)
    assert names.count("pack_signs") == 4
    assert names.count("convolution_int32") == names.count("matrix_multiply_int32") == 2
    assert names.count("elementwise") == 2  # biases, no signs
    array = rng.standard_normal((2, 19, 7, 6)).astype(np.float32)
    array[0, :, 2] = 0.0
    (found,) = PlanRunner(lowered.plan).run({"x": array}).values()
    (wanted,) = run_model(model, {"x": array}).values()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "target", [load_target("host"), AVX2, AVX512, A76, ARMV7], ids=lambda t: t.name
)
@pytest.mark.parametrize(("rows", "depth", "columns"), [(1, 16, 1), (9, 131, 37), (3, 64, 64)])
def test_kernels(rows, depth, columns, target, rng):
    if reason := reason_not_runnable(target):
        pytest.skip(reason)
    array = rng.standard_normal((rows, depth)).astype(np.float32)
    array[rng.random(array.shape) < 0.1] = 0.0
    weight = signs(rng, depth, columns)
    words = 2 * -(-depth // 32)
    x = Value("x", (rows, depth), "float32")
    packed = Value("p", (rows, words), "int32")
    y = Value("y", (rows, columns), "float32")
    constant = pack_weights(weight < 0, 0)
    zeros = np.zeros(columns, np.int32)
    constants = [
        Value("w", constant.shape, "int32", constant=constant),
        Value("b", zeros.shape, "int32", constant=zeros),
    ]
    finish = Scale(np.ones(columns, np.float32))
    first = Operation(PackSigns("Sign"), [x], [packed])
    second = Operation(MatrixMultiply(finish=finish), [packed, *constants], [y])
    calls = [*pack_signs.emit(first, target), *matrix_multiply.emit(second, target)]
    found = run_calls(calls, target, {x: array.reshape(-1)}, 2)[y]
    wanted = np.sign(array) @ weight
    np.testing.assert_array_equal(found.reshape(rows, columns), wanted)


@pytest.mark.parametrize(
    "change", ["weights", "activations", "few", "groups", "threshold", "values"]
)
def test_what_are_no_signs_stays_float(change, rng):
    g = Graph()
    x = g.input("x", (1, 8 if change == "few" else 32, 5, 5))
    groups = 2 if change == "groups" else 1
    weight = signs(rng, 6, (8 if change == "few" else 32) // groups, 1, 1)
    if change == "weights":
        weight[0, 0] = 0.5
    signed = g("Sign", x)
    if change == "activations":
        signed = g("Relu", x)
    elif change == "threshold":
        chosen = g("Greater", x, np.float32(0.5))
        signed = g("Where", chosen, np.float32(1), np.float32(-1))
    elif change == "values":
        chosen = g("Greater", x, np.float32(0))
        signed = g("Where", chosen, np.float32(1), np.float32(0))
    model = load_model(g.proto(g("Conv", signed, weight, group=groups)))
    assert "pack_signs" not in symbols(lower(model, load_target("host"), name="m").plan)


def test_weights_stored_in_few_bits(rng):
    g = Graph()
    x = g.input("x", (5, 96))
    stored = g.constant(signs(rng, 96, 40).astype(ml_dtypes.int4))
    scale = rng.uniform(0.1, 2, 40).astype(np.float32)
    weight = g("DequantizeLinear", stored, scale, axis=1)
    model = load_model(g.proto(g("MatMul", at_least_zero(g, x), weight)))
    lowered = lower(model, load_target("host"), name="m")
    assert "matrix_multiply_int32" in symbols(lowered.plan)
    feeds = {"x": rng.standard_normal((5, 96)).astype(np.float32)}
    (found,) = PlanRunner(lowered.plan).run(feeds).values()
    (wanted,) = run_model(model, feeds).values()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("comparison", ["GreaterOrEqual", "Greater", "LessOrEqual", "Less"])
@pytest.mark.parametrize("high", [1.0, -0.5])
def test_nan_has_the_sign_of_what_does_not_hold(comparison, high, rng):
    g = Graph()
    x = g.input("x", (5, 40))
    chosen = at_least_zero(g, x, high, comparison)
    model = load_model(g.proto(g("MatMul", chosen, signs(rng, 40, 24))))
    lowered = lower(model, load_target("host"), name="m")
    assert "pack_signs" in symbols(lowered.plan)
    array = rng.standard_normal((5, 40)).astype(np.float32)
    array[rng.random(array.shape) < 0.3] = np.nan
    array[rng.random(array.shape) < 0.3] = -0.0
    array[rng.random(array.shape) < 0.1] = 0.0
    (found,) = PlanRunner(lowered.plan).run({"x": array}).values()
    (wanted,) = run_model(model, {"x": array}).values()
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("shape", [(1,), (24,), (1, 24), (24, 1), (24, 24)])
def test_biases_of_a_gemm(shape, rng):
    g = Graph()
    x = g.input("x", (24, 40))
    weight = signs(rng, 40, 24)
    model = load_model(g.proto(g("Gemm", g("Sign", x), weight, normal(rng, *shape), beta=0.5)))
    lowered = lower(model, load_target("host"), name="m")
    assert ("pack_signs" in symbols(lowered.plan)) == (shape[:-1] in ((), (1,)))
    feeds = {"x": rng.standard_normal((24, 40)).astype(np.float32)}
    (found,) = PlanRunner(lowered.plan).run(feeds).values()
    (wanted,) = run_model(model, feeds).values()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
