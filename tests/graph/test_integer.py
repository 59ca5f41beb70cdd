"""The integer arithmetic against Python's integers and fractions."""

import fractions
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.graph import integer
from edgecomp.graph.integer import Affine, Requantization

scales = st.floats(2.0**-23, 1024.0, width=32)
U8 = np.dtype(np.uint8)
I8 = np.dtype(np.int8)


def requantize_in_python(acc, multiplier, zero_point, low, high):
    """One accumulator with exact fractions and one rounding to float32 per step."""
    as_float = np.float32(acc)  # Python's int to float32: one rounding to nearest even
    product = fractions.Fraction(float(as_float)) * fractions.Fraction(float(multiplier))
    # A float64 product of two float32 is exact, so that this rounds once.
    t = np.float32(float(as_float) * float(multiplier))
    assert fractions.Fraction(float(as_float) * float(multiplier)) == product
    t = min(max(float(t), low - zero_point), high - zero_point)
    floor = math.floor(t)
    rest = t - floor
    rounded = floor + (rest > 0.5 or (rest == 0.5 and floor % 2 == 1))
    return rounded + zero_point


@given(
    st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=20),
    st.floats(2.0**-40, 4.0, width=32),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 255),
)
def test_requantize_is_one_rounding_per_step(accumulators, multiplier, zero_point, a, b):
    low, high = min(a, b), max(a, b)
    r = Requantization(np.array([multiplier], np.float32), zero_point, low, high, U8)
    found = integer.requantize(np.array(accumulators)[:, None], r)[:, 0]
    expected = [
        requantize_in_python(acc, np.float32(multiplier), zero_point, low, high)
        for acc in accumulators
    ]
    assert found.tolist() == expected


def test_requantize_rounds_ties_to_even():
    r = Requantization(np.array([0.5], np.float32), 10, 0, 255, U8)
    found = integer.requantize(np.array([-5, -3, -1, 0, 1, 3, 5]), r)
    assert found.tolist() == [8, 8, 10, 10, 10, 12, 12]


def test_requantize_has_a_multiplier_per_channel_of_the_last_dimension():
    r = Requantization(np.array([1, 0.5, 0.25], np.float32), -3, -128, 127, I8)
    assert integer.requantize(np.full((2, 3), 100), r).tolist() == [[97, 47, 22]] * 2


def test_an_accumulator_beyond_int32_is_an_error():
    r = Requantization(np.array([1], np.float32), 0, 0, 255, U8)
    with pytest.raises(OverflowError):
        integer.requantize(np.array([2**31]), r)


@given(scales, scales, scales, st.booleans())
def test_add_weights_keep_the_accumulator_exact_in_float32(a, b, y, subtract):
    w = integer.add_weights(a, b, y, subtract=subtract)
    assert (abs(w.weight_a) + abs(w.weight_b)) * 255 < 2**24
    assert w.shift <= 30
    assert float(w.multiplier[0]) == 2.0**-w.shift
    if w.shift < 30:  # the next finer weights would not fit
        finer = [
            round_even(np.float32(s) / float(np.float32(y)) * 2.0 ** (w.shift + 1))
            for s in (a, b)
        ]
        assert sum(finer) * 255 >= 2**24


def round_even(x):
    return int(np.rint(np.float64(x)))


@given(scales, scales, scales, st.integers(0, 255), st.integers(0, 255))
def test_an_integer_sum_is_the_real_sum_to_half_a_step(a, b, y, qa, qb):
    w = integer.add_weights(a, b, y, subtract=False)
    scale_a, scale_b, scale_y = (float(np.float32(s)) for s in (a, b, y))
    real = (qa * scale_a + qb * scale_b) / scale_y
    found = (qa * w.weight_a + qb * w.weight_b) * 2.0**-w.shift
    # Each weight is off by at most half, 255 times.
    assert abs(found - real) <= 255 * 2.0**-w.shift


def test_a_difference_has_a_negative_second_weight():
    w = integer.add_weights(0.5, 0.25, 1.0, subtract=True)
    assert w.weight_a == -2 * w.weight_b > 0


def test_add_weights_refuse_a_result_scale_that_is_too_small():
    with pytest.raises(OverflowError):
        integer.add_weights(1e30, 1.0, 1e-30, subtract=False)


@given(scales, scales, scales)
def test_multipliers_round_once_to_float32(x, w, y):
    x, w, y = (np.float32(s) for s in (x, w, y))
    exact = fractions.Fraction(float(x)) * fractions.Fraction(float(w))
    exact /= fractions.Fraction(float(y))
    found = integer.requantize_multiplier(x, w, y)
    assert found.dtype == np.float32
    assert found.shape == (1,)
    assert abs(fractions.Fraction(float(found[0])) / exact - 1) <= fractions.Fraction(1, 2**23)


def test_a_multiplier_beyond_float32_is_refused():
    with pytest.raises(OverflowError):
        integer.requantize_multiplier(1e30, 1e30, 1e-30)


@given(scales, st.integers(0, 255), st.floats(-100, 100), st.floats(-100, 100))
def test_clamp_bounds_lie_within_the_dtype_and_in_order(scale, zero_point, a, b):
    affine = Affine(np.float32(scale), zero_point, U8)
    low, high = integer.clamp_bounds(affine, min(a, b), max(a, b))
    assert 0 <= low <= high <= 255
    assert integer.clamp_bounds(affine, 0.0)[0] == zero_point
    assert integer.clamp_bounds(affine) == (0, 255)


def test_a_lookup_table_is_the_rounded_function():
    x, y = Affine(np.float32(0.1), 100, U8), Affine(np.float32(1 / 256), -128, I8)
    table = integer.lookup_table(lambda r: 1 / (1 + np.exp(-r)), x, y)
    for stored in range(256):
        real = 1 / (1 + math.exp(-float(np.float32(0.1)) * (stored - 100)))
        assert table[stored] == min(127, max(-128, round(real * 256) - 128))
    assert integer.look_up(table, np.array([0, 255], np.uint8)).tolist() == [-128, 127]


def test_a_table_of_int8_starts_at_the_least_stored_number():
    affine = Affine(np.float32(1.0), 0, I8)
    table = integer.lookup_table(np.negative, affine, affine)
    assert integer.look_up(table, np.array([-128, -1, 127], np.int8)).tolist() == [
        127,
        1,
        -127,
    ]


def test_a_table_maps_nan_to_the_zero_point():
    x, y = Affine(np.float32(1.0), 128, U8), Affine(np.float32(0.1), 7, U8)
    table = integer.lookup_table(np.sqrt, x, y)
    assert table[0] == 7
    assert table[132] == 27


def test_a_moved_value_needs_no_table_where_nothing_changes():
    affine = Affine(np.float32(0.3), 5, U8)
    assert integer.move_table(affine, affine) is None
    assert integer.move_table(affine, affine, low=5).tolist() == [
        max(5, q) for q in range(256)
    ]
    assert integer.move_table(affine, Affine(np.float32(0.6), 5, U8))[5] == 5


@given(
    st.lists(st.floats(-1048576.0, 1048576.0, width=32), min_size=1, max_size=30),
    scales,
    st.integers(0, 255),
)
def test_quantize_and_dequantize_differ_by_half_a_step_inside_the_range(x, scale, zero_point):
    x, scale = np.array(x, np.float32), np.float32(scale)
    stored = integer.quantize(x, scale, np.array(zero_point), U8)
    back = integer.dequantize(stored, scale, np.array(zero_point)).astype(np.float64)
    low, high = (0 - zero_point) * float(scale), (255 - zero_point) * float(scale)
    expected = np.clip(x.astype(np.float64), low, high)
    # float32 rounding of the quotient moves a tie by less than this.
    assert (np.abs(back - expected) <= float(scale) * (0.5 + 2e-5)).all()


def test_quantize_of_nan_and_infinity():
    x = np.array([np.nan, np.inf, -np.inf, 0.0], np.float32)
    found = integer.quantize(x, np.float32(0.5), np.array(9), U8)
    assert found.tolist() == [9, 255, 0, 9]
