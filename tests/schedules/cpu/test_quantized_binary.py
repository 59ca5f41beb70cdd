"""Quantized sums and products, exactly."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, A76, ARMV7, AVX2, AVX512

from edgecomp.plan.elementwise import QuantizedAdd, QuantizedMultiply
from edgecomp.plan.finish import IntegerAdd, Requantize
from edgecomp.plan.movement import Fill
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import quantized_binary


def requantized(accumulator, requantize, dtype):
    """docs/numerics.md, "Requantize", in numpy."""
    zero = requantize.zero_point
    t = accumulator.astype(np.int32).astype(np.float32) * requantize.multiplier[0]
    t = np.clip(t, np.float32(requantize.low - zero), np.float32(requantize.high - zero))
    return (np.rint(t).astype(np.int32) + zero).astype(dtype)


def reference(kind, a, b, dtype):
    a, b = a.astype(np.int64), b.astype(np.int64)
    if isinstance(kind, QuantizedAdd):
        add = kind.integer_add
        total = (a - add.zero_a) * add.weight_a + (b - add.zero_b) * add.weight_b
        return requantized(total, add.requantize, dtype)
    return requantized((a - kind.zero_a) * (b - kind.zero_b), kind.requantize, dtype)


def make(multiply, dtype, rng):
    """Random parameters of realistic size."""
    limits = np.iinfo(dtype)
    zero_a, zero_b, zero_y = (int(z) for z in rng.integers(limits.min, limits.max + 1, 3))
    low = zero_y if rng.integers(2) else limits.min
    if multiply:
        multiplier = np.array([rng.uniform(1e-4, 0.2)], np.float32)
        return QuantizedMultiply(
            zero_a, zero_b, Requantize(multiplier, zero_y, low, limits.max)
        )
    ratios = rng.uniform(0.05, 2.0, 2) * [1, rng.choice([-1, 1])]
    shift = 30
    while (np.abs(np.rint(ratios * 2.0**shift)).sum()) * 255 >= 1 << 24:
        shift -= 1
    weight_a, weight_b = (int(w) for w in np.rint(ratios * 2.0**shift))
    requantize = Requantize(np.array([2.0**-shift], np.float32), zero_y, low, limits.max)
    return QuantizedAdd(IntegerAdd(weight_a, weight_b, zero_a, zero_b, requantize))


def check(kind, shapes, dtype, target, orders=None, slices=3, seed=0):
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    a, b = (rng.integers(limits.min, limits.max + 1, s).astype(dtype) for s in shapes)
    shape = np.broadcast_shapes(*shapes)
    orders = orders or [Order.ROW_MAJOR] * 3
    values = [
        Value(n, s, dtype, o, Halo(1, 0, 2, 1) if o is Order.NHWC else Halo())
        for n, s, o in zip("aby", (*shapes, shape), orders, strict=True)
    ]
    operation = Operation(kind, values[:2], values[2:])
    assert quantized_binary.match(operation, target) == ""
    calls = quantized_binary.emit(operation, target)
    before = fill(values[2], np.zeros(shape, dtype), halo_fill=5)
    buffers = {values[0]: fill(values[0], a), values[1]: fill(values[1], b), values[2]: before}
    result = run_calls(calls, target, buffers, slices)[values[2]]
    want = reference(kind, a, b, dtype)
    np.testing.assert_array_equal(read(values[2], result), want)
    np.testing.assert_array_equal(fill(values[2], want, halo_fill=5), result)


TARGETS = [AVX2, AVX512, A53, A76, ARMV7]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("multiply", [False, True], ids=["add", "multiply"])
def test_exact(target, multiply):
    dtype = target.activation_dtype
    rng = np.random.default_rng(1)
    images = [Order.NHWC] * 3
    check(make(multiply, dtype, rng), [(1, 24, 7, 9)] * 2, dtype, target, images)
    check(make(multiply, dtype, rng), [(2, 8, 5, 5), (1, 8, 1, 1)], dtype, target)
    check(make(multiply, dtype, rng), [(4000,), (1,)], dtype, target)


@hypothesis.settings(max_examples=10)
@hypothesis.given(
    st.booleans(),
    st.sampled_from(["uint8", "int8"]),
    st.integers(0, 1 << 30),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    st.data(),
)
def test_any_parameters_and_broadcast(multiply, dtype, seed, shape, data):
    kept = [tuple(s if data.draw(st.booleans()) else 1 for s in shape) for _ in range(2)]
    kind = make(multiply, dtype, np.random.default_rng(seed))
    check(kind, kept, dtype, AVX512, slices=2, seed=seed)


def test_refusals():
    x = Value("x", (4,), "uint8")
    requantize = Requantize(np.array([2.0**-4], np.float32), 0, 0, 255)
    wide = QuantizedAdd(IntegerAdd(1 << 16, 1 << 16, 0, 0, requantize))
    assert "24 bits" in quantized_binary.match(Operation(wide, [x, x], [x]), AVX2)
    odd = Requantize(np.array([0.3], np.float32), 0, 0, 255)
    add = QuantizedAdd(IntegerAdd(1, 1, 0, 0, odd))
    assert "power of two" in quantized_binary.match(Operation(add, [x, x], [x]), AVX2)
    add = QuantizedAdd(IntegerAdd(1, 1, 0, 0, requantize))
    y = Value("y", (4,), "int32")
    assert "int32" in quantized_binary.match(Operation(add, [x, x], [y]), AVX2)
    assert "neither" in quantized_binary.match(Operation(Fill(0), [], [x]), AVX2)
