"""Softmax of rows whose number and length are known when it runs, as float32 and as 8 bits."""

import numpy as np
import pytest
import scipy.special
from helpers.dynamic import operation_at
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512, HOSTS, reason_not_runnable
from hypothesis import example, given
from hypothesis import strategies as st

from edgecomp.plan.attention import Softmax
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Size, Symbol
from edgecomp.plan.values import Quantization, Value
from edgecomp.schedules.cpu.dynamic import softmax
from edgecomp.schedules.cpu.dynamic.family import find_dynamic_schedule

ROWS, LENGTH = Symbol("m", 1, 21), Symbol("n", 1, 150)
M, N = Size.of(ROWS), Size.of(LENGTH)
SCALE = float(np.float32(0.7 / 255))


def results(shape, target, sizes, seed=0):
    """Of float32 and of 8 bits, and what float64 finds."""
    dtype = target.activation_dtype
    least = np.iinfo(dtype).min
    x, y = Value("x", shape, "float32"), Value("y", shape, "float32")
    q = Value("q", shape, dtype, quantization=Quantization(SCALE, least))
    found, array = [], None
    for output in (y, q):
        operation = Operation(Softmax(-1), [x], [output])
        schedule, _ = find_dynamic_schedule(operation, target)
        assert schedule is softmax
        static, _ = operation_at(operation, sizes)
        if array is None:
            rng = np.random.default_rng(seed)
            array = (rng.standard_normal(static.inputs[0].shape) * 3).astype(np.float32)
        calls = softmax.emit(operation, target)
        buffers = {x: fill(static.inputs[0], array)}
        made = run_calls(calls, target, buffers, 3, sizes)
        found.append(read(static.output, made[output]))
    return found, array


def check(shape, target, sizes, seed=0):
    (real, stored), array = results(shape, target, sizes, seed)
    expected = scipy.special.softmax(array.astype(np.float64), axis=-1)
    np.testing.assert_allclose(real, expected, rtol=4e-6, atol=1e-6)
    least = np.iinfo(stored.dtype).min
    steps = np.clip(np.rint(real / np.float32(SCALE)), 0, 255) + least
    np.testing.assert_array_equal(stored, steps.astype(stored.dtype))


@pytest.mark.parametrize("target", [*HOSTS, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("shape", [(2, M, N), (M, 37), (3, N)], ids=str)
def test_softmax(shape, target):
    for rows, length in ((1, 1), (21, 150), (7, 3), (8, 33), (9, 64)):
        check(shape, target, {ROWS: rows, LENGTH: length})


@pytest.mark.skipif(bool(reason_not_runnable(AVX512)), reason=reason_not_runnable(AVX512))
@given(rows=st.integers(1, 21), length=st.integers(1, 150), seed=st.integers(0, 99))
@example(rows=1, length=1, seed=0)
@example(rows=21, length=150, seed=0)
@example(rows=21, length=149, seed=0)
def test_any_size(rows, length, seed):
    check((2, M, N), AVX512, {ROWS: rows, LENGTH: length}, seed)


def test_columns_are_refused():
    x, y = Value("x", (M, N), "float32"), Value("y", (M, N), "float32")
    operation = Operation(Softmax(0), [x], [y])
    assert "another dimension" in softmax.match(operation, AVX2)
