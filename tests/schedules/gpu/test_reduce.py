"""Reductions on an OpenCL device."""

import numpy as np
import pytest
from helpers.gpu import compute, current_target

from edgecomp.plan.finish import Requantize
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import Reduce
from edgecomp.plan.values import Order, Value
from edgecomp.schedules.gpu import reduce

FUNCTIONS = {
    "ReduceSum": lambda x, axes: x.sum(axis=axes, keepdims=True),
    "ReduceMean": lambda x, axes: x.mean(axis=axes, keepdims=True),
    "ReduceMax": lambda x, axes: x.max(axis=axes, keepdims=True),
    "ReduceMin": lambda x, axes: x.min(axis=axes, keepdims=True),
    "ReduceL2": lambda x, axes: np.sqrt((x * x).sum(axis=axes, keepdims=True)),
    "ReduceMeanSquare": lambda x, axes: (x * x).mean(axis=axes, keepdims=True),
    "ReduceLogSum": lambda x, axes: np.log(x.sum(axis=axes, keepdims=True)),
}


@pytest.mark.parametrize("operator", FUNCTIONS)
@pytest.mark.parametrize(
    ("shape", "axes", "order"),
    [
        ((2, 8, 5, 7), (2, 3), Order.NHWC),
        ((1, 5, 3, 3), (2, 3), Order.NHWC),
        ((3, 5, 130), (2,), Order.ROW_MAJOR),
        ((3, 5, 4), (0, 1), Order.ROW_MAJOR),
        ((2, 3, 4, 5), (1, 3), Order.ROW_MAJOR),
    ],
)
def test_float(operator, shape, axes, order, rng):
    x = np.abs(rng.standard_normal(shape)).astype(np.float32)
    want = FUNCTIONS[operator](x.astype(np.float64), axes)
    source, output = (
        Value("x", shape, "float32", order),
        Value("y", want.shape, "float32", order),
    )
    operation = Operation(Reduce(operator=operator, axes=axes), [source], [output])
    np.testing.assert_allclose(compute(reduce, operation, [x]), want, rtol=2e-6)


def test_without_dimensions(rng):
    x = rng.standard_normal((3, 5, 6)).astype(np.float32)
    operation = Operation(
        Reduce(operator="ReduceMean", axes=(-1,), keepdims=False),
        [Value("x", x.shape, "float32")],
        [Value("y", (3, 5), "float32")],
    )
    found = compute(reduce, operation, [x])
    np.testing.assert_allclose(found, x.astype(np.float64).mean(axis=-1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [8, 3])
def test_integer_mean(channels, rng):
    x = rng.integers(-128, 128, (1, channels, 7, 7)).astype(np.int8)
    multiplier = np.float32(0.013)
    kind = Reduce(
        operator="ReduceMean",
        axes=(2, 3),
        zero_x=-5,
        requantize=Requantize(np.array([multiplier]), 3, -128, 127),
    )
    source = Value("x", x.shape, "int8", Order.NHWC)
    output = Value("y", (1, channels, 1, 1), "int8", Order.NHWC)
    found = compute(reduce, Operation(kind, [source], [output]), [x])
    sums = (x.astype(np.int64) + 5).sum(axis=(2, 3), keepdims=True)
    want = np.rint(np.clip(sums.astype(np.float32) * multiplier, -131, 124)) + 3
    np.testing.assert_array_equal(found, want)


def test_what_takes_two_passes_is_the_processors():
    values = [Value("x", (3, 4), "float32")], [Value("y", (3, 1), "float32")]
    operation = Operation(Reduce(operator="ReduceLogSumExp", axes=(1,)), *values)
    assert reduce.match(operation, current_target()) == "ReduceLogSumExp"
