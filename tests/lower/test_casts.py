"""Cast between all element types, and BitCast: every value of the small types, bit for bit."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from helpers.nodes import check, node_model
from helpers.plans import PlanRunner
from onnx import helper
from onnx.reference.ops.op_cast import cast_to

from edgecomp.device.load import load_target
from edgecomp.frontend.load import load_model
from edgecomp.lower.lower import lower
from edgecomp.schedules.cpu.small_types import SMALL

FLOATS = ["float32", "float16", "bfloat16"]
FLOAT8 = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]
INTEGERS = ["int4", "uint4", "int2", "uint2"]


def tensor_type(name):
    return helper.np_dtype_to_tensor_dtype(np.dtype(name))


def every_value(name):
    """All values of a type of at most 16 bits, or float32 of all magnitudes."""
    if name == "float32":
        rng = np.random.default_rng(0)
        bits = rng.integers(0, 1 << 32, 20_000, np.uint32).view(np.float32)
        near = rng.standard_normal(20_000).astype(np.float32) * 16
        special = np.float32([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 464, 480, 61440, 7])
        return np.concatenate([bits, near, special])
    if np.dtype(name).itemsize == 2:
        return np.arange(1 << 16).astype(np.uint16).view(name)
    bits = {"int4": 4, "uint4": 4, "float4_e2m1fn": 4, "int2": 2, "uint2": 2}.get(name, 8)
    return np.arange(1 << bits).astype(np.uint8).view(name)


def cast_all(source, targets, **attributes):
    """One model with a Cast to each type."""
    nodes = [
        helper.make_node("Cast", ["x"], [f"{name}_out"], to=tensor_type(name), **attributes)
        for name in targets
    ]
    x = helper.make_tensor_value_info("x", tensor_type(source.dtype), source.shape)
    results = [onnx.ValueInfoProto(name=f"{name}_out") for name in targets]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], results),
        opset_imports=[helper.make_opsetid("", 25)],
        ir_version=11,
    )
    plan = lower(load_model(model), load_target("host"), name="m", workers=1).plan
    found = PlanRunner(plan).run({"x": source})
    return {name: found[f"{name}_out"] for name in targets}


def assert_same(got, want):
    assert got.dtype == want.dtype
    nan = np.isnan(want.astype(np.float32))
    assert (np.isnan(got.astype(np.float32)) == nan).all()
    bits = f"u{got.dtype.itemsize}"
    np.testing.assert_array_equal(got.view(bits)[~nan], want.view(bits)[~nan])


@pytest.mark.parametrize("saturate", [0, 1])
@pytest.mark.parametrize("source", FLOATS)
def test_floats_to_8_bits(source, saturate):
    x = every_value(source)
    for name, got in cast_all(x, FLOAT8, saturate=saturate).items():
        with np.errstate(all="ignore"):
            # A float16 is clipped in float32: its own type may not hold the bound.
            want = cast_to(x.astype(np.float32), tensor_type(name), bool(saturate))
        assert_same(got, want)


@pytest.mark.parametrize("round_mode", ["up", "down", "nearest"])
@pytest.mark.parametrize("saturate", [0, 1])
def test_powers_of_two(round_mode, saturate):
    x = every_value("float32")
    got = cast_all(x, ["float8_e8m0fnu"], saturate=saturate, round_mode=round_mode)
    want = cast_to(x, tensor_type("float8_e8m0fnu"), bool(saturate), round_mode)
    np.testing.assert_array_equal(got["float8_e8m0fnu"].view(np.uint8), want.view(np.uint8))


@pytest.mark.parametrize("source", FLOATS)
def test_floats_to_each_other_and_to_4_bits(source):
    x = every_value(source)
    targets = [name for name in [*FLOATS, "float4_e2m1fn"] if name != source]
    for name, got in cast_all(x, targets).items():
        with np.errstate(all="ignore"):
            assert_same(got, x.astype(np.float32).astype(name))


@pytest.mark.parametrize("source", ["float32", "float16", "int32", "uint8"])
def test_integers_of_few_bits_wrap(source):
    x = np.arange(-9, 16).astype(source)
    for name, got in cast_all(x, INTEGERS).items():
        mask = (1 << ml_dtypes.iinfo(name).bits) - 1
        want = (x.astype(np.int64) & mask).astype(np.uint8)
        np.testing.assert_array_equal(got.view(np.uint8), want)


@pytest.mark.parametrize("source", sorted(SMALL))
def test_from_a_byte_or_less(source):
    x = every_value(source)
    targets = [*FLOATS, "float64"]
    targets += ["int8", "uint8", "int32", "int64"] if source in INTEGERS else []
    targets += ["float8_e4m3fn"] if source == "float8_e5m2" else []
    for name, got in cast_all(x, targets).items():
        with np.errstate(all="ignore"):
            assert_same(got, cast_to(x.astype(np.float32), tensor_type(name), saturate=True))


def test_a_cast_between_casts_rounds():
    """A chain is one kernel; what passes through float16 loses its bits there all the same."""
    x = every_value("float32")
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=onnx.TensorProto.BFLOAT16),
        helper.make_node("Cast", ["h"], ["w"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Add", ["w", "w"], ["y"]),
    ]
    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)
    graph = helper.make_graph(nodes, "g", [info], [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=11
    )
    plan = lower(load_model(model), load_target("host"), name="m", workers=1).plan
    assert len(plan.calls) == 1
    with np.errstate(all="ignore"):
        narrow = x.astype("bfloat16").astype(np.float32)
        assert_same(PlanRunner(plan).run({"x": x})["y"], narrow + narrow)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 1, 5)])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("float32", "int32"),
        ("int8", "uint8"),
        ("bool", "uint8"),
        ("uint16", "bfloat16"),
        ("int64", "float64"),
    ],
)
def test_bit_cast(source, target, shape):
    x = np.random.default_rng(1).integers(0, 2, shape).astype(source)
    model = node_model("BitCast", {"x": x}, opset=26, to=tensor_type(target))
    check(model, {"x": x}, rtol=0, atol=0)
