"""Insertion of Quantize and Dequantize: what becomes integer, what stays float, and why."""

import collections

import hypothesis
import numpy as np
import onnx_ir as ir
import pytest
from helpers.graphs import Graph, normal
from hypothesis import strategies as st

from edgecomp.calibrate.observe import collect_ranges
from edgecomp.calibrate.ranges import Range
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.edit import remove_unused
from edgecomp.graph.integer_operators import (
    IntegerOperator,
    IntegerProduct,
    StoredConcat,
    ValueProduct,
)
from edgecomp.graph.qdq import recognize
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.graph.source import source_of
from edgecomp.graph.text import to_text
from edgecomp.graph.verify import verify
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.outcome import Numerics
from edgecomp.passes.quantization_options import InsertQdqOptions, check_options
from edgecomp.passes.quantization_scope import decide_scope, values_to_observe
from edgecomp.reference.interpreter import run_reference


def quantized(model, *, seeds=range(4), ranges=None, **options):
    """A quantized copy, calibrated on random inputs, and the pass."""
    options = InsertQdqOptions(**options)
    if ranges is None:
        feeds = [random_feeds(model, seed) for seed in seeds]
        ranges = collect_ranges(model, feeds, values=values_to_observe(model.graph, options))
    result = model.clone()
    each = InsertQdqPass(ranges, options)
    each(result)
    verify(result)
    return result, each


def integer_types(model):
    """Operator types computed in integers, and those left, without edges."""
    steps = recognize(model.graph).steps
    integer = [s.node.op_type for s in steps if isinstance(s, IntegerOperator)]
    left = [s.op_type for s in steps if isinstance(s, ir.Node)]
    return integer, [t for t in left if t not in ("QuantizeLinear", "DequantizeLinear")]


def edges(model):
    """How many Quantize and Dequantize nodes stay between float and integer."""
    steps = recognize(model.graph).steps
    return collections.Counter(
        s.op_type for s in steps if isinstance(s, ir.Node) and "quantize" in s.op_type.lower()
    )


def signal_to_noise(found, expected):
    error = float(((found.astype(np.float64) - expected) ** 2).sum())
    return 10 * np.log10(float((expected.astype(np.float64) ** 2).sum()) / max(error, 1e-30))


def check_meaning(model, result, *, least_db=25.0):
    """The quantized model means nearly the same; the reference and onnxruntime agree on it."""
    feeds = random_feeds(model, 1)
    expected, found = run_model(model, feeds), run_model(result, feeds)
    exact = run_reference(result, feeds)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert signal_to_noise(found[name], array) > least_db, name
        # Ties fall to either side in onnxruntime's float arithmetic, and travel on.
        assert signal_to_noise(exact[name], found[name]) > least_db, name


def network(rng):
    """Convolutions, a residual sum, pooling, a concat and a classifier."""
    graph = Graph()
    x = graph.input("image", (1, 4, 12, 12))
    x = graph(
        "Clip",
        graph("Conv", x, normal(rng, 8, 4, 3, 3) / 6, normal(rng, 8), pads=[1] * 4),
        np.float32(0),
        np.float32(6),
    )
    pooled = graph("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    deep = graph(
        "Relu", graph("Conv", pooled, normal(rng, 8, 1, 3, 3) / 3, group=8, pads=[1] * 4)
    )
    total = graph("Relu", graph("Add", deep, pooled))
    other = graph("Conv", pooled, normal(rng, 4, 8, 1, 1) / 3)
    joined = graph("Concat", total, other, axis=1)
    mean = graph("Flatten", graph("GlobalAveragePool", joined))
    scores = graph("Gemm", mean, normal(rng, 12, 5), normal(rng, 5))
    return graph.model(graph("Softmax", scores))


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


def test_ranges_stop_at_the_activation():
    graph = Graph()
    first = graph(
        "Relu", graph("Conv", graph.input("x", (1, 1, 4, 4)), np.ones((1, 1, 1, 1), "f4"))
    )
    output = graph("Conv", first, np.ones((1, 1, 1, 1), "f4"))
    ranges = {"x": Range(-1.0, 1.0), first: Range(-7.0, 2.55)}
    result, _ = quantized(graph.model(output), ranges=ranges)
    product = recognize(result.graph).steps[1]
    assert product.output.affine.zero_point == 0
    assert product.output.affine.scale == np.float32(0.01)


# Where numbers are shared


def test_a_concat_shares_one_scale(rng):
    graph = Graph()
    x = graph.input("x", (1, 4, 6, 6))
    parts = [graph("Conv", x, normal(rng, 4, 4, 1, 1) * scale) for scale in (1, 10, 0.1)]
    output = graph("Conv", graph("Concat", *parts, axis=1), normal(rng, 2, 12, 1, 1))
    model = graph.model(output)
    result, _ = quantized(model)
    (concat,) = (s for s in recognize(result.graph).steps if isinstance(s, StoredConcat))
    assert len({t.affine for t in (*concat.inputs, concat.output)}) == 1
    assert concat.tables == (None, None, None)
    check_meaning(model, result)


def test_moves_share_scales_through_to_the_input(rng):
    graph = Graph()
    x = graph("Transpose", graph.input("x", (1, 8, 8, 3)), perm=[0, 3, 1, 2])
    x = graph("Pad", x, np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    output = graph("Conv", x, normal(rng, 2, 3, 3, 3))
    model = graph.model(output)
    result, _ = quantized(model)
    assert integer_types(result) == (["Transpose", "Pad", "Conv"], [])
    assert result.graph.inputs[0].uses()[0].node.op_type == "QuantizeLinear"
    check_meaning(model, result)


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


def test_excluded_nodes_stay_float(rng):
    model = network(rng)
    convolutions = [n.name for n in model.graph if n.op_type == "Conv"]
    result, each = quantized(model, nodes_to_exclude=(convolutions[1],))
    assert integer_types(result)[1].count("Conv") == 1
    assert each.refusals[convolutions[1]] == "it is excluded by name"
    check_meaning(model, result)
    pattern = "re:" + "|".join(convolutions)
    result, _ = quantized(model, nodes_to_exclude=(pattern,))
    assert integer_types(result)[1].count("Conv") == 3


def test_only_some_operators(rng):
    model = network(rng)
    result, _ = quantized(model, op_types_to_quantize=("Conv",))
    assert integer_types(result)[0] == ["Conv"] * 3
    check_meaning(model, result)


def test_one_scale_per_weight_tensor(rng):
    model = network(rng)
    result, _ = quantized(model, per_channel=False)
    products = [s for s in recognize(result.graph).steps if isinstance(s, IntegerProduct)]
    assert len(products) == 4
    assert all(p.multiplier.shape == (1,) for p in products)
    check_meaning(model, result, least_db=20)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"nodes_to_exclude": ("n00",)}, "n0"),
        ({"nodes_to_exclude": ("re:nothing",)}, ""),
        ({"nodes_to_exclude": ("re:(",)}, ""),
        ({"op_types_to_quantize": ("Convv",)}, "Conv"),
    ],
)
def test_options_that_name_nothing(rng, options, hint):
    with pytest.raises(EdgecompError) as caught:
        check_options(network(rng), InsertQdqOptions(**options))
    assert caught.value.code is Code.USAGE
    assert hint in caught.value.hint


def convolution_graph(rng, **attributes):
    graph = Graph()
    x = graph.input("x", (1, 4, 6, 6))
    return graph, graph("Conv", x, normal(rng, 4, 4, 1, 1), name="first", **attributes)


@pytest.mark.parametrize(
    ("ranges", "reason"),
    [
        ({}, "the range of x was not observed"),
        ({"x": Range(0.0, float("nan"))}, "x became infinite or NaN while calibrating"),
    ],
)
def test_ranges_that_cannot_be_used(rng, ranges, reason):
    graph, output = convolution_graph(rng)
    result, each = quantized(graph.model(output), ranges=ranges)
    assert each.refusals == {"first": reason}
    assert integer_types(result) == ([], ["Conv"])


def test_weights_that_cannot_be_stored(rng):
    graph = Graph()
    x = graph.input("x", (2, 70000))
    outputs = [
        graph("MatMul", x, np.ones((70000, 1), "f4")),
        graph("MatMul", graph.input("y", (2, 3)), np.full((3, 1), np.inf, "f4")),
        graph("MatMul", graph.input("a", (2, 3)), graph.input("b", (3, 2))),
        graph("MatMul", graph.input("d", (5, 2, 3)), np.ones((5, 3, 2), "f4")),
        graph("Gemm", graph.input("c", (2, 3)), np.ones((3, 2), "f4"), alpha=2.0),
    ]
    ranges = {name: Range(-1.0, 1.0) for name in "xyabcd"}
    result, each = quantized(graph.model(*outputs), ranges=ranges)
    assert list(each.refusals.values()) == [
        "a sum of 70000 products could overflow int32",
        "its weights are not finite float32 numbers",
        "its sums of 3 products of two values are too few to gain",
        "its weights are not a matrix",
        "its alpha is not 1",
    ]
    assert integer_types(result)[0] == []


def scores(depth):
    graph = Graph()
    operands = graph.input("a", (2, 3, depth)), graph.input("b", (2, depth, 5))
    return graph.model(graph("MatMul", *operands, name="scores"))


def test_a_product_of_two_values_has_a_symmetric_second_operand():
    ranges = {"a": Range(-1.0, 3.0), "b": Range(-0.5, 2.54)}
    result, each = quantized(scores(16), ranges=ranges)
    assert each.refusals == {}
    (product,) = (s for s in recognize(result.graph).steps if isinstance(s, ValueProduct))
    a, b = (tensor.affine for tensor in product.inputs)
    assert (a.zero_point, b.zero_point) == (64, 128)
    assert float(b.scale) == pytest.approx(2.54 / 127)


@pytest.mark.parametrize(
    ("depth", "options", "reason"),
    [
        (15, {}, "its sums of 15 products of two values are too few to gain"),
        (
            515,
            {},
            "its sums of 515 products of two values are too many to be exact in float32",
        ),
        (64, {"value_products": False}, "products of two values have no integer kernel"),
        (64, {"wide_activations": frozenset({"scores"})}, "products of two 16-bit values"),
    ],
)
def test_products_of_two_values_that_stay_float(depth, options, reason):
    ranges = {"a": Range(-1.0, 3.0), "b": Range(-0.5, 2.54)}
    _, each = quantized(scores(depth), ranges=ranges, **options)
    assert reason in each.refusals["scores"]


def test_the_longest_product_of_two_values_is_recognized():
    ranges = {"a": Range(-1.0, 0.0), "b": Range(-0.5, 2.54)}
    result, _ = quantized(scores(514), ranges=ranges)
    (product,) = (s for s in recognize(result.graph).steps if isinstance(s, ValueProduct))
    assert product.inputs[0].affine.zero_point == 255


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
