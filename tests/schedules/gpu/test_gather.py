"""Gather on an OpenCL device."""

import numpy as np
import pytest
from helpers.gpu import compute

from edgecomp.plan.operations import Gather, Operation
from edgecomp.plan.values import Value
from edgecomp.schedules.gpu import gather


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("dtype", "integer"), [("float32", "int64"), ("uint8", "int32")])
def test_gather(dtype, integer, axis, rng):
    x = rng.integers(0, 200, (5, 6, 8)).astype(dtype)
    indices = rng.integers(-x.shape[axis], x.shape[axis], (2, 3)).astype(integer)
    want = np.take(x, indices, axis=axis)
    values = [Value("x", x.shape, dtype), Value("i", indices.shape, integer)]
    operation = Operation(Gather(axis), values, [Value("y", want.shape, dtype)])
    np.testing.assert_array_equal(compute(gather, operation, [x, indices]), want)


def test_an_index_outside_takes_the_nearest_end(rng):
    x = rng.standard_normal((5, 3)).astype(np.float32)
    indices = np.array([2**40, -(2**40), 5, -6])
    values = [Value("x", x.shape, "float32"), Value("i", indices.shape, "int64")]
    operation = Operation(Gather(0), values, [Value("y", (4, 3), "float32")])
    np.testing.assert_array_equal(compute(gather, operation, [x, indices]), x[[4, 0, 4, 0]])
