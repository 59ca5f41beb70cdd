"""StorePart against numpy, indices out of range included."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.movement import Fill, StorePart
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Order, Value
from edgecomp.schedules.cpu import store_part


def check(shape, axis, index, target, dtype="float32"):
    rng = np.random.default_rng(4)
    part = (*shape[:axis], *shape[axis + 1 :])
    x, at, y = Value("x", part, dtype), Value("i", (), "int64"), Value("y", shape, dtype)
    operation = Operation(StorePart(axis), [x, at], [y])
    assert store_part.match(operation, target) == ""
    contents = rng.integers(0, 2 if dtype == "bool" else 100, part).astype(dtype)
    before = rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
    position = np.array([index], np.int64)
    calls = store_part.emit(operation, target)
    memory = {x: fill(x, contents), at: position, y: fill(y, before)}
    result = run_calls(calls, target, memory, 3)
    expected = np.moveaxis(before.copy(), axis, 0)
    expected[min(max(index, 0), shape[axis] - 1)] = contents
    np.testing.assert_array_equal(read(y, result[y]), np.moveaxis(expected, 0, axis))


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
def test_store_part(target):
    check((7, 50), 0, 3, target)
    check((3, 7, 5), 1, 6, target, "uint8")
    check((4, 7), 1, 0, target, "int64")
    check((5,), 0, 4, target)


def test_an_index_outside_stays_inside():
    for index in (-1, 7, 2**31 - 1, -(2**31), 2**32 + 3, -(2**32) + 3):
        check((7, 9), 0, index, AVX2)


@hypothesis.settings(max_examples=8)
@hypothesis.given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.data(),
    st.sampled_from(["float32", "bool", "float16", "int64"]),
)
def test_any_axis(shape, data, dtype):
    axis = data.draw(st.integers(0, len(shape) - 1))
    check(tuple(shape), axis, data.draw(st.integers(0, shape[axis] - 1)), AVX2, dtype)


def test_refusals():
    x, i = Value("x", (1, 2, 3, 4), "float32", Order.NHWC), Value("i", (), "int64")
    y = Value("y", (2, 1, 2, 3, 4), "float32")
    assert "image" in store_part.match(Operation(StorePart(0), [x, i], [y]), AVX2)
    assert "not a part" in store_part.match(Operation(Fill(0), [], [y]), AVX2)
    narrow = Operation(StorePart(0), [Value("x", (3,), "int8"), Value("i", (), "int32")], [y])
    assert "int32" in store_part.match(narrow, AVX2)
