"""Fill and FillHalo write what they should and nothing else."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.kernels import fill, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.attention import Softmax
from edgecomp.plan.movement import Fill, FillHalo
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import fill as fill_schedule


def check(kind, value, target, slices=3):
    operation = Operation(kind, [], [value])
    assert fill_schedule.match(operation, target) == ""
    inside = np.full(value.shape, 3, value.dtype)
    before = fill(value, inside, halo_fill=5)
    if isinstance(kind, Fill):
        want = fill(value, np.full(value.shape, kind.value, value.dtype), halo_fill=5)
    else:
        want = fill(value, inside, halo_fill=kind.value)
    calls = fill_schedule.emit(operation, target)
    got = run_calls(calls, target, {value: before.copy()}, slices)[value] if calls else before
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8", "int64"])
def test_fill(target, dtype):
    image = Value("y", (2, 5, 4, 7), dtype, Order.NHWC, Halo(1, 2, 0, 3))
    for kind in (Fill(1), FillHalo(7)):
        check(kind, image, target)
    check(Fill(9), Value("y", (5000,), dtype), target)
    check(Fill(0), Value("y", (), dtype), target)


def test_infinite_halo():
    check(
        FillHalo(float("-inf")),
        Value("y", (1, 3, 2, 2), "float32", Order.NHWC, Halo(1, 1, 1, 1)),
        AVX2,
    )


def test_bool():
    check(Fill(1), Value("y", (40,), "bool"), AVX2)


def test_nothing_to_fill():
    value = Value("y", (1, 3, 2, 2), "float32", Order.NHWC)
    assert fill_schedule.emit(Operation(FillHalo(0), [], [value]), AVX2) == []
    assert fill_schedule.emit(Operation(Fill(0), [], [Value("y", (0, 3), "int8")]), AVX2) == []


@hypothesis.settings(max_examples=10)
@hypothesis.given(
    st.tuples(*[st.integers(1, 6)] * 4),
    st.tuples(*[st.integers(0, 3)] * 4),
    st.sampled_from(["float32", "uint8"]),
)
def test_any_halo(shape, halo, dtype):
    check(FillHalo(2), Value("y", shape, dtype, Order.NHWC, Halo(*halo)), AVX2, slices=2)


def test_refusals():
    y = Value("y", (1, 2, 3, 4), "float32")
    assert "row-major" in fill_schedule.match(Operation(FillHalo(0), [], [y]), AVX2)
    assert "neither" in fill_schedule.match(Operation(Softmax(0), [y], [y]), AVX2)
    text = Value("y", (1,), "complex64")
    assert "complex64" in fill_schedule.match(Operation(Fill(0), [], [text]), AVX2)
