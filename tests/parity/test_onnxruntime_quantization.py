"""Models that onnxruntime's own tools quantized, in all their forms, against onnxruntime."""

import functools
import pathlib
import tempfile

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.microsoft import compiled
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

#: Signal to noise of two right ways to round: neighbours of a few numbers differ.
LEAST_DECIBEL = 22


def weights(*shape, seed):
    spread = np.sqrt(np.prod(shape[1:]) if len(shape) == 4 else shape[0])
    return (np.random.default_rng(seed).standard_normal(shape) / spread).astype(np.float32)


def float_model(kind):
    """A small net of convolutions, or a block of a transformer."""
    nodes, constants, shape = (_image_net if kind == "image" else _text_block)()
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _image_net():
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1", "b1"], ["c1"], pads=[1] * 4, group=16),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2", "b0"], ["c2"]),
        node("Add", ["c2", "r0"], ["a"]),
        node("GlobalAveragePool", ["a"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    constants = {
        "w0": weights(16, 3, 3, 3, seed=0), "b0": weights(16, seed=1),
        "w1": weights(16, 1, 3, 3, seed=2), "b1": weights(16, seed=3),
        "w2": weights(16, 16, 1, 1, seed=4), "w3": weights(10, 16, seed=5),
        "b3": weights(10, seed=6),
    }  # fmt: skip
    return nodes, constants, [1, 3, 20, 20]


def _text_block():
    node = helper.make_node
    nodes = [
        node("LayerNormalization", ["x", "gamma", "beta"], ["n"]),
        *(node("MatMul", ["n", f"w{k}"], [f"m{k}"]) for k in range(3)),
        node("Add", ["m0", "b"], ["q"]),
        node("Transpose", ["m1"], ["k"], perm=[0, 2, 1]),
        node("MatMul", ["q", "k"], ["scores"]),
        node("Mul", ["scores", "eighth"], ["scaled"]),
        node("Softmax", ["scaled"], ["weights"]),
        node("MatMul", ["weights", "m2"], ["values"]),
        node("MatMul", ["values", "w3"], ["projected"]),
        node("Add", ["projected", "x"], ["sum"]),
        node("MatMul", ["sum", "w4"], ["wide"]),
        node("Gelu", ["wide"], ["bent"]),
        node("MatMul", ["bent", "w5"], ["narrow"]),
        node("Add", ["narrow", "b"], ["y"]),
    ]
    constants = {
        **{f"w{k}": weights(32, 32, seed=k) for k in range(4)},
        "w4": weights(32, 64, seed=4), "w5": weights(64, 32, seed=5),
        "b": weights(32, seed=6), "gamma": np.ones(32, np.float32),
        "beta": weights(32, seed=7), "eighth": np.float32(0.125),
    }  # fmt: skip
    return nodes, constants, [1, 7, 32]


class Samples(CalibrationDataReader):
    def __init__(self, shape):
        rng = np.random.default_rng(1)
        self.feeds = iter(
            [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(8)]
        )

    def get_next(self):
        return next(self.feeds, None)


FORMS = {
    "dynamic int8": (quantize_dynamic, {"weight_type": QuantType.QInt8}),
    "dynamic uint8": (quantize_dynamic, {"weight_type": QuantType.QUInt8}),
    "dynamic per channel": (
        quantize_dynamic,
        {"weight_type": QuantType.QInt8, "per_channel": True},
    ),
    **{
        f"{layout.name} {activation.name} {weight.name}{' per channel' if each else ''}": (
            quantize_static,
            {
                "quant_format": layout,
                "activation_type": activation,
                "weight_type": weight,
                "per_channel": each,
            },
        )
        for layout in (QuantFormat.QDQ, QuantFormat.QOperator)
        for activation, weight, each in (
            (QuantType.QUInt8, QuantType.QInt8, False),
            (QuantType.QUInt8, QuantType.QUInt8, False),
            (QuantType.QInt8, QuantType.QInt8, True),
        )
    },
}


@functools.cache
def quantized(kind, form):
    quantize, options = FORMS[form]
    with tempfile.TemporaryDirectory() as name:
        before, after = (
            pathlib.Path(name) / "float.onnx",
            pathlib.Path(name) / "quantized.onnx",
        )
        model = float_model(kind)
        shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
        onnx.save(model, before)
        readers = [Samples(shape)] if quantize is quantize_static else []
        quantize(before, after, *readers, **options)
        return onnx.load(after), shape


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["image", "text"])
def test_tools_forms(kind, form):
    model, shape = quantized(kind, form)
    feeds = {"x": np.random.default_rng(2).standard_normal(shape).astype(np.float32)}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    (want,) = session.run(None, feeds)
    (found,), fallbacks = compiled(model, feeds)
    assert not fallbacks
    noise = np.square(found.astype(np.float64) - want).sum()
    assert 10 * np.log10(np.square(want).sum() / max(noise, 1e-30)) > LEAST_DECIBEL
