"""Operators replaced by ONNX's own definition of them."""

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from edgecomp.graph.expand import ALWAYS
from edgecomp.graph.fold import infer_and_fold
from edgecomp.graph.run import run_model
from edgecomp.graph.source import SOURCE_KEY, source_of
from edgecomp.graph.verify import verify

HEAD = '<ir_version: 10, opset_import: ["" : 24]>\n'
MODELS = {
    "attention": "g (float[1, 2, 3, 8] q, float[1, 2, 5, 8] k, float[1, 2, 5, 4] v) => "
    "(float[1, 2, 3, 4] y) { y = Attention<is_causal = 1>(q, k, v) }",
    "rotary": "g (float[1, 2, 3, 8] x, float[1, 3, 4] c, float[1, 3, 4] s) => "
    "(float[1, 2, 3, 8] y) { y = RotaryEmbedding(x, c, s) }",
    "rms": "g (float[2, 3, 8] x, float[8] s) => (float[2, 3, 8] y) "
    "{ y = RMSNormalization<axis = -1>(x, s) }",
    "layer_norm_mean": "g (float[2, 8] x, float[8] s) => (float[2, 8] y, float[2, 1] m) "
    "{ y, m = LayerNormalization(x, s) }",
    "lp_norm": "g (float[2, 8] x) => (float[2, 8] y) { y = LpNormalization<axis = 0>(x) }",
    "group_norm": "g (float[2, 4, 3] x, float[4] s, float[4] b) => (float[2, 4, 3] y) "
    "{ y = GroupNormalization<num_groups = 2>(x, s, b) }",
}


def load(name):
    return ir.from_proto(onnx.parser.parse_model(HEAD + MODELS[name]))


def run(model, feeds):
    return ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)


@pytest.mark.parametrize("name", MODELS)
def test_the_definition_computes_the_same(name, rng):
    model = load(name)
    feeds = {
        value.name: rng.standard_normal(value.shape.numpy()).astype(np.float32)
        for value in model.graph.inputs
    }
    before = run(model, feeds)
    names = [value.name for value in model.graph.outputs]
    assert infer_and_fold(model).expanded
    verify(model)
    assert not ALWAYS & {node.op_type for node in model.graph}
    assert [value.name for value in model.graph.outputs] == names
    for found, wanted in zip(run(model, feeds), before, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert infer_and_fold(model).expanded == 0


def test_the_nodes_keep_the_source_line():
    model = load("attention")
    next(iter(model.graph)).metadata_props[SOURCE_KEY] = "net.py:7"
    infer_and_fold(model)
    assert {source_of(node) for node in model.graph} == {"net.py:7"}


def test_a_layer_normalization_of_one_output_stays_whole():
    text = (
        MODELS["layer_norm_mean"].replace(", float[2, 1] m) {", ") {").replace("y, m =", "y =")
    )
    model = ir.from_proto(onnx.parser.parse_model(HEAD + text))
    assert infer_and_fold(model).expanded == 0


def test_a_constant_result_stays_an_output():
    text = "g (float[2, 3] x) => (int64[2] y) { y = Shape(x) }"
    model = ir.from_proto(onnx.parser.parse_model(HEAD + text))
    assert infer_and_fold(model).folded == 1
    assert [node.op_type for node in model.graph] == ["Identity"]
    assert infer_and_fold(model).folded == 0
    np.testing.assert_array_equal(run(model, {"x": np.zeros((2, 3), np.float32)})[0], [2, 3])


def quantized_feeds(rng, shapes):
    x_scale, w_scale, y_scale = np.float32([0.02, 0.01, 0.05])
    return {
        "x": rng.integers(0, 256, shapes[0]).astype(np.uint8),
        "xs": np.array(x_scale),
        "xz": np.array(120, np.uint8),
        "w": rng.integers(0, 256, shapes[1]).astype(np.uint8),
        "ws": np.array(w_scale),
        "wz": np.array(131, np.uint8),
        "ys": np.array(y_scale),
        "yz": np.array(118, np.uint8),
    }


@pytest.mark.parametrize(
    ("operator", "x", "w"),
    [("QLinearConv", [1, 3, 5, 6], [4, 3, 3, 3]), ("QLinearMatMul", [2, 3, 7], [7, 5])],
)
def test_quantized_forms_become_qdq(operator, x, w, rng):
    text = (
        f"g (uint8{x} x, float xs, uint8 xz, uint8{w} w, float ws, uint8 wz, float ys, uint8 yz)"
        f" => (uint8[a] y) {{ y = {operator}(x, xs, xz, w, ws, wz, ys, yz) }}"
    )
    rank = len(x)
    text = text.replace("uint8[a]", f"uint8[{', '.join(f'd{d}' for d in range(rank))}]")
    model = ir.from_proto(onnx.parser.parse_model(HEAD.replace("24", "21") + text))
    feeds = quantized_feeds(rng, (x, w))
    before = run_model(model, feeds)
    assert infer_and_fold(model).expanded == 1
    operators = [node.op_type for node in model.graph]
    assert operators.count("DequantizeLinear") == 2
    assert operators[-1] == "QuantizeLinear"
    np.testing.assert_array_equal(run_model(model, feeds)["y"], before["y"])


@pytest.mark.parametrize(("scales", "zeros"), [(4, 1), (1, 4), (4, 4)])
def test_weights_with_a_scale_or_a_zero_point_for_each_channel(scales, zeros, rng):
    x, w = [1, 3, 5, 6], [4, 3, 3, 3]
    text = (
        f"g (uint8{x} x, float xs, uint8 xz, uint8{w} w, float[{scales}] ws, uint8[{zeros}] wz, "
        "float ys, uint8 yz, int32[4] b) => (uint8[1, 4, 3, 4] y) "
        "{ y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b) }"
    )
    model = ir.from_proto(onnx.parser.parse_model(HEAD.replace("24", "21") + text))
    feeds = quantized_feeds(rng, (x, w))
    feeds["ws"] = rng.uniform(0.001, 0.01, scales).astype(np.float32)
    feeds["wz"] = rng.integers(100, 150, zeros).astype(np.uint8)
    feeds["b"] = rng.integers(-9000, 9000, 4).astype(np.int32)
    before = run_model(model, feeds)
    assert infer_and_fold(model).expanded == 1
    np.testing.assert_array_equal(run_model(model, feeds)["y"], before["y"])
