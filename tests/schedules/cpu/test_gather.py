"""Gather against numpy, indices out of range included."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.movement import Fill, Gather
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Order, Value
from edgecomp.schedules.cpu import gather


def check(shape, axis, indices, target, dtype="float32"):
    rng = np.random.default_rng(4)
    x = Value("x", shape, dtype)
    positions = Value("i", indices.shape, str(indices.dtype))
    out_shape = (*shape[:axis], *indices.shape, *shape[axis + 1 :])
    y = Value("y", out_shape, dtype)
    operation = Operation(Gather(axis), [x, positions], [y])
    assert gather.match(operation, target) == ""
    array = rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
    calls = gather.emit(operation, target)
    result = run_calls(calls, target, {x: fill(x, array), positions: indices.reshape(-1)}, 3)
    bounded = np.clip(
        np.where(indices < 0, indices + shape[axis], indices), 0, shape[axis] - 1
    )
    np.testing.assert_array_equal(read(y, result[y]), np.take(array, bounded, axis))


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_gather(target, index_dtype):
    indices = np.array([[3, 0, -1], [-7, 6, 2]], index_dtype)
    check((7, 50), 0, indices, target)
    check((3, 7, 5), 1, indices, target, "uint8")
    check((4, 7), 1, indices, target, "int64")


def test_index_outside_the_table_stays_inside():
    check((5, 8), 0, np.array([5, 100, -6, 2**31 - 1, -(2**31)], np.int32), AVX2)
    info = np.iinfo(np.int64)
    check((5, 8), 0, np.array([2**32, -(2**32) - 1, info.max, info.min + 5]), AVX2)


@hypothesis.settings(max_examples=10)
@hypothesis.given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.data(),
    st.sampled_from(["float32", "bool", "float16", "int64"]),
)
def test_any_axis(shape, data, dtype):
    axis = data.draw(st.integers(0, len(shape) - 1))
    count = data.draw(st.lists(st.integers(1, 4), max_size=2))
    indices = np.random.default_rng(0).integers(-shape[axis], shape[axis], count)
    check(tuple(shape), axis, np.asarray(indices, np.int64), AVX2, dtype)


def test_refusals():
    x, i = Value("x", (1, 2, 3, 4), "float32", Order.NHWC), Value("i", (1,), "int32")
    assert "image" in gather.match(Operation(Gather(0), [x, i], [x]), AVX2)
    flat = Value("x", (4,), "float32")
    assert "indices of float32" in gather.match(
        Operation(Gather(0), [flat, flat], [flat]), AVX2
    )
    assert gather.match(Operation(Fill(0), [], [flat]), AVX2) == "not a gather"
