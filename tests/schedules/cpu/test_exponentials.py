"""Exponentials of rows and their sums against float64."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.attention import Exponentials
from edgecomp.plan.movement import Fill
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Quantization, Value
from edgecomp.schedules.cpu import exponentials

STEP = np.float32(1 / 255)


def operation_of(shape, target, **given):
    dtype = target.activation_dtype
    meaning = Quantization(float(STEP), int(np.iinfo(dtype).min))
    x = Value("x", shape, "float32", **given)
    q = Value("q", shape, dtype, quantization=meaning)
    return Operation(Exponentials(), [x], [q, Value("t", (*shape[:-1], 1), "float32")])


def check(shape, target, array=None):
    operation = operation_of(shape, target)
    (x,), (q, t) = operation.inputs, operation.outputs
    if array is None:
        array = (np.random.default_rng(2).standard_normal(shape) * 4).astype(np.float32)
    assert exponentials.match(operation, target) == ""
    buffers = {
        x: fill(x, array),
        q: fill(q, np.zeros(shape, q.dtype)),
        t: fill(t, np.zeros(t.shape, np.float32)),
    }
    results = run_calls(exponentials.emit(operation, target), target, buffers, slices=3)
    wide = array.astype(np.float64)
    exact = np.exp(wide - wide.max(-1, keepdims=True))
    np.testing.assert_allclose(read(t, results[t]), exact.sum(-1, keepdims=True), rtol=4e-6)
    steps = read(q, results[q]).astype(np.int64) - np.iinfo(q.dtype).min
    # Where float32 decides, within a little of the middle between two numbers.
    np.testing.assert_allclose(steps, exact * 255, atol=0.5 + 255 * 4e-6)


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("shape", [(3, 5, 197), (20, 3), (1, 6000), (9, 1), (17,)], ids=str)
def test_exponentials(shape, target):
    check(shape, target)


@hypothesis.settings(max_examples=12)
@hypothesis.given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3), st.sampled_from([AVX2, AVX512])
)
def test_any_shape(shape, target):
    check(tuple(shape), target)


def test_masked_entries():
    masked = np.array([[-np.inf, 0.0, 1.0, -np.inf, 88.0, -3e38]], np.float32)
    check((1, 6), AVX512, masked)
    check((1, 4), AVX2, np.full((1, 4), -3e38, np.float32))


def test_refusals():
    operation = operation_of((4, 6), AVX2)
    fill_only = Operation(Fill(0), [], operation.outputs[:1])
    assert "no exponentials" in exponentials.match(fill_only, AVX2)
    assert "empty" in exponentials.match(operation_of((0, 6), AVX2), AVX2)
