"""Range choice: what each method does to known distributions."""

import collections
import math

import numpy as np
import onnx_ir as ir
import pytest
import scipy.stats

from edgecomp.calibrate.histogram import Histogram
from edgecomp.calibrate.ranges import (
    METHODS,
    NOT_FINITE,
    Range,
    minmax_range,
    range_of,
    within_changes,
)
from edgecomp.graph.unary import unary_function

#: Thresholds whose divergence is computed literally, as shares of the largest magnitude.
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def histogram_of(*arrays):
    histogram = Histogram()
    for array in arrays:
        histogram.add(np.asarray(array, np.float32))
    return histogram


def squared_error(x, limits):
    scale = (limits.high - limits.low) / 255
    zero = np.rint(-limits.low / scale)
    stored = np.clip(np.rint(x / scale) + zero, 0, 255)
    return float((((stored - zero) * scale - x) ** 2).mean())


def result_error(x, limits, function):
    """Of what a function makes of stored numbers, against what it makes of the numbers."""
    scale = (limits.high - limits.low) / 255
    zero = np.rint(-limits.low / scale)
    stored = np.clip(np.rint(x / scale) + zero, 0, 255)
    return float(((function((stored - zero) * scale) - function(x)) ** 2).mean())


def function_named(operator):
    return unary_function(ir.node(operator, [ir.Value(name="x")]))


@pytest.fixture
def outliers(rng):
    """Normal numbers and a few that are far away."""
    return np.concatenate([rng.standard_normal(200_000), [60.0, -45.0]])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", ["normal", "relu", "negative", "relu6", "constant", "zero"])
def test_ranges_lie_in_what_was_seen_and_contain_zero(method, shape, rng):
    x = {
        "normal": rng.standard_normal(5000),
        "relu": np.maximum(rng.standard_normal(5000), 0),
        "negative": -np.abs(rng.standard_normal(5000)) - 1,
        "relu6": np.clip(5 * rng.standard_normal(5000), 0, 6),
        "constant": np.full(100, 3.0),
        "zero": np.zeros(10),
    }[shape].astype(np.float32)
    found = range_of(histogram_of(x), method)
    assert min(0.0, x.min()) <= found.low <= 0 <= found.high <= max(0.0, x.max())
    assert (found.high > found.low) == (shape != "zero")


def test_minmax_covers_everything(outliers):
    assert range_of(histogram_of(outliers), "minmax") == Range(-45.0, 60.0)


@pytest.mark.parametrize(("method", "most"), [("percentile", 6), ("entropy", 12), ("mse", 50)])
def test_other_methods_clip_outliers(method, most, outliers):
    found = range_of(histogram_of(outliers), method)
    assert 3 < found.high < most
    assert -most < found.low < -3


def test_percentile_is_numpys(rng):
    x = rng.standard_normal(100_000).astype(np.float32)
    found = range_of(histogram_of(x), "percentile", 99.0)
    low, high = np.percentile(x, [0.5, 99.5])
    assert abs(found.low - low) < 5e-3
    assert abs(found.high - high) < 5e-3


def test_percentile_counts_zeros():
    x = np.concatenate([np.zeros(99_000), np.full(500, 1.0), np.full(500, 8.0)])
    assert range_of(histogram_of(x), "percentile", 98.0).high < 1.1
    assert range_of(histogram_of(x), "percentile", 99.98).high > 7.9


@pytest.mark.parametrize("kind", ["normal", "laplace", "relu", "shifted"])
def test_mse_is_no_worse_than_any_of_the_others(kind, rng):
    x = {
        "normal": rng.standard_normal(50_000),
        "laplace": rng.laplace(size=50_000),
        "relu": np.maximum(rng.laplace(size=50_000), 0),
        "shifted": rng.laplace(size=50_000) + 2,
    }[kind].astype(np.float32)
    histogram = histogram_of(x)
    errors = {method: squared_error(x, range_of(histogram, method)) for method in METHODS}
    # The search is a grid over a histogram.
    assert errors["mse"] <= 1.02 * min(errors.values())


@pytest.mark.parametrize(
    ("operator", "gain"),
    [("Gelu", 0.6), ("Sigmoid", 0.7), ("HardSigmoid", 0.6), ("Tanh", 0.7)],
)
def test_mse_of_an_argument_is_that_of_the_results(operator, gain, rng):
    x = (3 * rng.standard_normal(50_000)).astype(np.float32).astype(np.float64)
    function = function_named(operator)
    histogram = histogram_of(x)
    plain, found = range_of(histogram, "mse"), range_of(histogram, "mse", function=function)
    assert result_error(x, found, function) < gain * result_error(x, plain, function)


@pytest.mark.parametrize("method", METHODS)
def test_an_argument_without_finite_results_has_the_range_of_its_numbers(method, rng):
    histogram = histogram_of(rng.standard_normal(5000))
    plain = range_of(histogram, method)
    assert range_of(histogram, method, function=function_named("Log")) == plain


def test_a_range_ends_where_results_no_longer_change():
    wide = Range(-20.0, 10.0)
    gelu = within_changes(wide, function_named("Gelu"))
    assert -3.0 < gelu.low < -2.0
    assert gelu.high == pytest.approx(10.0, rel=1 / 256)
    sigmoid = within_changes(wide, function_named("Sigmoid"))
    assert -7.0 < sigmoid.low < -5.0 < 5.0 < sigmoid.high < 7.0
    relu = within_changes(wide, function_named("Relu"))
    assert relu.low == 0.0
    assert relu.high == pytest.approx(10.0, rel=1 / 256)
    assert within_changes(wide, None) == wide
    assert within_changes(NOT_FINITE, function_named("Gelu")) is NOT_FINITE


def literal_divergence(values, limits, width):
    """The published computation, bin after bin."""
    counts = collections.Counter(math.floor(x / width) for x in values.tolist() if x)
    inside = [
        k
        for k in range(min(counts), max(counts) + 1)
        if (k + 1) * width > limits.low and k * width < limits.high
    ]
    clipped = {k: counts[k] for k in inside}
    clipped[inside[0]] += sum(n for k, n in counts.items() if k < inside[0])
    clipped[inside[-1]] += sum(n for k, n in counts.items() if k > inside[-1])
    step = (limits.high - limits.low) / 255
    levels = collections.defaultdict(list)
    for k in inside:
        level = min(max(round(((k + 0.5) * width - limits.low) / step), 0), 255)
        levels[level].append(k)
    stored = dict.fromkeys(inside, 0.0)
    for bins in levels.values():
        used = [k for k in bins if clipped[k]]
        for k in used:
            stored[k] = sum(counts[b] for b in bins) / len(used)
    total = sum(stored.values())
    # Smoothed, as all that implement it do: a used bin of which nothing is stored is not infinite.
    q = [max(stored[k] / total, 1e-12) for k in inside]
    return scipy.stats.entropy([clipped[k] for k in inside], q)


@pytest.mark.parametrize("kind", ["normal", "relu", "heavy", "heavy relu", "shifted"])
def test_entropy_has_the_least_divergence(kind, rng):
    x = {
        "normal": rng.standard_normal(50_000),
        "relu": np.maximum(rng.laplace(size=50_000), 0),
        "heavy": rng.standard_t(3, size=50_000),
        "heavy relu": np.maximum(rng.standard_t(4, size=50_000), 0),
        "shifted": rng.laplace(size=50_000) + 2,
    }[kind].astype(np.float32)
    histogram = histogram_of(x)
    full = minmax_range(histogram.low, histogram.high)
    largest = max(-full.low, full.high)
    tried = [full.clipped(-share * largest, share * largest) for share in SHARES]
    least = min(literal_divergence(x, limits, histogram.width) for limits in tried)
    found = literal_divergence(x, range_of(histogram, "entropy"), histogram.width)
    assert found <= least * (1 + 1e-6)
    if kind.startswith("heavy"):
        assert range_of(histogram, "entropy").high < 0.9 * largest


def test_entropy_is_not_led_by_a_spike_of_zeros(rng):
    """A rectifier leaves most values at zero; the rest still has to be covered."""
    x = np.maximum(rng.standard_normal(100_000) - 1.5, 0)
    assert range_of(histogram_of(x), "entropy").high > 1.5


def test_entropy_keeps_a_spike_at_the_end(rng):
    """Pixels and clipped activations pile up at their greatest value."""
    x = np.concatenate([np.zeros(8000), rng.integers(1, 255, 900) / 255, np.ones(1100)])
    assert range_of(histogram_of(x), "entropy").high > 0.95
    x = np.clip(4 * rng.standard_normal(50_000), 0, 6)
    assert range_of(histogram_of(x), "entropy").high > 5.5


def test_a_nan_or_an_infinity_makes_the_range_not_finite():
    for method in METHODS:
        assert not range_of(histogram_of([1.0, np.nan]), method).finite
        assert not range_of(histogram_of([1.0, np.inf]), method).finite
    assert not minmax_range(0.0, float("inf")).finite


def test_clipping_and_union():
    assert Range(-3.0, 9.0).clipped(0.0, 6.0) == Range(0.0, 6.0)
    assert Range(-1.0, 2.0).union(Range(0.0, 5.0)) == Range(-1.0, 5.0)
