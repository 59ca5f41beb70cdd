"""Whole graphs: integer parts, float parts and the edges between them."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from helpers.graphs import Graph, normal
from helpers.qdq import QdqGraph, stored_numbers, weights

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.run import run_model
from edgecomp.reference.interpreter import Reference, run_reference


def chain(rng):
    """A graph with an image input, two convolutions, a residual sum and a float ending."""
    graph = QdqGraph()
    image = graph.input("image", (1, 4, 9, 9))
    x = graph.dequantize(graph.quantize(image, 0.03, 120), 0.03, 120)
    first = graph(
        "Relu", graph("Conv", x, graph.weight(weights(rng, 4, 4, 3, 3), 0.01), pads=[1] * 4)
    )
    first = graph.quantize(first, 0.05, 0)
    second = graph(
        "Conv",
        graph.dequantize(first, 0.05, 0),
        graph.weight(weights(rng, 4, 1, 3, 3), np.full(4, 0.01), axis=0),
        group=4,
        pads=[1] * 4,
    )
    second = graph.quantize(second, 0.06, 100)
    total = graph("Add", graph.dequantize(second, 0.06, 100), graph.dequantize(first, 0.05, 0))
    total = graph.quantize(total, 0.08, 90)
    mean = graph("GlobalAveragePool", graph.dequantize(total, 0.08, 90))
    mean = graph.quantize(mean, 0.02, 60)
    output = graph("Softmax", graph.dequantize(mean, 0.02, 60), axis=1)
    return graph, output, [first, second, total, mean]


def test_intermediates_are_stored_numbers(rng):
    graph, output, names = chain(rng)
    results = run_reference(
        graph.model(output), {"image": normal(rng, 1, 4, 9, 9)}, intermediates=True
    )
    assert all(results[name].dtype == np.uint8 for name in names)
    assert results[output].dtype == np.float32
    assert abs(results[output].sum() - 1) < 1e-6


def test_each_step_is_within_one_of_onnxruntime(rng):
    """Every stored value of the chain against onnxruntime's own integer kernels."""
    graph, output, names = chain(rng)
    feeds = {"image": normal(rng, 1, 4, 9, 9)}
    found = run_reference(graph.model(output), feeds, intermediates=True)
    proto = graph.proto(output)
    for name in names:
        proto.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None)
        )
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    for name, expected in zip(names, session.run(names, feeds), strict=True):
        difference = np.abs(found[name].astype(int) - expected)
        assert difference.max() <= 1, name
        assert (difference > 0).mean() < 0.02, name


def test_a_model_keeps_its_meaning_when_written_and_read(rng, tmp_path):
    graph, output, _ = chain(rng)
    feeds = {"image": normal(rng, 1, 4, 9, 9)}
    model = graph.model(output)
    ir.save(model, tmp_path / "model.onnx")
    again = ir.load(tmp_path / "model.onnx")
    np.testing.assert_array_equal(
        run_reference(model, feeds)[output], run_reference(again, feeds)[output]
    )


def test_float_models_run_as_well(rng):
    graph = Graph()
    x = graph.input("x", (1, 6, 8, 8))
    result = graph(
        "Conv",
        x,
        normal(rng, 4, 3, 3, 3),
        normal(rng, 4),
        group=2,
        strides=[2, 2],
        auto_pad="SAME_UPPER",
    )
    result = graph("Softmax", graph("Flatten", result))
    feeds = {"x": normal(rng, 1, 6, 8, 8)}
    model = graph.model(result)
    np.testing.assert_allclose(
        run_reference(model, feeds)[result],
        run_model(model, feeds)[result],
        rtol=1e-4,
        atol=1e-7,
    )


def test_a_subgraph_sees_values_around_it(rng):
    graph = Graph()
    condition = graph.input("condition", (), np.bool_)
    doubled = graph("Mul", graph.input("x", (3,)), np.float32(2))
    branches = {}
    for key, operator in (("then_branch", "Neg"), ("else_branch", "Abs")):
        node = onnx.helper.make_node(operator, [doubled], [key])
        value = onnx.helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, (3,))
        branches[key] = onnx.helper.make_graph([node], key, [], [value])
    result = graph("If", condition, **branches)
    x = np.array([1, -2, 3], np.float32)
    model = graph.model(result)
    for flag, expected in ((True, [-2, 4, -6]), (False, [2, 4, 6])):
        found = run_reference(model, {"x": x, "condition": np.array(flag)})[result]
        assert found.tolist() == expected


def test_per_channel_and_wide_edges_equal_onnxruntime(rng):
    graph = QdqGraph()
    x = graph.input("x", (2, 3, 4))
    per_channel = graph(
        "QuantizeLinear",
        x,
        np.array([0.1, 0.2, 0.3], np.float32),
        np.array([1, 2, 3], np.int8),
        axis=1,
    )
    back = graph(
        "DequantizeLinear",
        per_channel,
        np.array([0.1, 0.2, 0.3], np.float32),
        np.array([1, 2, 3], np.int8),
        axis=1,
    )
    wide = graph("QuantizeLinear", back, np.float32(1e-4), np.uint16(30000))
    feeds = {"x": normal(rng, 2, 3, 4)}
    model = graph.model(wide)
    np.testing.assert_array_equal(
        run_reference(model, feeds)[wide], run_model(model, feeds)[wide]
    )


def test_what_is_beyond_the_range_saturates_and_nan_is_zero():
    graph = QdqGraph()
    output = graph.quantize(graph("Neg", graph.input("x", (5,))), 0.004, -28, np.int8)
    x = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38], np.float32)
    found = run_reference(graph.model(output), {"x": x})[output]
    assert found.tolist() == [-28, -128, 127, -128, 127]


@pytest.mark.parametrize(
    ("feeds", "text"),
    [
        ({}, "is missing"),
        ({"imag": np.zeros((1, 4, 9, 9), np.float32)}, "no input 'imag'"),
        ({"image": np.zeros((1, 4, 9, 9))}, "float64"),
    ],
)
def test_wrong_feeds(rng, feeds, text):
    graph, output, _ = chain(rng)
    with pytest.raises(EdgecompError, match=text) as caught:
        run_reference(graph.model(output), feeds)
    assert caught.value.code is Code.INPUT_MISMATCH


def test_one_reference_serves_many_feeds(rng):
    graph = QdqGraph()
    output = graph.quantize(graph("Neg", graph.stored("x", (5,), 0.5, 128)), 0.5, 128)
    reference = Reference(graph.model(output))
    for _ in range(2):
        x = stored_numbers(rng, (5,))
        expected = np.minimum(255, 256 - x.astype(int))
        assert reference({"x": x})[output].tolist() == expected.tolist()
