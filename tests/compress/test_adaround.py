"""Learned rounding: neighbours only, less error than nearest, the same numbers each time."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from edgecomp.compress.adaround import AdaRoundSettings, adaround


def problem(rng, depth, columns, rows=400):
    """Correlated inputs with a mean of their own, and weights."""
    mixed = rng.standard_normal((rows, depth)) @ rng.standard_normal((depth, depth))
    return np.maximum(0.3 * mixed + 0.5, 0), rng.standard_normal((depth, columns))


def error(inputs, weight, numbers, scales):
    return ((inputs @ (numbers * scales - weight)) ** 2).sum(axis=0)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_columns_lose_less_than_by_rounding_to_nearest(rng, bits, figure):
    inputs, weight = problem(rng, 48, 24)
    most = 2 ** (bits - 1) - 1
    scales = np.abs(weight).max(axis=0) / most
    numbers = adaround(weight, inputs.T @ inputs, scales, 0, (-most, most))
    nearest = np.rint(weight / scales)
    assert np.abs(numbers - weight / scales).max() < 1
    assert np.abs(numbers).max() == most
    learned, control = (error(inputs, weight, each, scales) for each in (numbers, nearest))
    assert (learned <= control * (1 + 1e-9)).all()
    figure(f"adaround at {bits} bits, error over nearest", f"{(learned / control).mean():.2f}")
    assert learned.sum() < 0.8 * control.sum()


def test_other_inputs_gain_too(rng):
    inputs, weight = problem(rng, 32, 16, rows=3000)
    scales = np.abs(weight).max(axis=0) / 7
    seen, unseen = inputs[:2000], inputs[2000:]
    numbers = adaround(weight, seen.T @ seen, scales, 0, (-7, 7))
    nearest = error(unseen, weight, np.rint(weight / scales), scales)
    assert error(unseen, weight, numbers, scales).sum() < 0.85 * nearest.sum()


def test_groups_with_zero_points(rng):
    inputs, weight = problem(rng, 32, 8)
    parts = weight.reshape(4, 8, 8)
    scale = np.repeat((parts.max(1) - parts.min(1)) / 15, 8, axis=0)
    zero = np.repeat(np.rint(-parts.min(1) / ((parts.max(1) - parts.min(1)) / 15)), 8, axis=0)
    numbers = adaround(weight, inputs.T @ inputs, scale, zero, (0, 15))
    nearest = np.clip(np.rint(weight / scale + zero), 0, 15)
    learned, control = (
        ((inputs @ ((each - zero) * scale - weight)) ** 2).sum() for each in (numbers, nearest)
    )
    assert learned < 0.8 * control


def test_numbers_stay(rng):
    inputs, _ = problem(rng, 16, 4)
    numbers = rng.integers(-7, 8, (16, 4))
    found = adaround(numbers * 0.25, inputs.T @ inputs, 0.25, 0, (-7, 7))
    np.testing.assert_array_equal(found, numbers)


def test_inputs_that_are_zero_say_nothing(rng):
    weight = rng.standard_normal((8, 3))
    found = adaround(weight, np.zeros((8, 8)), 0.1, 0, (-127, 127))
    np.testing.assert_array_equal(found, np.rint(weight / 0.1))


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(
    seed=st.integers(0, 1000), depth=st.integers(1, 20), columns=st.integers(1, 9)
)
def test_any_matrix(seed, depth, columns):
    rng = np.random.default_rng(seed)
    inputs, weight = problem(rng, depth, columns, rows=depth + 3)
    settings = AdaRoundSettings(steps=80)
    first, second = (
        adaround(weight, inputs.T @ inputs, 0.2, 0, (-7, 7), settings) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert first.min() >= -7
    assert first.max() <= 7
    nearest = np.clip(np.rint(weight / 0.2), -7, 7)
    learned, control = (error(inputs, weight, each, 0.2) for each in (first, nearest))
    assert (learned <= control * (1 + 1e-9) + 1e-12).all()
