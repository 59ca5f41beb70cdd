"""Products with pairs: shapes, numbers far apart, slices, when they are chosen."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import RELU, Conv, as_matrix_multiply, halo_untouched, make_float
from helpers.kernels import read, run_calls
from helpers.targets import AVX512, HALVES, PAIRS, reason_not_runnable
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.lower.select import find_schedule
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.sizes import Size, Symbol
from edgecomp.plan.values import Halo, Value
from edgecomp.schedules.cpu import convolution, paired_product
from edgecomp.schedules.cpu.dynamic import paired_products, products
from edgecomp.schedules.cpu.dynamic.family import find_dynamic_schedule
from edgecomp.schedules.cpu.paired_numbers import PAIR_STEP, Pairing, pair_weights

pytestmark = pytest.mark.skipif(
    bool(reason_not_runnable(PAIRS)), reason=reason_not_runnable(PAIRS)
)

FLOAT_TOLERANCE = 2e-5  # of the largest magnitude: docs/numerics.md
LEAST_DECIBELS = 110

SHAPES = [
    Conv(c=24, m=16, h=1, w=6),  # the least of pairs
    Conv(c=25, m=37, h=3, w=5, act=RELU),  # one element of K left, tails everywhere
    Conv(c=71, m=100, h=7, w=7, residual=True),
    Conv(c=48, m=70, h=9, w=4, n=2, y_halo=Halo(1, 2, 0, 1)),  # images, a halo of the output
    Conv(c=96, m=24, h=14, w=14, s=(2, 2), x_halo=Halo(0, 0, 1, 1)),
    Conv(c=13, m=40, h=8, w=9, k=(3, 3), p=(1, 1, 1, 1), residual=True),  # a window
    Conv(c=30, m=33, h=6, w=13, k=(1, 3), p=(0, 1, 0, 1), act=RELU),
    Conv(c=384, m=384, h=1, w=128),
]


def check(case, slices=1, target=PAIRS, params=""):
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    calls = paired_product.emit_candidate(operation, target, params)
    after = run_calls(calls, target, buffers, slices)
    flat = after[operation.output]
    found = read(operation.output, flat)
    error = found - expected
    assert np.abs(error).max() <= FLOAT_TOLERANCE * max(1, np.abs(expected).max())
    assert 10 * np.log10((expected**2).sum() / (error**2).sum()) > LEAST_DECIBELS
    assert halo_untouched(operation.output, flat)
    return found


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_shapes(case):
    check(case, slices=3)


def test_same_numbers_for_any_slices():
    case = Conv(c=130, m=200, h=13, w=11, act=RELU)
    small = dataclasses.replace(
        PAIRS, core=dataclasses.replace(PAIRS.core, l2_bytes=1 << 16)
    )  # several chunks of rows
    operation = make_float(case, np.random.default_rng(1))[0]
    (call,) = paired_product.emit(operation, small)
    assert call.work_items > 4
    whole = check(case, target=small)
    for slices in (2, 3, call.work_items):
        assert (check(case, slices, small) == whole).all()


@st.composite
def cases(draw):
    k = draw(st.sampled_from([(1, 1), (3, 3), (2, 3)]))
    return Conv(
        n=draw(st.integers(1, 2)),
        c=draw(st.integers(24 if k == (1, 1) else 4, 90)),
        m=draw(st.integers(1, 150)),
        h=draw(st.integers(5, 14)),
        w=draw(st.integers(5, 14)),
        k=k,
        s=draw(st.sampled_from([(1, 1), (2, 1), (2, 2)])),
        p=tuple(draw(st.integers(0, 1)) for _ in range(4)),
        y_halo=Halo(*(draw(st.integers(0, 1)) for _ in range(4))),
        residual=draw(st.booleans()),
    )


@given(case=cases(), slices=st.integers(1, 4))
def test_any_shape(case, slices):
    check(case, slices)


def test_every_tile_worth_measuring():
    case = Conv(c=51, m=100, h=5, w=9, residual=True)
    operation = make_float(case, np.random.default_rng(1))[0]
    found = paired_product.candidates(operation, PAIRS)
    assert len(found) > 2
    for params in found:
        check(case, params=params)


def product(x, weight, bias):
    """Results of a matrix product's kernel for x [rows, K] and weights [K, columns]."""
    case = Conv(c=x.shape[1], m=weight.shape[1], h=1, w=len(x))
    operation, buffers, _ = make_float(case, np.random.default_rng(1))
    operation, values = as_matrix_multiply(operation)
    operation.inputs[1].constant = weight
    operation.inputs[2].constant = bias
    buffers = {values[value]: x.reshape(-1) for value in buffers if value in values}
    after = run_calls(paired_product.emit(operation, PAIRS), PAIRS, buffers)
    return read(operation.output, after[operation.output]).reshape(len(x), -1)


ROWS = Symbol("rows", 1, 300)


def check_rows(rows, *, depth=130, columns=200, residual=True, slices=1, target=PAIRS):
    """A kernel for 1 to 300 rows at one of these sizes; what is read behind them is NaN."""
    rng = np.random.default_rng(rows)
    x = rng.standard_normal((300, depth)).astype(np.float32)
    x[rows:] = np.nan
    weight = rng.standard_normal((depth, columns)).astype(np.float32)
    bias = rng.standard_normal(columns).astype(np.float32)
    more = rng.standard_normal((300, columns)).astype(np.float32)
    size = Size.of(ROWS)
    inputs = [
        Value("x", (size, depth), "float32"),
        Value("w", weight.shape, "float32", constant=weight),
        Value("b", bias.shape, "float32", constant=bias),
        *([Value("r", (size, columns), "float32")] if residual else []),
    ]
    kind = MatrixMultiply(activation=RELU, residual=residual)
    operation = Operation(kind, inputs, [Value("y", (size, columns), "float32")])
    calls = paired_products.emit(operation, target)
    (call,) = calls
    # As much room as the plan gives: tiles may go on behind the last row.
    overrun = dict(zip(call.arguments, call.dynamic.overrun_bytes, strict=True))
    assert min(overrun[inputs[0]], overrun[operation.output]) > 0
    room = np.concatenate([x, np.full((20, depth), np.nan, np.float32)])
    buffers = {inputs[0]: room.reshape(-1)}
    buffers[operation.output] = np.zeros((320, columns), np.float32).reshape(-1)
    if residual:
        buffers[inputs[3]] = np.concatenate([more, more[:20]]).reshape(-1)
    after = run_calls(calls, target, buffers, slices, {ROWS: rows})
    found = after[operation.output].reshape(320, columns)[:rows]
    expected = x[:rows].astype(np.float64) @ weight + bias + (more[:rows] if residual else 0)
    np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=2e-5, atol=1e-3)
    return found


@pytest.mark.parametrize("rows", [1, 2, 5, 12, 13, 47, 48, 300])
def test_rows_that_differ_from_run_to_run(rows):
    check_rows(rows, residual=rows % 2 == 0)
    small = dataclasses.replace(
        PAIRS, core=dataclasses.replace(PAIRS.core, l2_bytes=1 << 16)
    )  # several chunks of rows
    whole = check_rows(rows, target=small)
    assert (check_rows(rows, target=small, slices=5) == whole).all()


@pytest.mark.parametrize("least", [1, 15, 16])
def test_rows_that_may_be_few_have_no_pairs(least):
    size = Size.of(Symbol("rows", least, 300))
    weight, bias = np.ones((130, 200), np.float32), np.zeros(200, np.float32)
    inputs = [
        Value("x", (1, size, 130), "float32"),
        Value("w", weight.shape, "float32", constant=weight),
        Value("b", bias.shape, "float32", constant=bias),
    ]
    operation = Operation(MatrixMultiply(), inputs, [Value("y", (1, size, 200), "float32")])
    schedule, refusals = find_dynamic_schedule(operation, PAIRS)
    assert schedule is (paired_products if least == 16 else products)
    assert least == 16 or any(f"it may have {least} rows" in each for each in refusals)
    assert find_dynamic_schedule(operation, PAIRS, {paired_products.NAME})[0] is products


def decibels(found, x, weight):
    expected = x.astype(np.float64) @ weight.astype(np.float64)
    return 10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum())


def powers(rng, low, high, *shape):
    return (10.0 ** rng.uniform(low, high, shape)).astype(np.float32)


#: What x and weights are multiplied by, and the least signal to noise. Errors of pairs follow the
#: larger one of x and w, which scales of rows, columns and elements of K bring together.
NUMBERS = {
    "as they are": (lambda _: (1, 1), 120),
    "small and large rows": (lambda rng: (powers(rng, -9, 9, 40, 1), 1), 115),
    "small and large columns": (lambda rng: (1, powers(rng, -4, 4, 1, 70)), 115),
    "an outlier": (lambda _: (np.where(np.arange(300) == 7, 80, 1), 1), 115),
    "channels of x": (lambda rng: (powers(rng, -3, 2, 1, 300), 1), 110),
    "channels of x that weights undo": (
        lambda rng: (lambda c: (c, 1 / c.T))(powers(rng, -2, 2, 1, 300)),
        110,
    ),
    "mostly zeros": (lambda rng: (rng.random((40, 300)) < 0.05, 1), 105),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_far_apart(kind, rng):
    scales, least = NUMBERS[kind]
    of_x, of_weights = scales(rng)
    x = (rng.standard_normal((40, 300)) * of_x).astype(np.float32)
    weight = (rng.standard_normal((300, 70)) * of_weights).astype(np.float32)
    found = product(x, weight, np.zeros(70, np.float32))
    worst = [decibels(found[row], x[row], weight) for row in range(40)]
    assert min(worst) > least - 5
    assert decibels(found, x, weight) > least


def test_rows_and_columns_of_zeros_give_the_bias(rng):
    x = rng.standard_normal((9, 64)).astype(np.float32)
    x[4] = 0
    weight = rng.standard_normal((64, 40)).astype(np.float32)
    weight[:, 11] = 0
    weight[20] = 0
    bias = rng.standard_normal(40).astype(np.float32)
    found = product(x, weight, bias)
    assert (found[4] == bias).all()
    assert (found[:, 11] == bias[11]).all()


def test_what_is_no_number_stays_in_its_row(rng):
    x = rng.standard_normal((9, 64)).astype(np.float32)
    x[2, 5], x[6, 63] = np.nan, np.inf
    found = product(x, rng.standard_normal((64, 40)).astype(np.float32), np.zeros(40, "f4"))
    assert not np.isfinite(found[[2, 6]]).any()
    assert np.isfinite(np.delete(found, [2, 6], axis=0)).all()


@given(depth=st.integers(3 * PAIR_STEP, 200), seed=st.integers(0, 1000))
def test_the_formula(depth, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-50, 50, (3, depth)).astype(np.float64)
    pairing = Pairing.of(depth)
    paired = pair_weights(rng.integers(-50, 50, (5, depth)).astype(np.float32), pairing)
    assert sorted(pairing.order) == list(range(depth))
    half, signs = pairing.half, pairing.signs
    weight = paired.weights.astype(np.float64)
    factors = 1 if paired.factors is None else paired.factors
    scaled = x * factors
    low, high, rest = np.split(np.arange(depth), [half, 2 * half])
    # Plus: (x_i + w_j) (x_j + w_i); minus: -(w_j - x_i) (w_i - x_j).
    sums = weight[None, :, high] + (scaled[:, low] * signs)[:, None]
    others = weight[None, :, low] + (scaled[:, high] * signs)[:, None]
    total = (signs * sums * others).sum(-1) + scaled[:, rest] @ weight[:, rest].T
    total += paired.start - (scaled[:, low] * scaled[:, high] * signs).sum(-1)[:, None]
    found = total * paired.multiplier
    exact = (paired.weights * paired.multiplier[:, None]) * factors
    np.testing.assert_allclose(found, x @ exact.T.astype(np.float64), rtol=1e-4, atol=0.05)


def operation_of(case):
    return make_float(case, np.random.default_rng(0))[0]


def test_choice():
    """Not where few columns follow a row, nor without adders, nor for other numbers."""
    wide, narrow = (operation_of(Conv(c=96, m=m, h=14, w=14)) for m in (96, 8))
    assert find_schedule(wide, PAIRS)[0] is paired_product
    assert find_schedule(wide, PAIRS, {paired_product.NAME})[0] is convolution
    assert find_schedule(narrow, PAIRS)[0] is convolution
    assert find_schedule(wide, HALVES)[0] is convolution
    product_operation, _ = as_matrix_multiply(operation_of(Conv(c=96, m=96, h=1, w=14)))
    assert find_schedule(product_operation, PAIRS)[0] is paired_product


@pytest.mark.parametrize(
    ("case", "target", "reason"),
    [
        (Conv(c=96, m=96, h=9, w=9), HALVES, "additions take the units"),
        (
            Conv(c=96, m=96, h=9, w=9),
            dataclasses.replace(
                AVX512, core=dataclasses.replace(AVX512.core, adders_apart=True)
            ),
            "in 1 turns",
        ),
        (Conv(c=96, m=96, h=9, w=9, g=2), PAIRS, "2 groups"),
        (Conv(c=23, m=96, h=9, w=9), PAIRS, "23 products"),
        (Conv(c=96, m=96, h=1, w=5), PAIRS, "5 rows"),
        (Conv(c=512, m=512, h=3, w=5), PAIRS, "15 rows"),
        (Conv(c=96, m=4, h=9, w=9), PAIRS, "modelled"),
    ],
)
def test_refuses_with_reason(case, target, reason):
    assert reason in paired_product.match(operation_of(case), target)
    assert "1 turns" not in reason or not paired_product.candidates(operation_of(case), target)


def test_refuses_stored_weights_of_another_type():
    operation = make_float(Conv(c=96, m=96, h=9, w=9), np.random.default_rng(0), "float16")[0]
    assert "float16" in paired_product.match(operation, PAIRS)
