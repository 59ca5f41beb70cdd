"""Reductions against numpy in float64, and the integer mean against int64."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import requantize
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, A76, ARMV7, AVX2, AVX512, HOSTS, reason_not_runnable
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.plan.finish import Requantize
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import Reduce
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import reduce

OPERATORS = {
    "ReduceSum": lambda x, axes: x.sum(axes, keepdims=True),
    "ReduceMean": lambda x, axes: x.mean(axes, keepdims=True),
    "ReduceMax": lambda x, axes: x.max(axes, keepdims=True),
    "ReduceMin": lambda x, axes: x.min(axes, keepdims=True),
    "ReduceProd": lambda x, axes: x.prod(axes, keepdims=True),
    "ReduceL1": lambda x, axes: np.abs(x).sum(axes, keepdims=True),
    "ReduceL2": lambda x, axes: np.sqrt((x * x).sum(axes, keepdims=True)),
    "ReduceSumSquare": lambda x, axes: (x * x).sum(axes, keepdims=True),
    "ReduceMeanSquare": lambda x, axes: (x * x).mean(axes, keepdims=True),
    "ReduceLogSum": lambda x, axes: np.log(x.sum(axes, keepdims=True)),
    "ReduceLogSumExp": lambda x, axes: np.log(np.exp(x).sum(axes, keepdims=True)),
}

#: (shape, order, axes, keepdims)
SHAPES = (
    ((1, 40, 7, 7), Order.NHWC, (2, 3), True),
    ((2, 3, 5, 6), Order.NHWC, (2, 3), False),
    ((2, 100, 4, 3), Order.NHWC, (3,), False),
    ((1, 33, 4, 3), Order.NHWC, (1,), True),
    ((2, 5, 3, 4), Order.NHWC, (0, 1, 2, 3), False),
    ((1, 1, 6, 5), Order.NHWC, (3,), True),
    ((3, 50), Order.ROW_MAJOR, (1,), True),
    ((7, 33), Order.ROW_MAJOR, (0,), False),
    ((2, 5, 6, 7), Order.ROW_MAJOR, (2, 3), True),
    ((2, 5, 6, 7), Order.ROW_MAJOR, (1, 3), False),
    ((4, 3, 5), Order.ROW_MAJOR, (), True),
    ((1, 1, 1), Order.ROW_MAJOR, (0, 1), False),
    ((3000,), Order.ROW_MAJOR, (0,), False),
    ((1500, 2), Order.ROW_MAJOR, (0,), False),
    ((2, 3, 2, 17, 5), Order.ROW_MAJOR, (-2, 0), False),
)


def make(kind, shape, order, dtype, output_dtype):
    axes = {a % len(shape) for a in kind.axes}
    out_shape = tuple(
        1 if d in axes else size
        for d, size in enumerate(shape)
        if kind.keepdims or d not in axes
    )
    x = Value("x", shape, dtype, order, Halo(1, 0, 2, 1) if order is Order.NHWC else Halo())
    out_order = order if order is Order.NHWC and len(out_shape) == 4 else Order.ROW_MAJOR
    halo = Halo(0, 1, 1, 0) if out_order is Order.NHWC else Halo()
    return Operation(kind, [x], [Value("y", out_shape, output_dtype, out_order, halo)])


def run(operation, array, target, slices):
    assert reduce.match(operation, target) == ""
    x = operation.inputs[0]
    calls = reduce.emit(operation, target)
    halo_fill = np.nan if array.dtype.kind == "f" else 77
    found = run_calls(calls, target, {x: fill(x, array, halo_fill)}, slices)
    return read(operation.output, found[operation.output])


def check_float(operator, shape, order, axes, keepdims, target, rng, slices=1):
    array = rng.uniform(0.25, 1.5, shape).astype(np.float32)
    if operator not in ("ReduceLogSum", "ReduceProd"):
        array -= np.float32(0.75)
    operation = make(
        Reduce(operator=operator, axes=axes, keepdims=keepdims),
        shape,
        order,
        "float32",
        "float32",
    )
    found = run(operation, array, target, slices)
    positive = tuple(a % len(shape) for a in axes)
    expected = OPERATORS[operator](array.astype(np.float64), positive) if axes else None
    if expected is None:
        expected = OPERATORS[operator](array.astype(np.float64)[..., None], -1)[..., 0]
    expected = expected.reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators(operator, rng):
    target = next(t for t in reversed(HOSTS) if not reason_not_runnable(t))
    for shape, order, axes, keepdims in (SHAPES[0], SHAPES[6]):
        check_float(operator, shape, order, axes, keepdims, target, rng, slices=2)


@pytest.mark.parametrize("case", SHAPES, ids=str)
@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
def test_shapes(case, target, rng):
    check_float("ReduceMean", *case, target, rng, slices=3)


@pytest.mark.parametrize("target", [A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("operator", "case"),
    [("ReduceMean", 0), ("ReduceMax", 6), ("ReduceLogSumExp", 2), ("ReduceL2", 9)],
)
def test_emulated(operator, case, target, rng):
    check_float(operator, *SHAPES[case], target, rng, slices=2)


#: Whose results lie side by side where the elements of an image do.
_BESIDE = [case for case in SHAPES if case[2] != (3,) or case[3]]


@pytest.mark.parametrize("case", _BESIDE, ids=str)
@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
def test_squares_of_what_is_left(case, target, rng):
    """The centre lies as the result does; far from 0, what is left is small."""
    shape, order, axes, keepdims = case
    kind = Reduce(operator="ReduceMeanSquare", axes=axes, keepdims=keepdims, centred=True)
    operation = make(kind, shape, order, "float32", "float32")
    x, output = operation.inputs[0], operation.output
    centre = Value("centre", output.shape, "float32", output.order, output.halo)
    operation.inputs.append(centre)
    assert reduce.match(operation, target) == ""
    about = rng.uniform(1000, 2000, output.shape).astype(np.float32)
    positive = tuple(a % len(shape) for a in axes)
    spread = about if keepdims else np.expand_dims(about, sorted(positive))
    array = (spread + rng.standard_normal(shape)).astype(np.float32)
    given = {x: fill(x, array, np.nan), centre: fill(centre, about, np.nan)}
    found = run_calls(reduce.emit(operation, target), target, given, 2)
    left = (array - spread).astype(np.float64)
    expected = (left**2).mean(positive, keepdims=keepdims) if axes else left**2
    np.testing.assert_allclose(read(output, found[output]), expected, rtol=2e-6, atol=1e-9)


def test_results_that_lie_apart():
    shape, order, axes, keepdims = next(case for case in SHAPES if case not in _BESIDE)
    kind = Reduce(operator="ReduceSumSquare", axes=axes, keepdims=keepdims, centred=True)
    operation = make(kind, shape, order, "float32", "float32")
    operation.inputs.append(Value("centre", operation.output.shape, "float32"))
    assert "side by side" in reduce.match(operation, AVX2)


def test_a_centre_elsewhere_than_the_result():
    kind = Reduce(operator="ReduceMeanSquare", axes=(2, 3), centred=True)
    operation = make(kind, (2, 3, 5, 6), Order.NHWC, "float32", "float32")
    shape = operation.output.shape
    operation.inputs.append(Value("centre", shape, "float32", Order.NHWC, Halo(2, 2, 2, 2)))
    assert "another order" in reduce.match(operation, AVX2)
    sums = dataclasses.replace(kind, operator="ReduceMean")
    assert "ReduceMean" in reduce.match(dataclasses.replace(operation, kind=sums), AVX2)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("target", [AVX2, AVX512, A76, ARMV7], ids=lambda t: t.name)
def test_integer_mean(dtype, target, rng):
    for shape, order, axes, keepdims in (SHAPES[0], SHAPES[3], SHAPES[6]):
        info = np.iinfo(dtype)
        array = rng.integers(info.min, info.max + 1, shape).astype(dtype)
        count = np.prod([shape[a] for a in axes])
        parameters = Requantize(
            np.float32([1.9 / count]), info.min + 100, info.min + 30, info.max - 1
        )
        kind = Reduce(
            operator="ReduceMean",
            axes=axes,
            keepdims=keepdims,
            zero_x=info.min + 117,
            requantize=parameters,
        )
        operation = make(kind, shape, order, dtype, dtype)
        found = run(operation, array, target, slices=2)
        total = (array.astype(np.int64) - kind.zero_x).sum(axes, keepdims=True)
        expected = requantize(total, parameters).reshape(found.shape)
        np.testing.assert_array_equal(found, expected)


def test_long_sum_of_a_constant_keeps_its_accuracy():
    shape = (1, 8, 300, 300)
    for order in Order:
        kind = Reduce(operator="ReduceMean", axes=(2, 3))
        operation = make(kind, shape, order, "float32", "float32")
        array = np.full(shape, 0.1, np.float32)
        found = run(operation, array, AVX2, 1)
        np.testing.assert_allclose(found, np.float32(0.1), rtol=1e-5)


def test_logsumexp_of_infinities():
    operation = make(
        Reduce(operator="ReduceLogSumExp", axes=(1,)),
        (3, 20),
        Order.ROW_MAJOR,
        "float32",
        "float32",
    )
    array = np.zeros((3, 20), np.float32)
    array[0], array[1, 3] = -np.inf, np.inf
    found = run(operation, array, AVX2, 1)[:, 0]
    np.testing.assert_allclose(found, [-np.inf, np.inf, np.log(20)], rtol=1e-6)


def test_refusals():
    mean = Reduce(operator="ReduceMean", axes=(1,))
    assert "float16" in reduce.match(
        make(mean, (2, 3), Order.ROW_MAJOR, "float16", "float16"), AVX2
    )
    assert reduce.match(make(mean, (2, 0), Order.ROW_MAJOR, "float32", "float32"), AVX2)
    median = Reduce(operator="ReduceMedian", axes=(1,))
    assert reduce.match(make(median, (2, 3), Order.ROW_MAJOR, "float32", "float32"), AVX2)


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    data=st.data(),
    operator=st.sampled_from(["ReduceSum", "ReduceMax", "ReduceL1"]),
    keepdims=st.booleans(),
)
def test_any_axes(shape, data, operator, keepdims):
    target = AVX512 if not reason_not_runnable(AVX512) else AVX2
    axes = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    order = Order.ROW_MAJOR
    if len(shape) == 4 and data.draw(st.booleans()):
        order = Order.NHWC
    rng = np.random.default_rng(sum(shape))
    check_float(operator, tuple(shape), order, tuple(sorted(axes)), keepdims, target, rng, 2)
