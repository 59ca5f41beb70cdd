"""GatherND against onnx's definition, indices out of range included."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.movement import Fill, GatherParts
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Order, Value
from edgecomp.schedules.cpu import gather_parts


def gathered(x, indices, batch):
    """Part by part; what is out of range takes the nearest end."""
    depth = indices.shape[-1]
    shape = (*indices.shape[:-1], *x.shape[batch + depth :])
    y = np.empty(shape, x.dtype)
    for place in itertools.product(*map(range, indices.shape[:-1])):
        point = []
        for index, size in zip(indices[place], x.shape[batch : batch + depth], strict=True):
            inside = min(max(int(index), -size), size - 1)
            point.append(inside + size if inside < 0 else inside)
        y[place] = x[place[:batch]][tuple(point)]
    return y


def check(shape, indices, target, dtype="float32", batch=0):
    array = np.random.default_rng(4).integers(0, 100, shape).astype(dtype)
    x = Value("x", shape, dtype)
    positions = Value("i", indices.shape, indices.dtype.name)
    wanted = gathered(array, indices, batch)
    y = Value("y", wanted.shape, dtype)
    operation = Operation(GatherParts(batch), [x, positions], [y])
    assert gather_parts.match(operation, target) == ""
    calls = gather_parts.emit(operation, target)
    result = run_calls(calls, target, {x: fill(x, array), positions: indices.reshape(-1)}, 3)
    np.testing.assert_array_equal(read(y, result[y]), wanted)


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_gather_parts(target, dtype):
    check((7, 5, 50), np.array([[3, 0], [-1, 4], [6, -5]], dtype), target)
    check((2, 3, 4, 9), np.array([[[1], [0]], [[2], [-3]]], dtype), target, "uint8", batch=1)


def test_index_outside_stays_inside():
    info = np.iinfo(np.int64)
    wild = np.array([[2**32, -(2**32)], [info.max, info.min], [-6, 9]])
    check((5, 8, 3), wild, AVX2)


@hypothesis.settings(max_examples=10)
@hypothesis.given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.data(),
    st.sampled_from(["float32", "float16", "int64"]),
)
def test_any_depth(shape, data, dtype):
    depth = data.draw(st.integers(1, len(shape)))
    batch = data.draw(st.integers(0, len(shape) - depth))
    count = data.draw(st.lists(st.integers(1, 4), max_size=2))
    rng = np.random.default_rng(0)
    indices = rng.integers(-7, 7, (*shape[:batch], *count, depth))
    check(tuple(shape), indices, AVX2, dtype, batch)


def test_refusals():
    x, i, y = (Value(n, (2, 2, 2, 2), "float32") for n in "xiy")
    assert gather_parts.match(Operation(Fill(0), [], [y]), AVX2) == "not a gather"
    operation = Operation(GatherParts(0), [x, i], [y])
    assert gather_parts.match(operation, AVX2) == "indices of float32"
    x.order = Order.NHWC
    assert gather_parts.match(operation, AVX2) == "gather from or into an image"
