"""Percentiles, and ratios that know when they mean nothing."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from edgecomp.bench.statistics import paired_ratio, summarize

TIMES = st.lists(st.integers(1, 10**9), min_size=1, max_size=50)


@hypothesis.given(TIMES)
def test_percentiles_are_ordered_and_inside(times):
    s = summarize(times)
    values = [s.minimum_ns, s.p50_ns, s.p90_ns, s.p99_ns, s.maximum_ns]
    assert values == sorted(values)
    assert s.minimum_ns == min(times)
    assert s.maximum_ns == max(times)
    assert s.runs == len(times)
    assert s.spread >= 0


def test_known_percentiles():
    s = summarize(range(101))
    assert (s.p50_ns, s.p90_ns, s.p99_ns, s.spread) == (50, 90, 99, 1.0)


def test_nothing_to_summarize():
    with pytest.raises(ValueError, match="no times"):
        summarize([])


def _rounds(rng, median, noise, rounds=12, runs=9):
    return [list(median * (1 + noise * rng.standard_normal(runs))) for _ in range(rounds)]


def test_a_clear_difference_is_found(rng):
    ratio = paired_ratio(_rounds(rng, 100.0, 0.05), _rounds(rng, 150.0, 0.05))
    assert ratio.low < 1.5 < ratio.high
    assert ratio.low > 1.3
    assert not ratio.inconclusive


def test_equal_programs_are_inconclusive(rng):
    ratio = paired_ratio(_rounds(rng, 100.0, 0.05), _rounds(rng, 100.0, 0.05))
    assert ratio.low <= 1 <= ratio.high
    assert ratio.inconclusive


def test_few_rounds_are_inconclusive(rng):
    assert paired_ratio(_rounds(rng, 1.0, 0, 4), _rounds(rng, 9.0, 0, 4)).inconclusive
    assert not paired_ratio(_rounds(rng, 1.0, 0, 5), _rounds(rng, 9.0, 0, 5)).inconclusive


def test_drift_of_the_machine_cancels(rng):
    """Both get four times slower on the way: the ratio of each round does not."""
    drift = np.linspace(1, 4, 12)
    a = [[100 * d] * 5 for d in drift]
    b = [[125 * d] * 5 for d in drift]
    ratio = paired_ratio(a, b)
    assert ratio.value == pytest.approx(1.25)
    assert ratio.low == pytest.approx(ratio.high)


@hypothesis.given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=12))
def test_swapping_the_programs_inverts_the_ratio(pairs):
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    forth, back = paired_ratio(a, b), paired_ratio(b, a)
    assert forth.low <= forth.value <= forth.high
    if len(pairs) % 2:  # the median of an even number of ratios is not the inverse's
        assert forth.value == pytest.approx(1 / back.value)


def test_rounds_must_pair():
    with pytest.raises(ValueError, match="same number"):
        paired_ratio([[1]], [[1], [2]])
