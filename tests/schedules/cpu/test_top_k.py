"""TopK against numpy's stable sort."""

import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2

from edgecomp.plan.movement import Fill
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import TopK
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import top_k


def check(array, axis, count, target, *, largest=True):
    x = Value("x", array.shape, array.dtype.name)
    shape = (*array.shape[:axis], count, *array.shape[axis + 1 :])
    values, indices = Value("values", shape, x.dtype), Value("indices", shape, "int64")
    operation = Operation(TopK(axis, largest), [x], [values, indices])
    assert top_k.match(operation, target) == ""
    results = run_calls(top_k.emit(operation, target), target, {x: fill(x, array)}, 3)
    key = -array if largest else array
    order = np.argsort(key, axis=axis, kind="stable").take(range(count), axis)
    np.testing.assert_array_equal(read(indices, results[indices]), order)
    wanted = np.take_along_axis(array, order, axis)
    np.testing.assert_array_equal(read(values, results[values]), wanted)


@pytest.mark.parametrize("target", [AVX2, A53, ARMV7], ids=lambda t: t.name)
def test_top_k(target):
    rng = np.random.default_rng(0)
    check(rng.standard_normal((3, 50)).astype(np.float32), 1, 5, target)
    check(rng.standard_normal((2, 9, 4)).astype(np.float32), 1, 3, target, largest=False)
    ties = np.array([[3, 1, 2, 1, 0], [5, 5, 5, 5, 5]], np.int64)
    check(ties, 1, 3, target, largest=False)
    check(ties.astype(np.int8), 0, 2, target)


def test_refusals():
    x, y = Value("x", (4,), "float16"), Value("y", (4,), "float16")
    assert top_k.match(Operation(Fill(0), [], [y]), AVX2) == "not a TopK"
    operation = Operation(TopK(0, True), [x], [y, Value("i", (4,), "int64")])
    assert top_k.match(operation, AVX2) == "TopK of float16"
