"""Weights of few bits in a graph: types, blocks, what runs the file, what stays."""

import hypothesis
import numpy as np
import onnx_ir as ir
import pytest
from helpers.graphs import Graph, normal
from helpers.plans import PlanRunner
from hypothesis import strategies as st

from edgecomp.compress.grid import WeightForm
from edgecomp.compress.round_to_nearest import round_to_nearest
from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.packed_weights import weight_matrix
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.graph.source import source_of
from edgecomp.graph.verify import verify
from edgecomp.lower.lower import lower
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.store_weights import StoreWeightsPass
from edgecomp.passes.weight_scope import require_group, weight_scope


def net(rng, *, depth=48, columns=20, rows=3, operator="MatMul", turned=False, opset=21):
    g = Graph(opset)
    x = g.input("x", (rows, depth) if operator == "Gemm" else (2, rows, depth))
    weight = normal(rng, *((columns, depth) if turned else (depth, columns)))
    if operator == "Gemm":
        result = g(operator, x, weight, normal(rng, columns), name="p", transB=int(turned))
    else:
        result = g("Add", g(operator, x, weight, name="p"), normal(rng, columns))
    return g.model(g("Relu", result))


def stored(model, **form):
    """The model with stored weights, and float64 of what it should give."""
    form = WeightForm(**form)
    product = next(node for node in model.graph if node.name == "p")
    weights = round_to_nearest(weight_matrix(product).astype(np.float64), form)
    exact = model.clone()
    for node in exact.graph:
        if node.name == "p":
            real = weights.real()
            value = node.inputs[1]
            value.const_value = ir.tensor(
                real.T.copy() if node.attributes.get_int("transB", 0) else real
            )
    each = StoreWeightsPass({"p": weights})
    assert each(model).applied == 1
    verify(model)
    assert not each(model).modified
    return model, exact


@hypothesis.settings(max_examples=12)
@hypothesis.given(
    bits=st.sampled_from([1, 2, 3, 4, 8]),
    group=st.sampled_from([0, 16, 32, 64]),
    symmetric=st.booleans(),
    operator=st.sampled_from(["MatMul", "Gemm", "turned"]),
    depth=st.sampled_from([16, 48, 100]),
    columns=st.integers(1, 70),
    rows=st.sampled_from([1, 3, 9]),
    opset=st.sampled_from([21, 25]),
)
def test_onnxruntime_and_kernels_compute_the_same(
    bits, group, symmetric, operator, depth, columns, rows, opset
):
    turned = operator == "turned"
    model = net(
        np.random.default_rng(0), depth=depth, columns=columns, rows=rows, turned=turned,
        operator="Gemm" if turned else operator, opset=opset,
    )  # fmt: skip
    model, exact = stored(model, bits=bits, group=group, symmetric=symmetric)
    feeds = random_feeds(model, 1)
    (wanted,) = run_model(exact, feeds).values()
    (by_file,) = run_model(model, feeds).values()
    scale = np.abs(wanted).max() or 1.0
    np.testing.assert_allclose(by_file, wanted, atol=2e-5 * scale)
    lowered = lower(model, load_target("host"), name="m", workers=1)
    assert not lowered.fallbacks
    (found,) = PlanRunner(lowered.plan).run(feeds).values()
    np.testing.assert_allclose(found, wanted, atol=2e-5 * scale)


@pytest.mark.parametrize(
    ("bits", "opset", "symmetric", "dtype"),
    [
        (2, 21, True, "INT4"), (2, 25, True, "INT2"), (2, 25, False, "UINT2"),
        (3, 25, True, "INT4"), (4, 21, True, "INT4"), (4, 21, False, "UINT4"),
        (8, 21, True, "INT8"), (8, 21, False, "UINT8"),
    ],
)  # fmt: skip
def test_types(bits, opset, symmetric, dtype, rng):
    model, _ = stored(net(rng, opset=opset), bits=bits, group=16, symmetric=symmetric)
    node = next(n for n in model.graph if n.op_type == "DequantizeLinear")
    assert node.inputs[0].dtype == ir.DataType[dtype]
    assert len(node.inputs) == (2 if symmetric else 3)
    assert node.attributes.get_int("block_size") == 16
    assert source_of(node) == "net.py:0"
    assert [n.op_type for n in model.graph] == ["DequantizeLinear", "MatMul", "Add", "Relu"]
    assert all(
        v.dtype != ir.DataType.FLOAT or v.shape[0] != 48
        for v in model.graph.initializers.values()
    )


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_bytes_in_the_bundle(bits, rng):
    model, _ = stored(net(rng, depth=512, columns=256, rows=1), bits=bits, group=64)
    plan = lower(model, load_target("host"), name="m", workers=1).plan
    stored_bits = {1: 1, 2: 2, 3: 3.5, 4: 4}[bits]  # 10 numbers of 3 bits in a word
    assert len(plan.weights) * 8 / (512 * 256) < stored_bits + 32 / 64 + 0.1


def test_a_matrix_of_two_products_is_one_initializer(rng):
    g = Graph()
    x, weight = g.input("x", (4, 32)), g.constant(normal(rng, 32, 32), "w")
    model = g.model(g("MatMul", g("MatMul", x, weight, name="a"), weight, name="b"))
    weights = round_to_nearest(
        weight_matrix(model.graph[0]).astype(np.float64), WeightForm(bits=4, group=16)
    )
    StoreWeightsPass({"a": weights, "b": weights})(model)
    verify(model)
    assert set(model.graph.initializers) == {"w_stored", "w_scale"}


def test_float_weights_stay_for_who_else_reads_them(rng):
    g = Graph()
    x, weight = g.input("x", (4, 32)), g.constant(normal(rng, 32, 32), "w")
    rows = g("Gather", weight, g.input("rows", (2,), np.int64))
    model = g.model(g("MatMul", x, weight, name="p"), rows)
    stored(model, bits=4, group=16)
    assert "w" in model.graph.initializers


def test_old_operator_sets_are_refused(rng):
    with pytest.raises(ir.passes.PreconditionError):
        StoreWeightsPass({})(net(rng, opset=18))


def scope_net(rng):
    g = Graph()
    x = g.input("x", (1, 8, 6, 6))
    conv = g("Conv", x, normal(rng, 8, 8, 1, 1), name="conv")
    flat = g("Flatten", conv)
    up = g("Gemm", flat, normal(rng, 288, 40), normal(rng, 40), name="up")
    down = g("MatMul", up, normal(rng, 40, 10), name="down")
    vector = g(
        "MatMul",
        g("ReduceSum", up, np.array([0]), keepdims=0),
        normal(rng, 40, 3),
        name="vector",
    )
    return g.model(down, vector)


def test_scope(rng):
    model = scope_net(rng)
    scope = weight_scope(model, InsertQdqOptions())
    assert [node.name for node in scope.products] == ["up", "down"]
    assert {r.node for r in scope.refusals} == {"conv", "vector"}
    scope = weight_scope(model, InsertQdqOptions(nodes_to_exclude=("re:u.*",)))
    assert [node.name for node in scope.products] == ["down"]
    scope = weight_scope(model, InsertQdqOptions(op_types_to_quantize=("Gemm",)))
    assert [node.name for node in scope.products] == ["up"]


@pytest.mark.parametrize(
    ("options", "cause", "hint"),
    [
        ({"nodes_to_exclude": ("upp",)}, "no node is named 'upp'", "up"),
        ({"nodes_to_exclude": ("re:z",)}, "no node matches", ""),
        ({"op_types_to_quantize": ("Gem",)}, "'Gem' has no weights", "Gemm"),
    ],
)
def test_scope_of_what_is_not_there(options, cause, hint, rng):
    with pytest.raises(EdgecompError) as caught:
        weight_scope(scope_net(rng), InsertQdqOptions(**options))
    assert caught.value.code is Code.USAGE
    assert cause in caught.value.cause
    assert hint in caught.value.hint


def test_a_group_that_does_not_divide(rng):
    g = Graph()
    x = g.input("x", (4, 96))
    hidden = g("MatMul", x, normal(rng, 96, 192), name="a")
    model = g.model(g("MatMul", hidden, normal(rng, 192, 8), name="b"))
    products = list(model.graph)
    require_group(products, 32)
    with pytest.raises(EdgecompError) as caught:
        require_group(products, 64)
    assert caught.value.code is Code.USAGE
    assert "--group-size 64 does not divide the 96 inputs of 'a'" in caught.value.cause
    assert caught.value.hint.startswith("use 48 or 96, of which every layer has a multiple")
