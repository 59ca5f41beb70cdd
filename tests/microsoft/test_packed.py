"""Weights of few bits: MatMulNBits and dequantized constants in front of a product."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from helpers.microsoft import check_definition, check_vendor, compiled, vendor_model
from helpers.targets import AVX512
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from edgecomp.device.load import load_target
from edgecomp.errors import EdgecompError
from edgecomp.frontend.load import load_model
from edgecomp.graph.microsoft.packed import unpack
from edgecomp.lower.lower import lower


def nbits(rows, depth, columns, bits, block, *, zeros=None, bias=False, order=False, seed=0):
    """Inputs of MatMulNBits; ``zeros`` is None, "packed" or "real"."""
    rng = np.random.default_rng(seed)
    blocks = -(-depth // block)
    points = {
        None: None,
        "packed": rng.integers(0, 256, (columns, -(-blocks * bits // 8))).astype(np.uint8),
        "real": rng.uniform(0, 2**bits, (columns, blocks)).astype(np.float32),
    }[zeros]
    return {
        "a": rng.standard_normal((2, rows, depth)).astype(np.float32),
        "b": rng.integers(0, 256, (columns, blocks, block * bits // 8)).astype(np.uint8),
        "scales": rng.uniform(0.01, 0.02, (columns, blocks)).astype(np.float32),
        "zeros": points,
        "groups": rng.permutation(np.arange(depth) // block).astype(np.int32)
        if order
        else None,
        "bias": rng.standard_normal(columns).astype(np.float32) if bias else None,
    }


def nbits_model(inputs, bits, block, **attributes):
    columns, depth = inputs["b"].shape[0], inputs["a"].shape[-1]
    fixed = [name for name in inputs if name != "a"]
    return vendor_model(
        "MatMulNBits", inputs, fixed=fixed, K=depth, N=columns, bits=bits, block_size=block,
        **attributes,
    )  # fmt: skip


@settings(max_examples=10)
@given(
    rows=st.sampled_from([1, 2, 7]),
    blocks=st.integers(1, 3),
    missing=st.sampled_from([0, 5, 8]),
    columns=st.integers(1, 140),
    bits=st.sampled_from([2, 4, 8]),
    block=st.sampled_from([16, 32, 64, 128]),
    zeros=st.sampled_from([None, "packed"]),
    bias=st.booleans(),
)
def test_matmul_nbits(rows, blocks, missing, columns, bits, block, zeros, bias):
    if bits == 2 and zeros == "packed":
        blocks = (
            4  # onnxruntime reads rows of zero points that end within a byte in another way
        )
    inputs = nbits(
        rows, blocks * block - missing, columns, bits, block, zeros=zeros, bias=bias
    )
    check_vendor(nbits_model(inputs, bits, block), inputs)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_accuracy_levels_compute_in_float32(level):
    inputs = nbits(3, 64, 33, 4, 32)
    check_vendor(nbits_model(inputs, 4, 32, accuracy_level=level), inputs)


def test_the_level_of_8_bit_activations_is_kept_better_than_asked():
    inputs = nbits(3, 64, 33, 4, 32)
    check_vendor(nbits_model(inputs, 4, 32, accuracy_level=4), inputs, relative=0.02)


@pytest.mark.parametrize("zeros", [None, "real"])
@pytest.mark.parametrize("order", [False, True])
def test_zero_points_and_an_order_of_groups(zeros, order):
    inputs = nbits(3, 128, 20, 4, 32, zeros=zeros, order=order)
    check_definition(nbits_model(inputs, 4, 32), inputs)
    check_vendor(nbits_model(inputs, 4, 32), inputs)


def test_packed_zero_points_beside_an_order_of_groups():
    """Against numpy: onnxruntime 1.31 takes other zero points there than its schema says."""
    inputs = nbits(3, 128, 20, 4, 32, zeros="packed", order=True)
    numbers = unpack(inputs["b"].reshape(20, -1), 4).astype(np.float64)
    zeros = unpack(inputs["zeros"], 4)[:, :4].astype(np.float64)
    groups = inputs["groups"]
    weights = (numbers - zeros[:, groups]) * inputs["scales"][:, groups]
    (found,), fallbacks = compiled(nbits_model(inputs, 4, 32), inputs)
    assert not fallbacks
    np.testing.assert_allclose(found, inputs["a"] @ weights.T, atol=2e-5)


def dequantized_product(
    stored, scale, zero, x, *, operator="MatMul", transpose=False, **blocks
):
    """``x`` times a dequantized constant."""
    given = {"w": stored, "s": scale, "z": zero}
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in given.items()]
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["real"], **blocks)]
    weight = "real"
    if transpose and operator == "MatMul":
        nodes.append(helper.make_node("Transpose", ["real"], ["turned"], perm=[1, 0]))
        weight = "turned"
    attributes = {"transB": int(transpose)} if operator == "Gemm" else {}
    nodes.append(helper.make_node(operator, ["x", weight], ["y"], **attributes))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [onnx.ValueInfoProto(name="y")], constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@settings(max_examples=8)
@given(
    kind=st.sampled_from(["int4", "uint4", "int8", "uint8"]),
    form=st.sampled_from(["blocks", "columns", "one"]),
    transpose=st.booleans(),
    operator=st.sampled_from(["MatMul", "Gemm"]),
    rows=st.sampled_from([1, 6]),
)
def test_dequantized_constants(kind, form, transpose, operator, rows):
    rng = np.random.default_rng(0)
    dtype = np.dtype(getattr(ml_dtypes, kind, kind))
    least, most = {"int4": (-8, 7), "uint4": (0, 15), "int8": (-128, 127), "uint8": (0, 255)}[
        kind
    ]
    depth, columns = 64, 37
    stored = rng.integers(least, most + 1, (depth, columns))
    shape = {"blocks": (2, columns), "columns": (columns,), "one": ()}[form]
    scale = rng.uniform(0.01, 0.02, shape).astype(np.float32)
    zero = rng.integers(least, most + 1, shape)
    attributes = {"blocks": {"axis": 0, "block_size": 32}, "columns": {"axis": 1}, "one": {}}[
        form
    ]
    if transpose:
        stored, scale, zero = stored.T, scale.T, zero.T
        attributes = {**attributes, **({"axis": 1 - attributes["axis"]} if attributes else {})}
    x = rng.standard_normal((rows, depth)).astype(np.float32)
    model = dequantized_product(
        np.ascontiguousarray(stored).astype(dtype), scale, np.asarray(zero).astype(dtype), x,
        operator=operator, transpose=transpose, **attributes,
    )  # fmt: skip
    check_vendor(model, {"x": x})


def test_the_weights_stay_packed():
    inputs = nbits(1, 512, 256, 4, 128)
    model = nbits_model(inputs, 4, 128)
    for target in (load_target("host"), AVX512):
        plan = lower(load_model(model), target, name="m", workers=1).plan
        assert len(plan.weights) * 8 / (512 * 256) < 4.5


def test_a_product_takes_its_bias_and_activation():
    inputs = nbits(1, 64, 40, 4, 32, bias=True)
    model = nbits_model(inputs, 4, 32)
    model.graph.node[0].output[0] = "p"
    model.graph.node.append(helper.make_node("Relu", ["p"], ["y0"]))
    check_vendor(model, inputs)
    found, fallbacks = compiled(model, inputs)
    assert not fallbacks
    plan = lower(load_model(model), load_target("host"), name="m", workers=1).plan
    assert {call.schedule for call in plan.calls} == {"packed_matrix_multiply"}
    assert found[0].min() >= 0


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"K": 128}, "input 1 of MatMulNBits has 256 elements, not 512"),
        ({"N": 7}, "input 1 of MatMulNBits has 256 elements, not 224"),
        ({"block_size": 0}, "block_size 0"),
        ({"block_size": -32}, "block_size -32"),
        ({"K": 0}, "K 0"),
        ({"scales": np.ones(5, np.float32)}, "input 2 of MatMulNBits has 5 elements, not 16"),
        ({"zeros": np.ones(16, np.uint8)}, "input 3 of MatMulNBits has 16 elements, not 8"),
        ({"zeros": np.ones(8, np.float32)}, "input 3 of MatMulNBits has 8 elements, not 16"),
        ({"bits": 3}, "not supported"),
        ({"bits": 0}, "not supported"),
        ({"bits": 16}, "not supported"),
    ],
)
def test_attributes_that_do_not_fit(changed, cause):
    attributes = {"K": 64, "N": 8, "bits": 4, "block_size": 32}
    inputs = nbits(2, 64, 8, 4, 32)
    for name, value in changed.items():
        (attributes if name in attributes else inputs)[name] = value
    fixed = [name for name in inputs if name != "a"]
    with pytest.raises(EdgecompError, match=cause) as caught:
        load_model(vendor_model("MatMulNBits", inputs, fixed=fixed, **attributes))
    assert caught.value.node == "node"
