"""Insertion of Quantize and Dequantize: what becomes integer, what stays float, and why."""

import hypothesis
import numpy as np
import onnx_ir as ir
import pytest
from helpers.graphs import Graph, normal
from helpers.quantized import (
    check_meaning,
    edges,
    integer_types,
    network,
    quantized,
    signal_to_noise,
)
from hypothesis import strategies as st

from edgecomp.calibrate.ranges import Range
from edgecomp.graph.edit import remove_unused
from edgecomp.graph.integer_operators import (
    IntegerOperator,
    IntegerProduct,
)
from edgecomp.graph.qdq import recognize
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.graph.source import source_of
from edgecomp.graph.text import to_text
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.outcome import Numerics
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import decide_scope, values_to_observe
from edgecomp.reference.interpreter import run_reference


def test_the_whole_chain_becomes_integer(rng):
    model = network(rng)
    result, each = quantized(model)
    integer, left = integer_types(result)
    assert integer == [
        "Conv",
        "MaxPool",
        "Conv",
        "Add",
        "Conv",
        "Concat",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
    ]
    assert left == ["Softmax"]
    # One edge in; the classifier gives float, so none comes out.
    assert edges(result) == {"QuantizeLinear": 1}
    assert each.refusals == {}
    check_meaning(model, result)


def test_every_dequantize_has_one_reader_and_every_node_a_source(rng):
    model = network(rng)
    result, _ = quantized(model)
    for node in result.graph:
        assert source_of(node).startswith("net.py:")
        if node.op_type == "DequantizeLinear":
            assert len(node.outputs[0].uses()) == 1
    names = [node.name for node in result.graph]
    assert len(names) == len(set(names))


def test_a_second_run_changes_nothing(rng):
    model = network(rng)
    result, each = quantized(model)
    before = to_text(result)
    outcome = each(result)
    assert not outcome.modified
    assert to_text(result) == before
    assert each.numerics is Numerics.QUANTIZED


def test_text(golden):
    graph = Graph()
    x = graph.input("x", (1, 2, 4, 4))
    weight = np.arange(-36, 36, dtype=np.float32).reshape(4, 2, 3, 3) / 8
    y = graph("Conv", x, weight, np.array([1, -1, 0.5, 0], np.float32), pads=[1] * 4)
    y = graph("MaxPool", graph("Relu", y), kernel_shape=[2, 2])
    output = graph("Gemm", graph("Flatten", y), np.eye(36, 3, dtype=np.float32))
    model = graph.model(output)
    ranges = {"x": Range(-1.0, 1.0), "v1": Range(-4.0, 63.75)}
    result, _ = quantized(model, ranges=ranges)
    golden(to_text(result))


def test_weights_and_biases_are_what_numerics_says(rng):
    graph = Graph()
    weight, bias = normal(rng, 3, 4, 1, 1), normal(rng, 3)
    output = graph("Conv", graph.input("x", (1, 4, 5, 5)), weight, bias)
    result, _ = quantized(graph.model(output), ranges={"x": Range(0.0, 2.55)})
    (product,) = (s for s in recognize(result.graph).steps if isinstance(s, IntegerProduct))
    scale_w = np.abs(weight).max(axis=(1, 2, 3)).astype(np.float64) / 127
    np.testing.assert_array_equal(
        product.weight, np.rint(weight / np.float32(scale_w).reshape(-1, 1, 1, 1))
    )
    unit = np.float64(product.inputs[0].affine.scale) * np.float32(scale_w)
    np.testing.assert_array_equal(product.bias, np.rint(bias / unit))


# Where numbers are shared


def test_shared_weights_are_stored_once(rng):
    graph = Graph()
    weight = graph.constant(normal(rng, 4, 4, 1, 1), "shared")
    x = graph("Relu", graph("Conv", graph.input("x", (1, 4, 5, 5)), weight))
    model = graph.model(graph("Conv", x, weight))
    result, _ = quantized(model)
    stored = [v for v in result.graph.initializers.values() if v.const_value.size == 16]
    assert len(stored) == 1
    assert len(stored[0].uses()) == 2
    check_meaning(model, result)


def test_squeeze_and_excitation_with_a_swish(rng):
    graph = Graph()
    x = graph("Conv", graph.input("x", (1, 4, 6, 6)), normal(rng, 8, 4, 1, 1))
    x = graph("Mul", x, graph("Sigmoid", x))
    gate = graph("GlobalAveragePool", x)
    gate = graph("Relu", graph("Conv", gate, normal(rng, 2, 8, 1, 1)))
    gate = graph("HardSigmoid", graph("Conv", gate, normal(rng, 8, 2, 1, 1)))
    model = graph.model(graph("Conv", graph("Mul", x, gate), normal(rng, 3, 8, 1, 1)))
    result, _ = quantized(model)
    integer, left = integer_types(result)
    assert left == []
    assert integer.count("Mul") == 2
    check_meaning(model, result, least_db=20)


def gated(rng, *, elsewhere=False):
    """A product, x times what a Sigmoid makes of it, a product."""
    graph = Graph()
    x = graph("Conv", graph.input("x", (1, 4, 6, 6)), normal(rng, 8, 4, 1, 1), name="first")
    gate = graph("Sigmoid", x, name="gate")
    y = graph("Mul", gate, x, name="product")
    y = graph("Conv", y, normal(rng, 3, 8, 1, 1), name="last")
    return graph.model(*((y, gate) if elsewhere else (y,)))


def test_a_gate_is_not_stored_beside_its_product(rng):
    """x * Sigmoid(x) is one function of x: its result is rounded, what it is made of is not."""
    model = gated(rng)
    names = values_to_observe(model.graph, InsertQdqOptions())
    assert [model.graph.node(name).outputs[0].name for name in ("first", "product")] == names[
        1:
    ]
    result, each = quantized(model)
    assert [type(s).__name__ for s in recognize(result.graph).steps] == [
        "Node",
        "IntegerProduct",
        "StoredTable",
        "IntegerProduct",
    ]
    assert each.refusals == {}
    check_meaning(model, result)


@pytest.mark.parametrize("options", [{"nodes_to_exclude": ("gate",)}, {}])
def test_a_gate_that_is_wanted_by_itself_is_stored(rng, options):
    """Excluded, or read by something else: the product multiplies two stored values."""
    model = gated(rng, elsewhere=not options)
    result, _ = quantized(model, **options)
    assert integer_types(result) == (["Conv", "Sigmoid", "Mul", "Conv"], [])
    check_meaning(model, result)


def stream(rng, *, stored=False):
    """A function of a product's result, which a product and a residual sum read."""
    graph = Graph()
    x = graph.input("x", (1, 6, 16))
    x = graph("MatMul", x, normal(rng, 16, 16) / 4, name="first")
    if stored:
        x = graph("Add", x, graph("MatMul", x, normal(rng, 16, 16) / 4))
    x = graph("Mul", x, graph("Sigmoid", x, name="gate"), name="swish")
    y = graph("MatMul", x, normal(rng, 16, 16) / 4, name="second")
    y = graph("Add", x, y, name="sum")
    y = graph("LayerNormalization", y, np.ones(16, "f4"), np.zeros(16, "f4"))
    return graph.model(graph("MatMul", y, normal(rng, 16, 4) / 4, name="last"))


def test_what_a_residual_stream_begins_with_is_not_rounded(rng):
    """The sum reads what the function makes in float, the product its 8 bits."""
    model = stream(rng)
    result, each = quantized(model)
    integer, left = integer_types(result)
    assert integer == ["MatMul"] * 3
    assert left == ["Sigmoid", "Mul", "Add", "LayerNormalization"]
    assert each.refusals["swish"] == "something else reads its result in float"
    readers = {node.name: node for node in result.graph}
    assert readers["sum"].inputs[0] is readers["swish"].outputs[0]
    assert readers["second"].inputs[0].producer().op_type == "DequantizeLinear"
    check_meaning(model, result)


def test_a_function_of_a_stored_sum_stays_integer(rng):
    """Its argument has 8 bits whatever it is: floats would gain nothing."""
    result, each = quantized(stream(rng, stored=True))
    assert "Mul" in integer_types(result)[0]
    assert "swish" not in each.refusals


def test_a_product_in_sixteen_bits_has_no_table_with_its_gate(rng):
    model = gated(rng)
    names = frozenset(node.name for node in model.graph)
    result, each = quantized(model, wide_activations=names)
    integer, left = integer_types(result)
    assert (integer, left) == (["Conv", "Mul", "Conv"], ["Sigmoid"])
    assert set(each.refusals) == {"gate"}


def test_split_slices_and_nearest_resize(rng):
    graph = Graph()
    x = graph("Conv", graph.input("x", (1, 3, 6, 6)), normal(rng, 8, 3, 1, 1))
    first, second = graph("Split", x, outputs=2, axis=1, num_outputs=2)
    second = graph("Resize", second, "", np.array([1, 1, 2, 2], np.float32), mode="nearest")
    second = graph("Slice", second, np.array([0, 0]), np.array([6, 6]), np.array([2, 3]))
    model = graph.model(graph("Conv", graph("Sub", first, second), normal(rng, 2, 4, 3, 3)))
    result, _ = quantized(model)
    assert integer_types(result) == (["Conv", "Split", "Resize", "Slice", "Sub", "Conv"], [])
    check_meaning(model, result)


def test_a_constant_operand_is_stored_and_a_constant_number_makes_a_table(rng):
    graph = Graph()
    x = graph("Conv", graph.input("x", (1, 4, 5, 5)), normal(rng, 4, 4, 1, 1))
    x = graph("Mul", x, normal(rng, 4, 1, 1))
    x = graph("Add", x, np.float32(0.5))
    model = graph.model(graph("Conv", x, normal(rng, 4, 4, 1, 1)))
    result, _ = quantized(model)
    steps = [type(s).__name__ for s in recognize(result.graph).steps]
    assert steps == [
        "Node",
        "IntegerProduct",
        "IntegerMultiply",
        "StoredTable",
        "IntegerProduct",
    ]
    check_meaning(model, result)


# What stays float


def test_a_residual_stream_between_normalizations_stays_float(rng):
    graph = Graph()
    x = stream = graph.input("x", (1, 7, 16))
    for _ in range(2):
        norm = graph("LayerNormalization", stream, np.ones(16, "f4"), np.zeros(16, "f4"))
        hidden = graph("Add", graph("MatMul", norm, normal(rng, 16, 32)), normal(rng, 32))
        hidden = graph("Gelu", hidden)
        hidden = graph(
            "Add", graph("MatMul", hidden, normal(rng, 32, 16) / 8), normal(rng, 16)
        )
        stream = graph("Add", stream, hidden)
    model = graph.model(stream)
    assert x == "x"
    result, each = quantized(model)
    integer, left = integer_types(result)
    assert integer == ["MatMul", "Gelu", "MatMul"] * 2
    assert left == ["LayerNormalization", "Add"] * 2
    assert set(each.refusals.values()) == {"no integer operator lies on both sides of it"}
    check_meaning(model, result)


def test_float_readers_of_a_stored_value_read_it_dequantized(rng):
    graph = Graph()
    x = graph("Conv", graph.input("x", (1, 4, 6, 6)), normal(rng, 4, 4, 1, 1))
    outputs = graph("Conv", x, normal(rng, 2, 4, 1, 1)), graph("Softmax", x, axis=1), x
    model = graph.model(*outputs)
    result, _ = quantized(model)
    assert [v.name for v in result.graph.outputs] == list(outputs)
    assert all(v.dtype == ir.DataType.FLOAT for v in result.graph.outputs)
    assert edges(result) == {"QuantizeLinear": 1, "DequantizeLinear": 2}
    check_meaning(model, result)


def test_outputs_can_stay_stored(rng):
    graph = Graph()
    x = graph("Conv", graph.input("x", (1, 4, 6, 6)), normal(rng, 4, 4, 1, 1))
    output = graph("Relu", x)
    model = graph.model(output)
    options = InsertQdqOptions(quantize_outputs=True)
    assert values_to_observe(model.graph, options) == ["x", output]
    result, _ = quantized(model, quantize_outputs=True)
    (value,) = result.graph.outputs
    assert (value.name, value.dtype) == (output, ir.DataType.UINT8)
    stored = run_reference(result, random_feeds(model, 1))[output]
    assert stored.dtype == np.uint8
    affine = recognize(result.graph).steps[1].output.affine
    real = run_model(model, random_feeds(model, 1))[output]
    back = (stored.astype(np.float64) - affine.zero_point) * affine.scale
    assert signal_to_noise(back, real) > 25


def test_a_function_of_a_product_that_is_an_output_can_stay_stored(rng):
    """Nothing reads it in float there, so that it has a table like any other."""
    graph = Graph()
    x = graph("Conv", graph.input("x", (1, 4, 6, 6)), normal(rng, 4, 4, 1, 1))
    output = graph("Sigmoid", x)
    model = graph.model(output)
    options = InsertQdqOptions(quantize_outputs=True)
    assert values_to_observe(model.graph, options) == ["x", x, output]
    result, each = quantized(model, quantize_outputs=True)
    assert integer_types(result) == (["Conv", "Sigmoid"], [])
    assert each.refusals == {}
    (value,) = result.graph.outputs
    assert (value.name, value.dtype) == (output, ir.DataType.UINT8)
    affine = recognize(result.graph).steps[-1].output.affine
    real = run_model(model, random_feeds(model, 1))[output]
    stored = run_reference(result, random_feeds(model, 1))[output]
    back = (stored.astype(np.float64) - affine.zero_point) * affine.scale
    assert signal_to_noise(back, real) > 25


def test_the_operator_set_must_have_per_channel_quantization(rng):
    graph = Graph(opset=12)
    output = graph("Conv", graph.input("x", (1, 4, 6, 6)), normal(rng, 4, 4, 1, 1))
    with pytest.raises(ir.passes.PreconditionError, match="opset >= 13"):
        InsertQdqPass({})(graph.model(output))


# Any network


ONE_INPUT = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "max": ("MaxPool", {"kernel_shape": [3, 3], "pads": [1] * 4}),
    "average": (
        "AveragePool",
        {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1},
    ),
    "transpose": ("Transpose", {"perm": [0, 1, 3, 2]}),
    "softmax": ("Softmax", {"axis": 1}),
}


def add_node(graph, rng, kind, a, b):
    """One more value of shape [1, 4, 6, 6]; ``b`` is read by operators of two inputs."""
    if kind in ONE_INPUT:
        operator, attributes = ONE_INPUT[kind]
        return graph(operator, a, **attributes)
    match kind:
        case "conv":
            return graph("Conv", a, normal(rng, 4, 4, 1, 1) / 2, normal(rng, 4))
        case "depthwise":
            return graph("Conv", a, normal(rng, 4, 1, 3, 3) / 3, group=4, pads=[1] * 4)
        case "clip":
            return graph("Clip", a, np.float32(-1), np.float32(1))
        case "layer norm":
            return graph("LayerNormalization", a, np.ones(6, "f4"))
        case "concat":
            joined = graph("Concat", a, b, axis=1)
            return graph("Slice", joined, np.array([2]), np.array([6]), np.array([1]))
        case _:
            return graph(kind, a, b)


KINDS = [*ONE_INPUT, "conv", "depthwise", "clip", "layer norm", "concat", "Add", "Mul", "Sub"]


@st.composite
def networks(draw):
    """A random graph of operators with an integer form and some without."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    graph = Graph()
    values = [graph.input("x", (1, 4, 6, 6))]
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=8)):
        a, b = (values[draw(st.integers(0, len(values) - 1))] for _ in range(2))
        values.append(add_node(graph, rng, kind, a, b))
    outputs = {values[-1], values[draw(st.integers(1, len(values) - 1))]}
    model = graph.model(*sorted(outputs))
    remove_unused(model)
    return model


@hypothesis.given(networks())
def test_all_that_is_chosen_is_recognized_and_means_the_same(model):
    result, each = quantized(model, seeds=range(2))
    hypothesis.note(str(each.refusals) + to_text(model))
    scope = decide_scope(model.graph, InsertQdqOptions(), lambda _: "")
    steps = recognize(result.graph).steps
    integer = [s.node.name for s in steps if isinstance(s, IntegerOperator)]
    assert integer == [block.node.name for block in scope.blocks]
    for node in result.graph:
        if node.op_type == "DequantizeLinear":
            assert len(node.outputs[0].uses()) + node.outputs[0].is_graph_output() == 1
    feeds = random_feeds(model, 5)
    expected = run_model(result, feeds)
    for name, array in run_reference(result, feeds).items():
        assert array.shape == expected[name].shape
        extent = float(np.ptp(expected[name])) or 1.0
        assert np.abs(array - expected[name]).max() <= 0.1 * extent
