"""QuantizeLinear and DequantizeLinear of all types, scales and blocks, by the reference evaluator."""

import hypothesis
import ml_dtypes
import numpy as np
import pytest
from helpers.nodes import check, compiled, node_model
from hypothesis import strategies as st
from onnx import helper

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint4", "int4", "uint2", "int2"]
FLOATS = ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"]


def bounds(dtype):
    info = ml_dtypes.iinfo(dtype) if dtype in INTEGERS else None
    return (int(info.min), int(info.max)) if info else (0, 0)


@st.composite
def cases(draw):
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    axis = draw(st.integers(0, len(shape) - 1))
    form = draw(st.sampled_from(["tensor", "axis", "block"]))
    block = draw(st.integers(1, shape[axis])) if form == "block" else 0
    own = {
        "tensor": [],
        "axis": [shape[axis]],
        "block": [-(-e // block) if d == axis else e for d, e in enumerate(shape)]
        if block
        else [],
    }[form]
    dtype = draw(st.sampled_from([*INTEGERS, *FLOATS]))
    real = draw(st.sampled_from(["float32", "float16"]))
    fixed = draw(st.booleans())
    return shape, axis, block, own, dtype, real, fixed


def parameters(own, dtype, real, rng):
    scale = rng.uniform(0.05, 2, own).astype(real)
    low, high = bounds(dtype)
    zero = None
    if dtype in INTEGERS:
        zero = rng.integers(low, high, own, endpoint=True).astype(dtype)
    return scale, zero


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(cases())
def test_dequantize(case):
    shape, axis, block, own, dtype, real, fixed = case
    rng = np.random.default_rng(0)
    low, high = bounds(dtype) if dtype in INTEGERS else (-6, 6)
    scale, zero = parameters(own, dtype, real, rng)
    x = rng.integers(low, high, shape, endpoint=True).astype(dtype)
    inputs = {"x": x, "scale": scale, "zero": zero}
    model = node_model(
        "DequantizeLinear",
        inputs,
        fixed=["scale", "zero"] if fixed else [],
        opset=25,
        axis=axis,
        block_size=block,
    )
    check(model, inputs, rtol=1e-6 if real == "float32" else 1e-3)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(cases())
def test_quantize(case):
    shape, axis, block, own, dtype, real, fixed = case
    rng = np.random.default_rng(1)
    scale, zero = parameters(own, dtype, real, rng)
    if zero is None:
        zero = np.zeros(own, dtype)
    x = rng.uniform(-20, 20, shape).astype(real)
    inputs = {"x": x, "scale": scale, "zero": zero}
    model = node_model(
        "QuantizeLinear",
        inputs,
        fixed=["scale", "zero"] if fixed else [],
        opset=25,
        axis=axis,
        block_size=block,
    )
    check(model, inputs, rtol=0, atol=0)


def test_what_is_no_number_becomes_the_zero_point():
    x = np.float32([[np.nan, 1, np.inf, -np.inf]])
    inputs = {"x": x, "scale": np.float32([0.5]), "zero": np.int16([-3])}
    (found,), _ = compiled(node_model("QuantizeLinear", inputs, axis=0), inputs)
    np.testing.assert_array_equal(found, [[-3, -1, 32767, -32768]])


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "float8_e4m3fn", "float4_e2m1fn"])
def test_blocked_weights_are_unpacked_when_built(dtype):
    """A quantized initializer costs no kernel: the plan's weights are the real numbers."""
    rng = np.random.default_rng(2)
    low, high = bounds(dtype) if dtype in INTEGERS else (-6, 6)
    inputs = {
        "x": rng.integers(low, high, (10, 6), endpoint=True).astype(dtype),
        "scale": rng.uniform(0.1, 1, (3, 6)).astype(np.float32),
    }
    model = node_model(
        "DequantizeLinear", inputs, fixed=["x", "scale"], opset=25, axis=0, block_size=4
    )
    model.graph.node.append(helper.make_node("Mul", ["a", "y0"], ["z"]))
    model.graph.input.append(helper.make_tensor_value_info("a", 1, [10, 6]))
    model.graph.output[0].name = "z"
    a = rng.standard_normal((10, 6)).astype(np.float32)
    (found,), fallbacks = compiled(model, {"a": a})
    scale = np.repeat(inputs["scale"], 4, axis=0)[:10]
    want = a * (inputs["x"].astype(np.float32) * scale)
    np.testing.assert_allclose(found, want, rtol=1e-6)
    assert not fallbacks


def test_a_quantized_graph_output_is_what_the_quantization_gives():
    inputs = {
        "x": np.linspace(-30, 30, 50, dtype=np.float32),
        "s": np.float32(0.1),
        "z": np.uint8(3),
    }
    check(node_model("QuantizeLinear", inputs, fixed=["s", "z"]), inputs)
