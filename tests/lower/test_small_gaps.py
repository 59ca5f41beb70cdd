"""Reductions of nothing, products of vectors, and results without elements."""

import numpy as np
import pytest
from helpers.nodes import check, compiled, node_model

REDUCTIONS = ["Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]


@pytest.mark.parametrize("operator", REDUCTIONS)
@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 4)])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions_of_nothing(operator, shape, keepdims):
    inputs = {"x": np.zeros(shape, np.float32), "axes": np.int64([1])}
    model = node_model(f"Reduce{operator}", inputs, fixed=["axes"], keepdims=keepdims)
    check(model, inputs)


@pytest.mark.parametrize("operator", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int32", "float64"])
def test_extremes_of_nothing_and_of_few(operator, dtype):
    for rows in (0, 3):
        x = np.random.default_rng(0).integers(0, 2, (rows, 4)).astype(dtype)
        inputs = {"x": x, "axes": np.int64([0])}
        model = node_model(operator, inputs, fixed=["axes"])
        check(model, inputs, scheduled=dtype in ("bool", "uint8", "int8"))


@pytest.mark.parametrize(
    ("a", "b"),
    [((4,), (4,)), ((4,), (4, 3)), ((2, 4), (4,)), ((5, 2, 4), (4,)), ((4,), (2, 4, 3))],
)
@pytest.mark.parametrize("fixed", [(), ("b",)])
def test_vectors_in_products(a, b, fixed):
    rng = np.random.default_rng(1)
    inputs = {
        "a": rng.standard_normal(a).astype(np.float32),
        "b": rng.standard_normal(b).astype(np.float32),
    }
    check(node_model("MatMul", inputs, fixed=list(fixed)), inputs)


@pytest.mark.parametrize("operator", ["Trilu", "Softmax", "Relu", "CumSum"])
def test_nothing_to_compute(operator):
    inputs = {"x": np.zeros((3, 0, 5), np.float32)}
    if operator == "CumSum":
        inputs["axis"] = np.int64(1)
    check(node_model(operator, inputs, fixed=["axis"]), inputs)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_remainder_with_the_sign_of_the_divisor(dtype):
    rng = np.random.default_rng(2)
    inputs = {
        "a": rng.uniform(-9, 9, (3, 11)).astype(dtype),
        "b": (rng.uniform(1, 4, (11,)) * rng.choice([-1, 1], 11)).astype(dtype),
    }
    check(
        node_model("Mod", inputs), inputs, rtol=1e-3, atol=1e-2 if dtype == "float16" else 1e-5
    )


def test_slope_of_a_channel_before_opset_7():
    x = np.random.default_rng(3).standard_normal((2, 3, 3, 3)).astype(np.float32)
    slope = np.float32([0.1, 0.2, 0.3])
    model = node_model("PRelu", {"x": x, "slope": slope}, fixed=["slope"], opset=6)
    (found,), _ = compiled(model, {"x": x})
    np.testing.assert_allclose(found, np.where(x < 0, x * slope.reshape(-1, 1, 1), x))
