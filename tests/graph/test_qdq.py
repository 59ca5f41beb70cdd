"""What is recognized as an integer operator, and why not."""

import numpy as np
import onnx_ir as ir
import pytest
from helpers.qdq import QdqGraph, weights

from edgecomp.graph.integer_operators import (
    IntegerAverage,
    IntegerMultiply,
    IntegerProduct,
    IntegerSum,
    StoredConcat,
    StoredMaximum,
    StoredMove,
    StoredTable,
    ValueProduct,
)
from edgecomp.graph.qdq import recognize, value_products


def steps(graph, *outputs):
    """Recognized steps: node types of an operator, or the type of a node that is left."""
    found = recognize(graph.model(*outputs).graph)
    return [
        step.op_type if isinstance(step, ir.Node) else [node.op_type for node in step.nodes]
        for step in found.steps
    ]


def operators(graph, *outputs):
    found = recognize(graph.model(*outputs).graph)
    return [step for step in found.steps if not isinstance(step, ir.Node)]


def refusals(graph, *outputs):
    return [r for r in recognize(graph.model(*outputs).graph).refusals.values() if r]


def image(graph, name="x"):
    return graph.stored(name, (1, 4, 6, 6), 0.1, 10)


def convolution(graph, x, rng, **attributes):
    scale = np.array([0.01, 0.02, 0.03], np.float32)
    weight = graph.weight(weights(rng, 3, 4, 3, 3), scale, axis=0)
    bias = graph.bias([1, -2, 3], np.float32(0.1) * scale)
    return graph("Conv", x, weight, bias, **attributes)


@pytest.mark.parametrize("activation", [None, "Relu", "Clip"])
def test_convolution_with_activation(rng, activation):
    graph = QdqGraph()
    result = convolution(graph, image(graph), rng)
    if activation == "Relu":
        result = graph("Relu", result)
    elif activation == "Clip":
        result = graph("Clip", result, np.float32(-1), np.float32(2))
    (found,) = operators(graph, graph.quantize(result, 0.05, 100))
    assert isinstance(found, IntegerProduct)
    low, high = {None: (0, 255), "Relu": (100, 255), "Clip": (80, 140)}[activation]
    assert (found.requantization.low, found.requantization.high) == (low, high)
    assert found.bias.tolist() == [1, -2, 3]
    expected = np.float64(np.float32(0.1)) * np.float32([0.01, 0.02, 0.03]) / np.float32(0.05)
    np.testing.assert_array_equal(found.multiplier, expected.astype(np.float32))


def value_product(a, b, depth=16, dtype=np.uint8, zeros=(7, 128)):
    graph = QdqGraph()
    return graph, graph(
        "MatMul",
        graph.stored("a", (2, 3, depth), a, zeros[0], dtype),
        graph.stored("b", (2, depth, 5), b, zeros[1], dtype),
    )


def test_a_product_of_two_values_stays_float():
    graph, y = value_product(0.1, 0.3)
    (found,) = operators(graph, graph.quantize(y, 0.05, 100))
    assert isinstance(found, ValueProduct)
    assert found.output is None
    assert [node.op_type for node in found.nodes] == ["MatMul"]
    expected = np.float64(np.float32(0.1)) * np.float64(np.float32(0.3))
    assert found.multiplier.tolist() == [np.float32(expected)]


def test_products_of_two_values_that_are_none_at_the_largest_sizes_are_float():
    graph, y = value_product(0.1, 0.3)
    model = graph.model(y)
    assert value_products(model) == {"n2"}
    (found,) = recognize(model.graph, value_products={"n2"}).steps
    assert isinstance(found, ValueProduct)
    recognition = recognize(model.graph, value_products={"n1"})
    assert "largest sizes" in recognition.refusals["n2"]
    assert not any(isinstance(step, ValueProduct) for step in recognition.steps)


@pytest.mark.parametrize(
    ("product", "reason"),
    [
        (value_product(0.1, 0.3, 600), "a sum of 600 products may be beyond 2^24"),
        (value_product(0.1, 0.3, 259, zeros=(0, 0)), "a sum of 259 products"),
        (value_product(0.1, 0.3, dtype=np.int16, zeros=(0, 0)), "two 16-bit values"),
    ],
)
def test_products_of_two_values_that_are_no_integers(product, reason):
    (found,) = refusals(*product)
    assert reason in found


def test_a_product_that_is_not_quantized_again_gives_float(rng):
    graph = QdqGraph()
    result = convolution(graph, image(graph), rng)
    (found,) = operators(graph, result)
    assert found.requantization is None
    assert found.output is None
    assert found.result.name == result


def test_two_readers_make_the_result_float(rng):
    graph = QdqGraph()
    result = convolution(graph, image(graph), rng)
    outputs = graph.quantize(result, 0.05, 100), graph("Relu", result)
    assert steps(graph, *outputs) == [["Conv"], "QuantizeLinear", "Relu"]


def test_a_float_bias_is_rounded_to_the_accumulator(rng):
    graph = QdqGraph()
    weight = graph.weight(weights(rng, 2, 4, 1, 1), 0.5)
    result = graph("Conv", image(graph), weight, np.array([1.0, -0.26], np.float32))
    (found,) = operators(graph, graph.quantize(result, 0.05, 100))
    assert found.bias.tolist() == [20, -5]
    assert found.multiplier.shape == (1,)


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_weights_are_rows_by_columns(rng, transposed):
    graph = QdqGraph()
    array = weights(rng, 5, 4)
    weight = graph.weight(
        array.T if transposed else array, np.full(4, 0.5), axis=1 - transposed
    )
    result = graph("Gemm", graph.stored("x", (2, 5), 0.1, 3), weight, transB=transposed)
    (found,) = operators(graph, graph.quantize(result, 0.5, 0))
    np.testing.assert_array_equal(found.weight, array)


@pytest.mark.parametrize(
    ("shape", "is_integer"), [((), True), ((1, 4), True), ((1, 1), True), ((4, 1), False)]
)
def test_a_bias_of_a_gemm_is_the_same_in_every_row(rng, shape, is_integer):
    graph = QdqGraph()
    weight = graph.weight(weights(rng, 5, 4), 0.5)
    bias = rng.standard_normal(shape).astype(np.float32)
    result = graph("Gemm", graph.stored("x", (4, 5), 0.1, 3), weight, bias)
    found = steps(graph, graph.quantize(result, 0.5, 0))
    assert (["Gemm", "QuantizeLinear"] in found) == is_integer


def test_matrix_multiply_takes_the_bias_behind_it(rng):
    graph = QdqGraph()
    x = graph.stored("x", (2, 3, 5), 0.1, 3)
    product = graph("MatMul", x, graph.weight(weights(rng, 5, 4), 0.5))
    result = graph("Relu", graph("Add", graph.bias([1, 2, 3, 4], 0.05), product))
    (found,) = operators(graph, graph.quantize(result, 0.5, 0))
    assert [node.op_type for node in found.nodes] == [
        "MatMul",
        "Add",
        "Relu",
        "QuantizeLinear",
    ]
    assert found.bias.tolist() == [1, 2, 3, 4]


def test_sums_products_and_functions(rng):
    graph = QdqGraph()
    x, y = image(graph), image(graph, "y")
    total = graph.dequantize(graph.quantize(graph("Sub", x, y), 0.2, 128), 0.2, 128)
    scaled = graph.dequantize(graph.quantize(graph("Mul", total, x), 0.2, 128), 0.2, 128)
    result = graph.quantize(graph("Sigmoid", scaled), 1 / 256, 0)
    found = operators(graph, result)
    assert [type(f) for f in found] == [IntegerSum, IntegerMultiply, StoredTable]
    assert found[0].weights.weight_b < 0


@pytest.mark.parametrize("turned", [False, True])
def test_a_gate_and_its_product_are_one_function(turned):
    """Each DequantizeLinear has one reader, as edgecomp writes them; both read one tensor."""
    graph = QdqGraph()
    stored = graph.quantize(graph.input("x", (1, 4, 6, 6)), 0.1, 10)
    x, again = graph.dequantize(stored, 0.1, 10), graph.dequantize(stored, 0.1, 10)
    gate = graph("Sigmoid", again)
    product = graph("Mul", *((gate, x) if turned else (x, gate)))
    (found,) = operators(graph, graph.quantize(product, 0.05, 7))
    assert isinstance(found, StoredTable)
    assert [node.op_type for node in found.nodes] == ["Sigmoid", "Mul", "QuantizeLinear"]
    numbers = np.float32(0.1) * np.float64(np.arange(256) - 10)
    swish = numbers / (1.0 + np.exp(-numbers))
    expected = np.clip(np.rint(swish / np.float32(0.05)) + 7, 0, 255)
    np.testing.assert_array_equal(found.table, expected)


def test_a_gate_of_the_value_in_another_scale_is_no_function():
    graph = QdqGraph()
    stored = graph.quantize(graph.input("x", (1, 4, 6, 6)), 0.1, 10)
    gate = graph("Sigmoid", graph.dequantize(stored, 0.2, 10))
    result = graph("Mul", graph.dequantize(stored, 0.1, 10), gate)
    assert operators(graph, graph.quantize(result, 0.05, 7)) == []


def test_averages():
    graph = QdqGraph()
    x = image(graph)
    outputs = [
        graph("GlobalAveragePool", x),
        graph("ReduceMean", x, np.array([1], np.int64), keepdims=0),
        graph("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]),
        graph("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
    ]
    found = operators(graph, *(graph.quantize(o, 0.1, 10) for o in outputs))
    assert [type(f) for f in found] == [IntegerAverage] * 4
    assert [f.count for f in found] == [36, 4, 4, 9]
    assert [f.axes for f in found] == [(2, 3), (1,), (), ()]


def test_moves_and_concat():
    graph = QdqGraph()
    x = image(graph)
    moved = graph.quantize(graph("Transpose", x, perm=[0, 2, 3, 1]), 0.1, 10)
    rescaled = graph.quantize(
        graph("Slice", x, np.array([1]), np.array([3]), np.array([1])), 0.2, 10
    )
    padded = graph.quantize(graph("Pad", x, np.array([0, 0, 1, 1, 0, 0, 0, 0])), 0.1, 10)
    joined = graph.quantize(graph("Concat", x, image(graph, "y"), axis=-3), 0.1, 10)
    outputs = moved, rescaled, padded, joined
    found = {type(f): f for f in operators(graph, *outputs)}
    assert set(found) == {StoredMove, StoredConcat}
    tables = [f.tables[0] is None for f in operators(graph, *outputs)]
    assert tables == [True, False, True, True]
    assert found[StoredConcat].axis == 1


def test_split_has_several_results():
    graph = QdqGraph()
    first, second = graph("Split", image(graph), outputs=2, axis=1, num_outputs=2)
    outputs = graph.quantize(first, 0.1, 10), graph.quantize(second, 0.2, 10)
    (found,) = operators(graph, *outputs)
    assert [value.name for value in found.results] == list(outputs)
    assert found.tables[0] is None
    assert found.tables[1] is not None


def test_maximum_needs_the_same_scale():
    graph = QdqGraph()
    pooled = graph("MaxPool", image(graph), kernel_shape=[2, 2])
    assert isinstance(operators(graph, graph.quantize(pooled, 0.1, 10))[0], StoredMaximum)
    graph = QdqGraph()
    pooled = graph("MaxPool", image(graph), kernel_shape=[2, 2])
    assert refusals(graph, graph.quantize(pooled, 0.2, 10)) == [
        "its result has another scale, zero point or range than its input"
    ]


def test_a_change_of_scale_alone():
    graph = QdqGraph()
    (found,) = operators(graph, graph.quantize(image(graph), 0.2, 20))
    assert isinstance(found, StoredTable)
    assert found.table[10] == 20


def product_graph(rng, **changes):
    graph = QdqGraph()
    given = {"scale": 0.1, "zero": 10, "weight": weights(rng, 3, 4, 1, 1), "weight_scale": 0.5}
    given.update(changes)
    x = graph.stored("x", (1, 4, 6, 6), given["scale"], given["zero"])
    result = graph("Conv", x, graph.weight(given["weight"], given["weight_scale"]))
    return graph, graph.quantize(result, 0.05, 100)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scale": 0.0}, "not a positive normal number"),
        ({"scale": np.inf}, "not a positive normal number"),
        ({"scale": 1e-40}, "not a positive normal number"),
        ({"weight_scale": np.nan}, "not a positive normal number"),
        ({"scale": 1e30, "weight_scale": 1e20}, "too small for the values"),
    ],
)
def test_unsuitable_numbers_are_refused(rng, changes, reason):
    (found,) = refusals(*product_graph(rng, **changes))
    assert reason in found


def test_a_product_that_could_overflow_is_refused():
    graph = QdqGraph()
    x = graph.stored("x", (1, 70000), 0.1, 10)
    result = graph("MatMul", x, graph.weight(np.full((70000, 1), 127), 0.5))
    assert refusals(graph, graph.quantize(result, 0.05, 100)) == [
        "its accumulator could overflow int32"
    ]


def test_float_structure_is_refused_with_its_reason(rng):
    graph = QdqGraph()
    x = image(graph)
    outputs = [
        graph("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4),
        graph("Resize", x, "", np.array([1, 1, 2, 2], np.float32), mode="linear"),
        graph("Pad", x, np.array([0, 0, 1, 1, 0, 0, 0, 0]), np.float32(1)),
        graph("Softmax", x),
        graph("Max", x, image(graph, "y")),
    ]
    assert refusals(graph, *(graph.quantize(o, 0.1, 10) for o in outputs)) == [
        "its divisor is not the same everywhere",
        "it interpolates",
        "it pads with another number than 0",
        "Softmax has no integer form",
        "it is no function of one variable",
    ]


def test_one_float_operand_keeps_a_sum_float():
    graph = QdqGraph()
    total = graph("Add", image(graph), graph.input("y", (1, 4, 6, 6)))
    outputs = graph.quantize(total, 0.1, 10)
    assert steps(graph, outputs) == ["DequantizeLinear", "Add", "QuantizeLinear"]
    assert refusals(graph, outputs) == ["its input y is not dequantized"]
