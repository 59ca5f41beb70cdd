"""Activations quantized while the model runs: integer products against onnxruntime."""

import numpy as np
import onnx
import onnx.parser
import pytest
from helpers.microsoft import check_definition, check_vendor, vendor_model
from helpers.nodes import node_model
from hypothesis import given, settings
from hypothesis import strategies as st

#: Nothing but the order of the last float32 operations differs.
EQUAL = 2e-6


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weights(rng, dtype, shape, *, narrow=False):
    limits = np.iinfo(dtype)
    low, high = (limits.min + 1, limits.max) if narrow else (limits.min, limits.max)
    return rng.integers(low, high + 1, shape).astype(dtype)


@settings(max_examples=8)
@given(
    extents=st.tuples(st.integers(1, 20), st.integers(1, 70), st.integers(1, 40)),
    dtype=st.sampled_from([np.int8, np.uint8]),
    per_column=st.booleans(),
    bias=st.booleans(),
    point=st.sampled_from([None, 0, 120]),
)
def test_dynamic_quantize_matmul(extents, dtype, per_column, bias, point):
    rows, depth, columns = extents
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.005, 0.02, columns if per_column else ()).astype(np.float32)
    inputs = {
        "a": random(2, rows, depth),
        "b": weights(rng, dtype, (depth, columns)),
        "bs": scales,
        "bz": None if point is None else np.full(scales.shape, point, dtype),
        "bias": random(columns) if bias else None,
    }
    model = vendor_model("DynamicQuantizeMatMul", inputs, fixed=["b", "bs", "bz", "bias"])
    check_definition(model, inputs, relative=EQUAL)
    check_vendor(model, inputs, relative=EQUAL)


# onnxruntime has no int8 by uint8.
@pytest.mark.parametrize(
    ("kind", "weight"), [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)]
)
@pytest.mark.parametrize("per_column", [False, True])
def test_matmul_integer_to_float(kind, weight, per_column):
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.005, 0.02, 21 if per_column else ()).astype(np.float32)
    inputs = {
        "a": weights(rng, kind, (5, 30)), "b": weights(rng, weight, (30, 21)),
        "as": np.float32(0.02), "bs": scales, "az": np.asarray(17, kind),
        "bz": np.full(scales.shape, 3, weight), "bias": random(21),
    }  # fmt: skip
    model = vendor_model("MatMulIntegerToFloat", inputs, fixed=["b", "bs", "bz", "bias"])
    check_vendor(model, inputs, relative=EQUAL)


@settings(max_examples=10)
@given(
    dtypes=st.sampled_from([(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)]),
    rows=st.sampled_from([None, "one", "each"]),
    columns=st.sampled_from([None, "one", "each"]),
    rank=st.integers(2, 3),
)
def test_matmul_integer(dtypes, rows, columns, rank):
    rng = np.random.default_rng(0)
    kind, weight = dtypes
    points = {None: lambda *_: None, "one": lambda k, _: np.asarray(7, k),
              "each": lambda k, n: weights(rng, k, n)}  # fmt: skip
    if rows == "each" and rank > 2:
        rows = "one"
    inputs = {
        "a": weights(rng, kind, (2, 5, 30)[-rank:]), "b": weights(rng, weight, (30, 21)),
        "az": points[rows](kind, 5), "bz": points[columns](weight, 21),
    }  # fmt: skip
    model = node_model("MatMulInteger", inputs, fixed=["b", "bz"], opset=21)
    model.ir_version = 10
    check_vendor(model, inputs) if rows != "each" else check_by_numpy(model, inputs)


def check_by_numpy(model, inputs):
    """onnxruntime takes no zero point per row."""
    from helpers.microsoft import compiled

    (found,), fallbacks = compiled(model, inputs)
    assert not fallbacks
    a = inputs["a"].astype(np.int64) - inputs["az"].astype(np.int64)[:, None]
    b = inputs["b"].astype(np.int64)
    if inputs["bz"] is not None:
        b = b - inputs["bz"].astype(np.int64)
    np.testing.assert_array_equal(found, a @ b)


@settings(max_examples=8)
@given(
    channels=st.integers(1, 9),
    outputs=st.integers(1, 20),
    dtype=st.sampled_from([np.int8, np.uint8]),
    point=st.sampled_from([None, 128, 100]),
    pads=st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 1, 0)]),
    depthwise=st.booleans(),
    stride=st.integers(1, 2),
)
def test_convolution(channels, outputs, dtype, point, pads, depthwise, stride):
    """What quantize_dynamic makes of a Conv."""
    rng = np.random.default_rng(1)
    groups = channels if depthwise else 1
    outputs = channels if depthwise else outputs
    stored = weights(rng, dtype, (outputs, channels // groups, 3, 3), narrow=True)
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 21]>
        conv (float[1, {channels}, 9, 8] x) => (float[1, {outputs}, oh, ow] y) {{
            q, s, z = DynamicQuantizeLinear(x)
            sums = ConvInteger<strides = [{stride}, {stride}], group = {groups},
                pads = {list(pads)}, kernel_shape = [3, 3]>(q, w, z{", wz" if point else ""})
            real = Cast<to = 1>(sums)
            unit = Mul(s, ws)
            scaled = Mul(real, unit)
            y = Add(scaled, b)
        }}""")
    constants = {
        "w": stored, "ws": np.float32(0.01), "b": random(1, outputs, 1, 1),
        **({"wz": np.asarray(point % 128 if dtype == np.int8 else point, dtype)} if point else {}),
    }  # fmt: skip
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in constants.items()
    )
    check_vendor(model, {"x": random(1, channels, 9, 8)}, relative=EQUAL)


@pytest.mark.parametrize("elements", [1, 15, 16, 17, 5000])
@pytest.mark.parametrize("kind", ["normal", "positive", "negative", "zero"])
def test_dynamic_quantize_linear(elements, kind):
    x = random(elements)
    x = {"normal": x, "positive": np.abs(x) + 1, "negative": -np.abs(x), "zero": 0 * x}[kind]
    model = node_model("DynamicQuantizeLinear", {"x": x}, outputs=3, opset=21)
    model.ir_version = 10
    check_vendor(model, {"x": x}, relative=1e-7)
