"""The growing histogram against numpy's over the whole data."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.calibrate.histogram import BINS_PER_SIDE, Histogram


@given(
    st.lists(
        st.tuples(st.floats(2.0**-20, 2.0**10), st.integers(1, 200)), min_size=1, max_size=6
    ),
    st.integers(0, 99),
)
def test_it_equals_a_histogram_of_everything(parts, seed):
    rng = np.random.default_rng(seed)
    arrays = [
        (rng.standard_normal(count) * scale).astype(np.float32) for scale, count in parts
    ]
    histogram = Histogram()
    for array in arrays:
        histogram.add(array)
    whole = np.concatenate(arrays)
    reach = histogram.reach
    assert np.log2(reach) == np.rint(np.log2(reach))
    assert reach / 2 < np.abs(whole).max() <= reach
    expected, _ = np.histogram(whole, 2 * BINS_PER_SIDE, (-reach, reach))
    np.testing.assert_array_equal(histogram.counts, expected)
    assert (histogram.low, histogram.high) == (whole.min(), whole.max())
    assert histogram.total == whole.size


def test_zeros_are_counted_apart():
    histogram = Histogram()
    histogram.add(np.zeros((2, 5), np.float32))
    assert (histogram.reach, histogram.zeros, histogram.total) == (0.0, 10, 10)
    histogram.add(np.array([0.0, 3.0], np.float32))
    assert (histogram.reach, histogram.zeros, histogram.total) == (4.0, 11, 12)
    assert histogram.counts.sum() == 1


def test_the_greatest_number_may_lie_on_the_last_edge():
    histogram = Histogram()
    histogram.add(np.array([4.0, -4.0], np.float32))
    assert histogram.counts[-1] == 1
    assert histogram.counts[0] == 1


def test_what_is_not_finite_is_noted_and_left_out():
    histogram = Histogram()
    histogram.add(np.array([1.0, np.nan, -np.inf], np.float32))
    assert not histogram.finite
    assert histogram.total == 1


def test_nothing():
    histogram = Histogram()
    histogram.add(np.zeros(0, np.float32))
    assert histogram.total == 0
