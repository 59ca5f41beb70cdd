"""Operators written by others: the rewritten graph against the operator itself.

Both are computed by onnx's reference evaluator, so that only the definition is tested.
"""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from helpers.nodes import feeds_of, node_model, reference
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgecomp.frontend.load import load_model


def check(model, inputs, *, rtol=1e-5, atol=1e-5, whole=()):
    """The operator is gone but for those in ``whole``, and the numbers stay."""
    loaded = load_model(model)
    operator = model.graph.node[0].op_type
    assert operator in whole or operator not in [node.op_type for node in loaded.graph]
    expanded = ReferenceEvaluator(ir.to_proto(loaded))
    found = expanded.run(None, feeds_of(model, inputs))
    for got, want in zip(found, reference(model, inputs), strict=True):
        want = np.asarray(want)
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


def random(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("axis", [-1, 0, 1, -3])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
def test_one_hot(axis, dtype):
    low = 0 if dtype == "uint8" else -6
    indices = np.random.default_rng(0).integers(low, 8, (3, 4)).astype(dtype)
    inputs = {"i": indices, "depth": np.int64(5), "values": np.float32([2, 7])}
    check(node_model("OneHot", inputs, fixed=["depth", "values"], axis=axis), inputs)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("length", [None, 6, 9, 12])
@pytest.mark.parametrize("inverse", [0, 1])
def test_dft(parts, length, inverse):
    inputs = {"x": random(2, 9, 3, parts), "length": None, "axis": np.int64(1)}
    if length is not None:
        inputs["length"] = np.int64(length)
    model = node_model("DFT", inputs, fixed=["length", "axis"], opset=20, inverse=inverse)
    check(model, inputs)


@pytest.mark.parametrize("length", [8, 9])
def test_dft_of_real_signals(length):
    inputs = {"x": random(2, length, 1), "length": None, "axis": np.int64(-2)}
    check(node_model("DFT", inputs, fixed=["axis"], opset=20, onesided=1), inputs)
    inputs = {"x": random(2, 5, 2), "length": np.int64(length), "axis": np.int64(1)}
    model = node_model(
        "DFT", inputs, fixed=["length", "axis"], opset=26, onesided=1, inverse=1
    )
    check(model, inputs)


@pytest.mark.parametrize("window", [True, False])
@pytest.mark.parametrize("onesided", [0, 1])
def test_stft(window, onesided):
    inputs = {
        "signal": random(2, 50, 1),
        "step": np.int64(7),
        "window": np.hanning(16).astype(np.float32) if window else None,
        "length": np.int64(16),
    }
    model = node_model("STFT", inputs, fixed=["step", "length"], onesided=onesided)
    check(model, inputs, atol=1e-4)


@pytest.mark.parametrize(
    ("image", "block", "attributes"),
    [
        ((5, 5), (1, 5), {}),
        ((6, 7), (2, 3), {"pads": [1, 0, 1, 2]}),
        ((7, 8), (3, 2), {"strides": [2, 1], "dilations": [1, 3]}),
        ((4, 4, 5), (1, 2, 3), {}),
    ],
)
def test_col2im(image, block, attributes):
    count = len(image)
    pads = attributes.get("pads", [0] * 2 * count)
    blocks = [
        (
            image[d]
            + pads[d]
            + pads[count + d]
            - attributes.get("dilations", [1] * count)[d] * (block[d] - 1)
            - 1
        )
        // attributes.get("strides", [1] * count)[d]
        + 1
        for d in range(count)
    ]
    inputs = {
        "x": random(2, 3 * int(np.prod(block)), int(np.prod(blocks))),
        "image": np.int64(image),
        "block": np.int64(block),
    }
    check(node_model("Col2Im", inputs, fixed=["image", "block"], **attributes), inputs)


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize("axis", [-2, 1])
def test_tensor_scatter(mode, axis):
    starts = np.int64([1, 4] if mode == "circular" else [1, 2])
    inputs = {"cache": random(2, 5, 5, 3), "update": random(2, 5, 3, 3, seed=1)}
    if axis == 1:
        inputs["update"] = random(2, 3, 5, 3, seed=1)
    inputs["starts"] = starts
    check(node_model("TensorScatter", inputs, axis=axis, mode=mode), inputs)


def test_max_unpool():
    x = np.float32([[[[1, 2], [3, 4]]]])
    places = np.int64([[[[5, 7], [13, 15]]]])
    inputs = {"x": x, "i": places, "shape": None}
    check(node_model("MaxUnpool", inputs, kernel_shape=[2, 2], strides=[2, 2]), inputs)
    inputs["shape"] = np.int64([1, 1, 5, 5])
    model = node_model(
        "MaxUnpool", inputs, fixed=["shape"], kernel_shape=[2, 2], strides=[2, 2]
    )
    check(model, inputs)


@pytest.mark.parametrize("column_major", [0, 1])
def test_max_pool_with_indices(column_major):
    inputs = {"x": random(2, 3, 6, 7)}
    model = node_model(
        "MaxPool",
        inputs,
        outputs=2,
        kernel_shape=[3, 2],
        strides=[2, 2],
        pads=[1, 1, 1, 0],
        storage_order=column_major,
    )
    loaded = load_model(model)
    values, indices = ReferenceEvaluator(ir.to_proto(loaded)).run(None, inputs)
    session = onnxruntime.InferenceSession(_typed(model).SerializeToString())
    want_values, want_indices = session.run(None, inputs)
    np.testing.assert_array_equal(values, want_values)
    np.testing.assert_array_equal(indices, want_indices)


def _typed(model):
    """With types of the outputs, which onnxruntime asks for."""
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    del typed.graph.output[:]
    typed.graph.output.append(helper.make_tensor_value_info("y0", 1, None))
    typed.graph.output.append(helper.make_tensor_value_info("y1", 7, None))
    typed.opset_import[0].version = 21
    typed.ir_version = 10
    return typed


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_reverse_sequence(axes):
    time, batch = axes
    shape = [0, 0, 3]
    shape[time], shape[batch] = 5, 2
    inputs = {"x": random(*shape), "lengths": np.int64([2, 5])}
    check(node_model("ReverseSequence", inputs, time_axis=time, batch_axis=batch), inputs)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (4, 3, 3), (2, 1, 4, 4)])
def test_determinant(shape):
    inputs = {"x": random(*shape)}
    check(node_model("Det", inputs), inputs)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [0, 0, 0, 0]},
        {"pads": [1, 1, 1, 1], "strides": [2, 1]},
        {"pads": [2, 1, 2, 1], "dilations": [2, 1], "offset_group": 2},
        {"pads": [0, 1, 0, 1], "group": 2},
    ],
)
def test_deformed_convolution(attributes, mask):
    groups, fields = attributes.get("group", 1), attributes.get("offset_group", 1)
    strides = attributes.get("strides", [1, 1])
    dilations = attributes.get("dilations", [1, 1])
    pads = attributes["pads"]
    height, width = (
        (size + pads[d] + pads[d + 2] - 2 * dilations[d] - 1) // strides[d] + 1
        for d, size in enumerate((6, 7))
    )
    inputs = {
        "x": random(2, 4, 6, 7),
        "w": random(2, 4 // groups, 3, 3, seed=1),
        "offset": random(2, fields * 18, height, width, seed=2),
        "b": random(2, seed=3),
        "mask": random(2, fields * 9, height, width, seed=4) if mask else None,
    }
    model = node_model("DeformConv", inputs, kernel_shape=[3, 3], **attributes)
    check(model, inputs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("attributes", [{}, {"auto_pad": "SAME_UPPER"}])
@pytest.mark.parametrize("size", [[9, 7], [10, 8], [8, 6]])
def test_transposed_convolution_of_a_given_size(attributes, size):
    inputs = {"x": random(1, 1, 3, 3), "w": random(1, 2, 3, 3, seed=1)}
    model = node_model(
        "ConvTranspose", inputs, fixed=["w"], strides=[3, 2], output_shape=size, **attributes
    )
    loaded = load_model(model)
    (node,) = (each for each in loaded.graph if each.op_type == "ConvTranspose")
    assert node.attributes.get("output_shape") is None
    (got,) = ReferenceEvaluator(ir.to_proto(loaded)).run(None, {"x": inputs["x"]})
    assert got.shape == (1, 2, *size)


@pytest.mark.parametrize("zero_points", [False, True])
def test_integer_convolution_is_exact(zero_points):
    rng = np.random.default_rng(0)
    inputs = {
        "x": rng.integers(0, 256, (1, 40, 5, 6)).astype(np.uint8),
        "w": rng.integers(0, 256, (3, 40, 3, 3)).astype(np.uint8),
        "xz": np.uint8(7) if zero_points else None,
        "wz": np.uint8([3, 0, 250]) if zero_points else None,
    }
    model = node_model("ConvInteger", inputs, fixed=["w", "wz"], pads=[1, 1, 1, 1])
    loaded = load_model(model)
    (got,) = ReferenceEvaluator(ir.to_proto(loaded)).run(None, feeds_of(model, inputs))
    x = inputs["x"].astype(np.int64) - (7 if zero_points else 0)
    w = inputs["w"].astype(np.int64)
    if zero_points:
        w = w - np.int64([3, 0, 250]).reshape(3, 1, 1, 1)
    x = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    np.testing.assert_array_equal(got, np.einsum("nchwij,mcij->nmhw", windows, w))


def test_the_mask_of_a_dropout_that_keeps_everything():
    inputs = {"x": random(2, 3)}
    model = node_model("Dropout", inputs, outputs=2, opset=22)
    found = ReferenceEvaluator(ir.to_proto(load_model(model))).run(None, inputs)
    np.testing.assert_array_equal(found[0], inputs["x"])
    assert found[1].dtype == np.bool_
    assert found[1].all()


@pytest.mark.parametrize("k", [-2, 0, 1])
def test_eye_like(k):
    inputs = {"x": np.zeros((3, 5), np.int32)}
    model = node_model("EyeLike", inputs, k=k, dtype=onnx.TensorProto.DOUBLE)
    found = ReferenceEvaluator(ir.to_proto(load_model(model))).run(None, inputs)
    np.testing.assert_array_equal(found[0], np.eye(3, 5, k))


EINSUMS = {
    "bqhd,bkhd->bhqk": [(2, 3, 4, 5), (2, 6, 4, 5)],
    "bhqk, bkhd -> bqhd": [(2, 4, 3, 6), (2, 6, 4, 5)],
    "...d,dhe->...he": [(2, 3, 4), (4, 5, 6)],
    "...ij,...jk": [(2, 7, 3, 4), (2, 7, 4, 5)],
    "ij,jk": [(3, 4), (4, 5)],
    "ba,ca": [(3, 4), (5, 4)],
    "bi,bj->ijb": [(2, 3), (2, 4)],
    "i,jk->kij": [(2,), (3, 4)],
    "ij,ij->ij": [(2, 3), (2, 3)],
    "ij,ij->": [(2, 3), (2, 3)],
    "ijk->kj": [(2, 3, 4)],
    "ij->ji": [(2, 3)],
    "i...->...": [(2, 3, 4)],
    "ija,jkb,kl->il": [(2, 3, 6), (3, 4, 7), (4, 5)],
    "aij,jk,kla->li": [(2, 3, 4), (4, 5), (5, 6, 2)],
    "abcd,cdab->ad": [(2, 3, 4, 5), (4, 5, 2, 3)],
}


@pytest.mark.parametrize("equation", EINSUMS)
def test_einsum(equation):
    shapes = EINSUMS[equation]
    inputs = {f"x{k}": random(*shape, seed=k) for k, shape in enumerate(shapes)}
    check(node_model("Einsum", inputs, equation=equation), inputs, rtol=1e-4)


@pytest.mark.parametrize(
    ("equation", "shapes", "dtype"),
    [
        ("ii->i", [(3, 3)], np.float32),
        ("ij,jk->ik", [(2, 1), (4, 5)], np.float32),
        ("ij,jk->ik", [(2, 4), (4, 5)], np.int32),
    ],
)
def test_an_einsum_that_stays(equation, shapes, dtype):
    """A diagonal, a dimension that repeats, and integers."""
    inputs = {f"x{k}": (9 * random(*shape)).astype(dtype) for k, shape in enumerate(shapes)}
    check(node_model("Einsum", inputs, equation=equation), inputs, whole=["Einsum"])
