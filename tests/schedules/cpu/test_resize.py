"""Resizes against numpy: nearest is a copy, linear in float64."""

import ml_dtypes
import numpy as np
import pytest
from helpers.dense import halo_untouched
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512, HOSTS, reason_not_runnable
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.plan.movement import Resize
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import resize

SHAPES = (
    ((1, 3, 4, 5), (8, 10)),
    ((2, 17, 3, 3), (7, 2)),
    ((1, 100, 5, 4), (3, 9)),
    ((1, 1, 1, 1), (4, 3)),
    ((1, 300, 2, 3), (4, 6)),
)


def taps(size, resized, nearest):
    """Positions and weights of half-pixel resizing."""
    position = (np.arange(resized) + 0.5) * size / resized - 0.5
    if nearest:
        index = np.clip(np.rint(position), 0, size - 1).astype(np.int32)
        return np.stack([index, index], 1), np.tile(np.float32([1, 0]), (resized, 1))
    low = np.floor(position)
    fraction = (position - low).astype(np.float32)
    index = np.clip(np.stack([low, low + 1], 1), 0, size - 1).astype(np.int32)
    return index, np.stack([1 - fraction, fraction], 1)


def check(shape, size, nearest, dtype, target, slices=2):
    rng = np.random.default_rng(shape[1])
    array = (rng.standard_normal(shape) * 50).astype(dtype)
    rows, row_weights = taps(shape[2], size[0], nearest)
    columns, column_weights = taps(shape[3], size[1], nearest)
    kind = Resize(
        nearest=nearest,
        rows=rows,
        row_weights=row_weights,
        columns=columns,
        column_weights=column_weights,
    )
    name = np.dtype(dtype).name
    x = Value("x", shape, name, Order.NHWC, Halo(1, 0, 0, 2))
    y = Value("y", (*shape[:2], *size), name, Order.NHWC, Halo(0, 2, 1, 0))
    operation = Operation(kind, [x], [y])
    assert resize.match(operation, target) == ""
    calls = resize.emit(operation, target)
    flat = run_calls(calls, target, {x: fill(x, array)}, slices)[y]
    assert halo_untouched(y, flat)
    found = read(y, flat)
    if nearest:
        expected = array[:, :, rows[:, 0]][:, :, :, columns[:, 0]]
        np.testing.assert_array_equal(found, expected)
        return
    exact = array.astype(np.float64)
    wide = sum(exact[:, :, rows[:, t]] * row_weights[:, t, None] for t in (0, 1))
    expected = sum(wide[..., columns[:, t]] * column_weights[:, t] for t in (0, 1))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("nearest", [True, False])
@pytest.mark.parametrize("case", SHAPES, ids=str)
@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
def test_float(nearest, case, target):
    check(*case, nearest, np.float32, target)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.int64, np.float16, bool, ml_dtypes.bfloat16]
)
def test_nearest_copies_any_dtype(dtype):
    for case in SHAPES[1:3]:
        check(*case, True, dtype, AVX2)


@pytest.mark.parametrize("target", [A53, ARMV7], ids=lambda t: t.name)
def test_emulated(target):
    check(*SHAPES[1], False, np.float32, target)
    check(*SHAPES[2], True, np.int8, target)


def test_refusals():
    table = np.zeros((2, 2), np.int32)
    kind = Resize(
        nearest=False,
        rows=table,
        row_weights=table.astype(np.float32),
        columns=table,
        column_weights=table.astype(np.float32),
    )

    def refusal(dtype, order):
        x, y = (Value(name, (1, 2, 2, 2), dtype, order) for name in "xy")
        return resize.match(Operation(kind, [x], [y]), AVX2)

    assert refusal("uint8", Order.NHWC) == "linear resize of uint8"
    assert refusal("float32", Order.ROW_MAJOR) == "not NHWC"


@given(
    channels=st.integers(1, 70),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    resized=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    nearest=st.booleans(),
)
def test_any_shape(channels, size, resized, nearest):
    target = AVX512 if not reason_not_runnable(AVX512) else AVX2
    check((1, channels, *size), resized, nearest, np.float32, target)
