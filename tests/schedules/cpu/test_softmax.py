"""Softmax along any axis and order against float64."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.attention import Softmax
from edgecomp.plan.movement import Fill
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Halo, Order, Quantization, Value
from edgecomp.schedules.cpu import softmax


def check(shape, axis, target, logarithm=False, orders=(Order.ROW_MAJOR,) * 2, array=None):
    halos = [Halo(1, 0, 1, 2) if o is Order.NHWC else Halo() for o in orders]
    x, y = (
        Value(n, shape, "float32", o, h) for n, o, h in zip("xy", orders, halos, strict=True)
    )
    if array is None:
        array = (np.random.default_rng(2).standard_normal(shape) * 8).astype(np.float32)
    operation = Operation(Softmax(axis, logarithm), [x], [y])
    assert softmax.match(operation, target) == ""
    before = fill(y, np.zeros(shape, np.float32), halo_fill=3)
    calls = softmax.emit(operation, target)
    result = run_calls(calls, target, {x: fill(x, array), y: before}, slices=3)[y]
    function = scipy.special.log_softmax if logarithm else scipy.special.softmax
    want = function(array.astype(np.float64), axis=axis)
    got = read(y, result)
    np.testing.assert_allclose(got, want, rtol=4e-6, atol=1e-6)
    np.testing.assert_array_equal(fill(y, got, halo_fill=3), result)


CASES = [
    ((1, 1000), -1),
    ((7, 197), 1),
    ((3, 4, 50, 50), 3),
    ((5, 3), 1),
    ((2, 1), 1),
    ((9,), 0),
    ((4, 21, 33), 1),
    ((130, 3), 0),
    ((2, 19, 6, 7), 1),
    ((33, 16), 1),
    ((1, 5000), 1),
]


@pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)
def test_softmax(shape, axis):
    check(shape, axis, AVX2)


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("shape", [(3, 5, 197), (20, 3), (1, 6000)], ids=str)
def test_8_bits_are_those_of_the_float_result(shape, target):
    dtype = target.activation_dtype
    least = np.iinfo(dtype).min
    x = Value("x", shape, "float32")
    y = Value("y", shape, "float32")
    q = Value("q", shape, dtype, quantization=Quantization(0.7 / 255, least))
    array = (np.random.default_rng(2).standard_normal(shape) * 3).astype(np.float32)
    found = []
    for outputs in ([y], [q]):
        operation = Operation(Softmax(-1), [x], outputs)
        assert softmax.match(operation, target) == ""
        calls = softmax.emit(operation, target)
        before = fill(outputs[0], np.zeros(shape, outputs[0].dtype))
        buffers = {x: fill(x, array), outputs[0]: before}
        result = run_calls(calls, target, buffers, slices=3)[outputs[0]]
        found.append(read(outputs[0], result))
    steps = np.clip(np.rint(found[0] / np.float32(0.7 / 255)), 0, 255)
    np.testing.assert_array_equal(found[1], (steps + least).astype(dtype))


def test_columns_of_8_bits_are_refused():
    q = Value("q", (5, 3), "uint8", quantization=Quantization(0.1, 0))
    operation = Operation(Softmax(0), [Value("x", (5, 3), "float32")], [q])
    assert "columns of uint8" in softmax.match(operation, AVX2)


@pytest.mark.parametrize("target", [AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("logarithm", [False, True], ids=["softmax", "logarithm"])
def test_on_other_targets(target, logarithm):
    check((7, 197), 1, target, logarithm)
    check((4, 21, 33), 1, target, logarithm)


@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize("orders", [(a, b) for a in Order for b in Order], ids=str)
def test_image_orders(axis, orders):
    check((2, 21, 6, 9), axis, AVX2, orders=orders)


def test_masked_and_large_entries():
    array = np.array([[-np.inf, 0.0, 1.0, -np.inf, 88.0, 3e38]], np.float32)
    check((1, 6), 1, AVX2, array=array)
    check((1, 6), 1, AVX512, array=np.array([[-np.inf, 0, 1, -np.inf, 2, -200]], np.float32))


@hypothesis.settings(max_examples=8)
@hypothesis.given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.data(),
    st.booleans(),
    st.sampled_from([AVX2, AVX512]),
)
def test_any_shape(shape, data, logarithm, target):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    check(tuple(shape), axis, target, logarithm)


def test_refusals():
    x = Value("x", (4,), "float64")
    assert softmax.match(Operation(Softmax(0), [x], [x]), AVX2) == "softmax of float64"
    assert softmax.match(Operation(Fill(0), [], [x]), AVX2) == "not a softmax"
