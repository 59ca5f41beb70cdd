"""Sums, averages, tables and moves against Python integers and against onnxruntime."""

import numpy as np
import onnx_ir as ir
import pytest
from helpers.qdq import QdqGraph, stored_numbers, weights
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.graph.qdq import recognize
from edgecomp.graph.run import run_model
from edgecomp.reference.interpreter import run_reference

scales = st.floats(2.0**-10, 4.0, width=32)
zeros = st.integers(0, 255)


@given(
    scales,
    scales,
    scales,
    zeros,
    zeros,
    zeros,
    st.sampled_from(["Add", "Sub"]),
    st.integers(0, 99),
)
def test_sum_is_within_one_step_of_the_real_one(
    a, b, y, zero_a, zero_b, zero_y, operator, seed
):
    rng = np.random.default_rng(seed)
    graph = QdqGraph()
    output = graph.quantize(
        graph(
            operator,
            graph.stored("a", (3, 1, 5), a, zero_a),
            graph.stored("b", (4, 1), b, zero_b),
        ),
        y,
        zero_y,
    )
    feeds = {"a": stored_numbers(rng, (3, 1, 5)), "b": stored_numbers(rng, (4, 1))}
    found = run_reference(graph.model(output), feeds)[output]
    real_a = (feeds["a"].astype(np.float64) - zero_a) * np.float32(a)
    real_b = (feeds["b"].astype(np.float64) - zero_b) * np.float32(b)
    real = real_a + real_b if operator == "Add" else real_a - real_b
    expected = np.clip(np.rint(real / np.float32(y)) + zero_y, 0, 255)
    assert found.shape == (3, 4, 5)
    assert np.abs(found.astype(int) - expected).max() <= 1


@given(scales, scales, scales, zeros, zeros, zeros, st.integers(0, 99))
def test_product_of_two_values(a, b, y, zero_a, zero_b, zero_y, seed):
    rng = np.random.default_rng(seed)
    graph = QdqGraph()
    output = graph.quantize(
        graph(
            "Mul",
            graph.stored("a", (2, 3, 4), a, zero_a),
            graph.stored("b", (3, 1), b, zero_b),
        ),
        y,
        zero_y,
    )
    feeds = {"a": stored_numbers(rng, (2, 3, 4)), "b": stored_numbers(rng, (3, 1))}
    found = run_reference(graph.model(output), feeds)[output]
    acc = (feeds["a"].astype(int) - zero_a) * (feeds["b"].astype(int) - zero_b)
    m = np.float32(np.float64(np.float32(a)) * np.float64(np.float32(b)) / np.float32(y))
    t = np.clip(acc.astype(np.float32) * m, np.float32(-zero_y), np.float32(255 - zero_y))
    np.testing.assert_array_equal(found, np.rint(t).astype(int) + zero_y)


def average_graph(kind, size, scale_y):
    graph = QdqGraph()
    x = graph.stored("x", (2, 3, *size), 0.25, 100)
    result = {
        "global": lambda: graph("GlobalAveragePool", x),
        "reduce": lambda: graph("ReduceMean", x, np.array([-1, 1]), keepdims=0),
        "reduce all": lambda: graph("ReduceMean", x, keepdims=1),
        "pool": lambda: graph("AveragePool", x, kernel_shape=[2, 3], strides=[2, 1]),
        "padded pool": lambda: graph(
            "AveragePool",
            x,
            kernel_shape=[3, 3],
            pads=[1, 0, 1, 2],
            count_include_pad=1,
            strides=[1, 2],
        ),
    }[kind]()
    return graph, graph.quantize(result, scale_y, 90)


@pytest.mark.parametrize("kind", ["global", "reduce", "reduce all", "pool", "padded pool"])
@pytest.mark.parametrize("size", [(4, 4), (5, 7)])
def test_averages(kind, size, rng):
    graph, output = average_graph(kind, size, 0.0625)
    model = graph.model(output)
    assert not any(isinstance(s, ir.Node) for s in recognize(model.graph).steps)
    feeds = {"x": stored_numbers(rng, (2, 3, *size))}
    found = run_reference(model, feeds)[output].astype(int)
    difference = np.abs(found - run_model(model, feeds)[output])
    # onnxruntime divides in float: a tie may fall to the other side.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.02


MOVES = {
    "transpose": lambda g, x: g("Transpose", x, perm=[0, 2, 3, 1]),
    "reshape": lambda g, x: g("Reshape", x, np.array([0, -1])),
    "flatten": lambda g, x: g("Flatten", x, axis=2),
    "squeeze": lambda g, x: g("Squeeze", x, np.array([0])),
    "unsqueeze": lambda g, x: g("Unsqueeze", x, np.array([0, 5])),
    "slice": lambda g, x: g(
        "Slice", x, np.array([-1, 1]), np.array([-9, 5]), np.array([1, 2]), np.array([-1, 2])
    ),
    "gather": lambda g, x: g("Gather", x, np.array([[2, 0], [-1, 1]]), axis=1),
    "expand": lambda g, x: g("Expand", x, np.array([2, 4, 5, 6])),
    "tile": lambda g, x: g("Tile", x, np.array([1, 2, 1, 3])),
    "depth to space": lambda g, x: g("DepthToSpace", x, blocksize=2),
    "resize": lambda g, x: g(
        "Resize",
        x,
        "",
        np.array([1, 1, 2.5, 1], np.float32),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    "pad": lambda g, x: g("Pad", x, np.array([0, 1, 2, -1, 0, 0, 0, 3])),
    "pad with axes": lambda g, x: g("Pad", x, np.array([1, 2]), np.float32(0), np.array([-1])),
    "reflecting pad": lambda g, x: g(
        "Pad", x, np.array([0, 0, 2, 1, 0, 0, 1, 0]), mode="reflect"
    ),
    "edge pad": lambda g, x: g("Pad", x, np.array([0, 0, 2, 1, 0, 0, 1, 0]), mode="edge"),
    "identity": lambda g, x: g("Identity", x),
}


@pytest.mark.parametrize("kind", MOVES)
@pytest.mark.parametrize("scale", [0.5, 0.25])
def test_moves_equal_onnxruntime(kind, scale, rng):
    graph = QdqGraph()
    output = graph.quantize(
        MOVES[kind](graph, graph.stored("x", (1, 4, 5, 6), 0.5, 77)), scale, 60
    )
    model = graph.model(output)
    (step,) = recognize(model.graph).steps
    assert not isinstance(step, ir.Node)
    feeds = {"x": stored_numbers(rng, (1, 4, 5, 6))}
    np.testing.assert_array_equal(
        run_reference(model, feeds)[output], run_model(model, feeds)[output]
    )


def test_split_concat_and_maximum_equal_onnxruntime(rng):
    graph = QdqGraph()
    x = graph.stored("x", (1, 5, 7, 7), 0.5, 77)
    first, second = graph("Split", x, np.array([2, 3]), outputs=2, axis=1)
    first = graph.dequantize(graph.quantize(first, 0.5, 77), 0.5, 77)
    second = graph.dequantize(graph.quantize(second, 1.0, 30), 1.0, 30)
    pooled = graph("MaxPool", first, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    pooled = graph.dequantize(graph.quantize(pooled, 0.5, 77), 0.5, 77)
    ceiled = graph("MaxPool", second, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    ceiled = graph.dequantize(graph.quantize(ceiled, 1.0, 30), 1.0, 30)
    output = graph.quantize(graph("Concat", pooled, ceiled, axis=1), 0.75, 50)
    model = graph.model(output)
    assert not any(isinstance(s, ir.Node) for s in recognize(model.graph).steps)
    feeds = {"x": stored_numbers(rng, (1, 5, 7, 7))}
    np.testing.assert_array_equal(
        run_reference(model, feeds)[output], run_model(model, feeds)[output]
    )


@pytest.mark.parametrize("operator", ["Sigmoid", "Tanh", "HardSwish", "Gelu", "Exp", "Erf"])
def test_functions_are_within_one_step_of_onnxruntime(operator):
    graph = QdqGraph()
    result = graph(operator, graph.stored("x", (256,), 0.03, 120))
    output = graph.quantize(result, 1 / 100, 120)
    feeds = {"x": np.arange(256, dtype=np.uint8)}
    model = graph.model(output)
    found = run_reference(model, feeds)[output].astype(int)
    assert np.abs(found - run_model(model, feeds)[output]).max() <= 1


def test_int8_activations(rng):
    graph = QdqGraph()
    x = graph.stored("x", (4, 6), 0.5, -7, np.int8)
    product = graph("MatMul", x, graph.weight(weights(rng, 6, 3), 0.25))
    output = graph.quantize(product, 8.0, 11, np.int8)
    feeds = {"x": stored_numbers(rng, (4, 6), np.int8)}
    model = graph.model(output)
    np.testing.assert_array_equal(
        run_reference(model, feeds)[output], run_model(model, feeds)[output]
    )
