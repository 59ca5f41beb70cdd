"""QLinear operators of com.microsoft and of ONNX against onnxruntime."""

import numpy as np
import pytest
from helpers.microsoft import check_definition, check_vendor, vendor_model
from hypothesis import given, settings
from hypothesis import strategies as st


def stored(*shape, seed=0, dtype=np.uint8):
    limits = np.iinfo(dtype)
    return (
        np.random.default_rng(seed).integers(limits.min, limits.max + 1, shape).astype(dtype)
    )


def scale(value):
    return np.float32(value)


def check(operator, inputs, *, steps=1, variable=("a", "b"), build=True, **attributes):
    fixed = [name for name in inputs if name not in variable]
    model = vendor_model(operator, inputs, fixed=fixed, **attributes)
    check_definition(model, inputs, steps=steps)
    if build:
        check_vendor(model, inputs, steps=steps)


def zero(value, dtype):
    return np.asarray(value, dtype)


@settings(max_examples=6)
@given(
    operator=st.sampled_from(["QLinearAdd", "QLinearMul"]),
    dtype=st.sampled_from([np.uint8, np.int8]),
    other=st.sampled_from([(2, 5, 7), (7,), (1,), (5, 1)]),
    constant=st.booleans(),
    points=st.tuples(st.integers(0, 120), st.integers(0, 120), st.integers(0, 120)),
)
def test_binary(operator, dtype, other, constant, points):
    inputs = {
        "a": stored(2, 5, 7, dtype=dtype), "as": scale(0.03), "az": zero(points[0], dtype),
        "b": stored(*other, seed=1, dtype=dtype), "bs": scale(0.05), "bz": zero(points[1], dtype),
        "cs": scale(0.07), "cz": zero(points[2], dtype),
    }  # fmt: skip
    check(operator, inputs, variable=("a",) if constant else ("a", "b"))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("operator", ["QLinearSigmoid", "QLinearLeakyRelu"])
def test_functions(operator, dtype):
    point = zero(100 if dtype == np.uint8 else -7, dtype)
    inputs = {
        "a": stored(600, dtype=dtype), "as": scale(0.05), "az": point,
        "ys": scale(0.01), "yz": zero(3, dtype),
    }  # fmt: skip
    attributes = {"alpha": 0.2} if operator == "QLinearLeakyRelu" else {}
    check(operator, inputs, **attributes)


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_global_average_pool(last, dtype):
    shape = (2, 5, 6, 19) if last else (2, 19, 5, 6)
    inputs = {
        "a": stored(*shape, dtype=dtype), "as": scale(0.03), "az": zero(20, dtype),
        "ys": scale(0.02), "yz": zero(11, dtype),
    }  # fmt: skip
    check("QLinearGlobalAveragePool", inputs, channels_last=last)


@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_average_pool(counted, dtype):
    inputs = {
        "a": stored(1, 5, 9, 8, dtype=dtype), "as": scale(0.03), "az": zero(20, dtype),
        "ys": scale(0.025), "yz": zero(11, dtype),
    }  # fmt: skip
    check(
        "QLinearAveragePool", inputs, kernel_shape=[3, 3], strides=[2, 1], pads=[1, 1, 1, 1],
        count_include_pad=counted,
    )  # fmt: skip


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("opset", [13, 11])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_softmax(axis, opset, dtype):
    inputs = {
        "a": stored(2, 3, 10, dtype=dtype), "as": scale(0.08), "az": zero(20, dtype),
        "ys": scale(1 / 256), "yz": zero(np.iinfo(dtype).min, dtype),
    }  # fmt: skip
    model = vendor_model(
        "QLinearSoftmax", inputs, fixed=["as", "az", "ys", "yz"], axis=axis,
    )  # fmt: skip
    from onnx import helper

    model.graph.node[0].attribute.append(helper.make_attribute("opset", opset))
    check_vendor(model, inputs, steps=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_concat(dtype):
    inputs = {
        "ys": scale(0.05), "yz": zero(9, dtype),
        "a": stored(2, 3, 5, dtype=dtype), "as": scale(0.05), "az": zero(9, dtype),
        "b": stored(2, 4, 5, seed=1, dtype=dtype), "bs": scale(0.02), "bz": zero(50, dtype),
    }  # fmt: skip
    check("QLinearConcat", inputs, axis=1)


def test_where():
    inputs = {
        "c": np.random.default_rng(0).random((4, 9)) > 0.5,
        "a": stored(4, 9), "as": scale(0.05), "az": zero(9, np.uint8),
        "b": stored(4, 9, seed=1), "bs": scale(0.02), "bz": zero(50, np.uint8),
        "ys": scale(0.05), "yz": zero(3, np.uint8),
    }  # fmt: skip
    check("QLinearWhere", inputs, variable=("a", "b", "c"))


@settings(max_examples=8)
@given(
    extents=st.tuples(st.integers(1, 20), st.integers(1, 70), st.integers(1, 40)),
    transposed=st.booleans(),
    per_column=st.booleans(),
    quantized=st.booleans(),
    alpha=st.sampled_from([1.0, 0.5]),
    weight=st.sampled_from([np.int8, np.uint8]),
    bias=st.booleans(),
)
def test_gemm(extents, transposed, per_column, quantized, alpha, weight, bias):
    rows, depth, columns = extents
    rng = np.random.default_rng(1)
    shape = (columns, depth) if transposed else (depth, columns)
    scales = rng.uniform(0.005, 0.02, columns if per_column else ()).astype(np.float32)
    inputs = {
        "a": stored(rows, depth), "as": scale(0.03), "az": zero(120, np.uint8),
        "b": stored(*shape, seed=2, dtype=weight), "bs": scales,
        "bz": np.full(scales.shape, 125 if weight == np.uint8 else 0, weight),
        "c": rng.integers(-999, 999, columns).astype(np.int32) if bias else None,
        "ys": scale(0.3) if quantized else None,
        "yz": zero(128, np.uint8) if quantized else None,
    }  # fmt: skip
    check("QGemm", inputs, variable=("a",), transB=int(transposed), alpha=alpha)


@settings(max_examples=8)
@given(
    extents=st.tuples(st.integers(1, 20), st.integers(1, 70), st.integers(1, 40)),
    per_column=st.booleans(),
    dtypes=st.sampled_from([(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)]),
    constant=st.booleans(),
)
def test_qlinear_matmul(extents, per_column, dtypes, constant):
    rows, depth, columns = extents
    kind, weight = dtypes
    per_column = per_column and constant
    rng = np.random.default_rng(1)
    scales = rng.uniform(0.005, 0.02, columns if per_column else ()).astype(np.float32)
    inputs = {
        "a": stored(2, rows, depth, dtype=kind), "as": scale(0.03), "az": zero(20, kind),
        "b": stored(depth, columns, seed=2, dtype=weight), "bs": scales,
        "bz": np.full(scales.shape, 125 if weight == np.uint8 else 3, weight),
        "ys": scale(0.3), "yz": zero(12, kind),
    }  # fmt: skip
    check("QLinearMatMul", inputs, variable=("a",) if constant else ("a", "b"), domain="")


@settings(max_examples=8)
@given(
    channels=st.integers(1, 12),
    outputs=st.integers(1, 20),
    per_channel=st.booleans(),
    dtypes=st.sampled_from([(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)]),
    bias=st.booleans(),
    groups=st.booleans(),
)
def test_qlinear_conv(channels, outputs, per_channel, dtypes, bias, groups):
    kind, weight = dtypes
    rng = np.random.default_rng(1)
    outputs = channels if groups else outputs
    scales = rng.uniform(0.005, 0.02, outputs if per_channel else ()).astype(np.float32)
    inputs = {
        "a": stored(1, channels, 7, 6, dtype=kind), "as": scale(0.03), "az": zero(20, kind),
        "b": stored(outputs, 1 if groups else channels, 3, 3, seed=2, dtype=weight),
        "bs": scales, "bz": np.full(scales.shape, 125 if weight == np.uint8 else 0, weight),
        "ys": scale(0.3), "yz": zero(12, kind),
        "c": rng.integers(-999, 999, outputs).astype(np.int32) if bias else None,
    }  # fmt: skip
    check(
        "QLinearConv", inputs, variable=("a",), domain="", pads=[1, 1, 1, 1],
        group=channels if groups else 1,
    )  # fmt: skip
