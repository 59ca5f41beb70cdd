"""Activations and fused products of com.microsoft against onnxruntime."""

import numpy as np
import pytest
from helpers.microsoft import check_vendor, vendor_model
from hypothesis import given
from hypothesis import strategies as st


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("operator", ["Gelu", "QuickGelu", "FastGelu"])
def test_gelu(operator):
    inputs = {"x": random(3, 5, 19)}
    check_vendor(vendor_model(operator, inputs), inputs)


@pytest.mark.parametrize("operator", ["BiasGelu", "FastGelu"])
@pytest.mark.parametrize("fixed", [(), ("b",)])
def test_gelu_of_a_sum(operator, fixed):
    inputs = {"x": random(3, 5, 19), "b": random(19, seed=1)}
    check_vendor(vendor_model(operator, inputs, fixed=fixed), inputs)


def test_quick_gelu_with_its_own_factor():
    inputs = {"x": random(7)}
    check_vendor(vendor_model("QuickGelu", inputs, alpha=0.7), inputs)


@given(
    transposes=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    batch=st.sampled_from([(), (2,), (2, 3)]),
    extents=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    constant=st.booleans(),
)
def test_fused_matmul(transposes, batch, extents, constant):
    rows, depth, columns = extents
    turn_a, turn_b, behind_a, behind_b = transposes
    if not batch:
        behind_a = behind_b = False

    def operand(first, second, turned, behind, seed):
        first, second = (second, first) if turned else (first, second)
        shape = (first, *batch, second) if behind else (*batch, first, second)
        return random(*shape, seed=seed)

    inputs = {
        "a": operand(rows, depth, turn_a, behind_a, 0),
        "b": operand(depth, columns, turn_b, behind_b, 1),
    }
    attributes = {
        "transA": int(turn_a), "transB": int(turn_b),
        "transBatchA": int(behind_a), "transBatchB": int(behind_b),
    }  # fmt: skip
    fixed = ["b"] if constant else []
    model = vendor_model("FusedMatMul", inputs, fixed=fixed, alpha=0.37, **attributes)
    check_vendor(model, inputs)


@pytest.mark.parametrize(
    ("activation", "parameters"),
    [("Relu", []), ("Clip", [-0.2, 0.6]), ("LeakyRelu", [0.1]), ("HardSigmoid", [0.3, 0.4]),
     ("Tanh", []), ("Sigmoid", [])],
)  # fmt: skip
@pytest.mark.parametrize("added", [False, True])
def test_fused_conv(activation, parameters, added):
    inputs = {
        "x": random(1, 5, 9, 11),
        "w": random(6, 5, 3, 3, seed=1),
        "b": random(6, seed=2),
        "z": random(1, 6, 5, 6, seed=3) if added else None,
    }
    model = vendor_model(
        "FusedConv", inputs, fixed=["w", "b"], activation=activation, strides=[2, 2],
        pads=[1, 1, 1, 1], **({"activation_params": parameters} if parameters else {}),
    )  # fmt: skip
    check_vendor(model, inputs)


def test_fused_conv_without_bias():
    inputs = {"x": random(1, 2, 9, 9), "w": random(3, 2, 1, 1, seed=1)}
    check_vendor(vendor_model("FusedConv", inputs, fixed=["w"], activation="Relu"), inputs)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu"])
def test_fused_gemm(transposed, activation):
    inputs = {
        "a": random(4, 7),
        "b": random(*((5, 7) if transposed else (7, 5)), seed=1),
        "c": random(5, seed=2),
    }
    attributes = {"activation_alpha": 0.2} if activation == "LeakyRelu" else {}
    model = vendor_model(
        "FusedGemm", inputs, fixed=["b", "c"], transB=transposed, alpha=0.5, beta=2.0,
        activation=activation, **attributes,
    )  # fmt: skip
    check_vendor(model, inputs)
