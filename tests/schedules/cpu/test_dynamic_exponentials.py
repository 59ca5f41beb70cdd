"""Exponentials of rows whose number and length are known when they run: those of the static kernel."""

import numpy as np
import pytest
from helpers.dynamic import operation_at
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512, HOSTS, reason_not_runnable
from hypothesis import example, given
from hypothesis import strategies as st

from edgecomp.plan.attention import Exponentials, Softmax
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Size, Symbol
from edgecomp.plan.values import Quantization, Value
from edgecomp.schedules.cpu.dynamic import exponentials
from edgecomp.schedules.cpu.dynamic.family import find_dynamic_schedule

ROWS, LENGTH = Symbol("m", 1, 21), Symbol("n", 1, 150)
M, N = Size.of(ROWS), Size.of(LENGTH)


def operation_of(shape, target):
    dtype = target.activation_dtype
    meaning = Quantization(float(np.float32(1 / 255)), int(np.iinfo(dtype).min))
    q = Value("q", shape, dtype, quantization=meaning)
    sums = Value("t", (*shape[:-1], 1), "float32")
    return Operation(Exponentials(), [Value("x", shape, "float32")], [q, sums])


def check(shape, target, sizes, seed=0):
    operation = operation_of(shape, target)
    schedule, _ = find_dynamic_schedule(operation, target)
    assert schedule is exponentials
    static, _ = operation_at(operation, sizes)
    rng = np.random.default_rng(seed)
    array = (rng.standard_normal(static.inputs[0].shape) * 3).astype(np.float32)
    buffers = {operation.inputs[0]: fill(static.inputs[0], array)}
    made = run_calls(exponentials.emit(operation, target), target, buffers, 3, sizes)
    stored, sums = (
        read(at, made[value])
        for at, value in zip(static.outputs, operation.outputs, strict=True)
    )
    wide = array.astype(np.float64)
    exact = np.exp(wide - wide.max(-1, keepdims=True))
    np.testing.assert_allclose(sums, exact.sum(-1, keepdims=True), rtol=4e-6)
    steps = stored.astype(np.int64) - np.iinfo(stored.dtype).min
    np.testing.assert_allclose(steps, exact * 255, atol=0.5 + 255 * 4e-6)


@pytest.mark.parametrize("target", [*HOSTS, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("shape", [(2, M, N), (M, 37), (3, N)], ids=str)
def test_exponentials(shape, target):
    for rows, length in ((1, 1), (21, 150), (7, 3), (8, 33), (9, 64)):
        check(shape, target, {ROWS: rows, LENGTH: length})


@pytest.mark.skipif(bool(reason_not_runnable(AVX512)), reason=reason_not_runnable(AVX512))
@given(rows=st.integers(1, 21), length=st.integers(1, 150), seed=st.integers(0, 99))
@example(rows=21, length=149, seed=0)
def test_any_size(rows, length, seed):
    check((2, M, N), AVX512, {ROWS: rows, LENGTH: length}, seed)


def test_refusals():
    x = Value("x", (M, N), "float32")
    softmax = Operation(Softmax(-1), [x], [Value("y", (M, N), "float32")])
    assert "no exponentials" in exponentials.match(softmax, AVX2)
