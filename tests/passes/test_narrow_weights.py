"""Weights as floats of 16 and 8 bits in a graph: what is stored, what stays, what runs the file."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from helpers.graphs import Graph, normal
from helpers.plans import PlanRunner

from edgecomp.compress.narrow import narrowed, real
from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.narrow_weights import has_narrow_weights, output_axis
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.graph.source import source_of
from edgecomp.graph.verify import verify
from edgecomp.lower.lower import lower
from edgecomp.passes.narrow_scope import narrow_scope
from edgecomp.passes.narrow_weights import NarrowWeightsPass
from edgecomp.passes.quantization_options import InsertQdqOptions

TYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}


def net(rng, *, largest=1.0):
    """A convolution with and one without groups, a product, a Gemm that lies turned."""
    g = Graph()
    x = g.input("x", (1, 6, 8, 9))
    first = normal(rng, 10, 6, 3, 3)
    first[0, 0, 0, 0] = largest
    image = g("Conv", x, first, normal(rng, 10), name="conv", pads=[1, 1, 1, 1])
    image = g("Conv", image, normal(rng, 10, 1, 3, 3), name="depthwise", group=10)
    rows = g("MatMul", image, normal(rng, 7, 11), name="product")
    flat = g("Flatten", rows)
    return g.model(g("Gemm", flat, normal(rng, 5, 660), normal(rng, 5), name="gemm", transB=1))


WIDENING = {2: "Cast", 1: "DequantizeLinear"}
NAMES = ("conv", "depthwise", "product", "gemm")


def stored(model, names, dtype, *, per_channel=True):
    """Weights of nodes for the pass, and float32 of what they then are."""
    weights, rounded = {}, {}
    for node in model.graph:
        if node.name in names:
            index = 0 if node.op_type == "Gather" else 1
            axis = output_axis(node) if per_channel and index else None
            array = node.inputs[index].const_value.numpy()
            weights[node.name] = narrowed(array, dtype, axis)
            rounded[node.name] = real(weights[node.name], axis)
    return weights, rounded


def with_weights(model, rounded):
    """The model with other float32 weights."""
    exact = model.clone()
    for node in exact.graph:
        if node.name in rounded:
            node.inputs[1].const_value = ir.tensor(rounded[node.name])
    return exact


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
def test_the_file_and_a_bundle_compute_with_the_rounded_weights(dtype, per_channel, rng):
    model = net(rng)
    weights, rounded = stored(model, NAMES, dtype, per_channel=per_channel)
    exact = with_weights(model, rounded)
    each = NarrowWeightsPass(weights)
    assert each(model).applied == len(NAMES)
    verify(model)
    assert not each(model).modified
    assert has_narrow_weights(model)
    kept = [v for v in model.graph.initializers.values() if v.dtype.numpy() == TYPES[dtype]]
    assert len(kept) == len(NAMES)
    assert not [v for v in model.graph.initializers.values() if v.dtype.name == "FLOAT"
                and len(v.shape) > 1]  # fmt: skip
    feeds = random_feeds(exact, seed=1)
    (wanted,) = run_model(exact, feeds).values()
    (found,) = run_model(model, feeds).values()
    atol = 2e-5 * np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, atol=atol)
    lowered = lower(model, load_target("host"), name="net")
    assert not lowered.fallbacks
    (ours,) = PlanRunner(lowered.plan).run(feeds).values()
    np.testing.assert_allclose(ours, wanted, atol=atol)


@pytest.mark.parametrize("dtype", TYPES)
def test_rows_of_a_table_are_widened_behind_it(dtype, rng):
    g = Graph()
    indices = g.input("i", (2, 3), np.int64)
    model = g.model(g("Gather", normal(rng, 20, 7), indices, name="table"))
    output = model.graph.outputs[0].name
    weights, rounded = stored(model, ["table"], dtype)
    assert NarrowWeightsPass(weights)(model).applied == 1
    verify(model)
    assert [node.op_type for node in model.graph] == [
        "Gather",
        WIDENING[np.dtype(TYPES[dtype]).itemsize],
    ]
    assert model.graph.outputs[0].name == output
    feeds = {"i": np.arange(6, dtype=np.int64).reshape(2, 3)}
    wanted = rounded["table"][feeds["i"]]
    np.testing.assert_array_equal(run_model(model, feeds)[output], wanted)
    lowered = lower(model, load_target("host"), name="net")
    (ours,) = PlanRunner(lowered.plan).run(feeds).values()
    np.testing.assert_array_equal(ours, wanted)


def test_nodes_keep_their_source(rng):
    model = net(rng)
    NarrowWeightsPass(stored(model, NAMES, "float8_e5m2")[0])(model)
    for node in model.graph:
        assert source_of(node).startswith("net.py:")


def test_weights_shared_by_products_stay_shared(rng):
    g = Graph()
    weight = g.constant(normal(rng, 8, 8))
    first = g("MatMul", g.input("x", (2, 8)), weight, name="a")
    model = g.model(g("MatMul", first, weight, name="b"))
    one = stored(model, ["a"], "bfloat16")[0]["a"]
    NarrowWeightsPass({"a": one, "b": one})(model)
    assert len(model.graph.initializers) == 1


def test_what_stays_float(rng):
    options = InsertQdqOptions(nodes_to_exclude=("product",))
    scope = narrow_scope(net(rng, largest=1e6), options, "float16")
    reasons = {each.node: each.reason for each in scope.refusals}
    assert reasons == {
        "conv": "its weights reach 1e+06, and float16 ends at 65504",
        "product": "it is excluded by name",
    }
    assert [node.name for node in scope.nodes] == ["depthwise", "gemm"]
    scope = narrow_scope(net(rng, largest=1e6), InsertQdqOptions(), "bfloat16")
    assert not scope.refusals
    only = InsertQdqOptions(op_types_to_quantize=("Gemm",))
    assert [n.name for n in narrow_scope(net(rng), only, "float16").nodes] == ["gemm"]


def test_a_type_without_weights(rng):
    with pytest.raises(EdgecompError) as caught:
        narrow_scope(net(rng), InsertQdqOptions(op_types_to_quantize=("Relu",)), "float16")
    assert caught.value.code is Code.USAGE
