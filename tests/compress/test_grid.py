"""Scales, zero points and rounding to nearest."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from edgecomp.compress.grid import WeightForm, grid_of
from edgecomp.compress.round_to_nearest import round_to_nearest

FORMS = st.builds(
    WeightForm,
    bits=st.sampled_from([2, 3, 4, 8]),
    group=st.sampled_from([0, 16, 48]),
    symmetric=st.booleans(),
    ranges=st.sampled_from(["minmax", "mse"]),
)


def expected(weight, stored, form):
    """Real numbers of stored ones, group after group in float64."""
    block = form.group or len(weight)
    real = np.empty(weight.shape)
    for index, first in enumerate(range(0, len(weight), block)):
        part = slice(first, first + block)
        steps = stored.numbers[part].astype(np.float64) - stored.zeros[index]
        real[part] = steps * stored.scales[index].astype(np.float64)
    return real


@hypothesis.settings(max_examples=30)
@hypothesis.given(
    form=FORMS, depth=st.integers(1, 100), columns=st.integers(1, 9), seed=st.integers(0, 99)
)
def test_every_weight_is_the_nearest_number_of_its_group(form, depth, columns, seed):
    weight = np.random.default_rng(seed).standard_normal((depth, columns))
    stored = round_to_nearest(weight, form)
    assert stored.numbers.dtype == np.uint8
    assert stored.numbers.max() < 1 << form.bits
    assert stored.scales.shape == (-(-depth // (form.group or depth)), columns)
    real = expected(weight, stored, form)
    np.testing.assert_allclose(stored.real(), real, rtol=1e-6, atol=0)
    group = np.arange(depth) // (form.group or depth)
    steps = np.arange(1 << form.bits)[:, None, None] - stored.zeros[group].astype(np.float64)
    nearest = np.abs(steps * stored.scales[group] - weight).min(axis=0)
    np.testing.assert_allclose(np.abs(real - weight), nearest, atol=1e-6)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_minmax_loses_half_a_step_at_most(bits, symmetric, rng):
    weight = rng.standard_normal((64, 20))
    stored = round_to_nearest(weight, WeightForm(bits=bits, group=16, symmetric=symmetric))
    steps = np.abs(stored.real() - weight) / np.repeat(stored.scales, 16, axis=0)
    # A zero point is rounded itself.
    assert steps.max() <= (0.5 if symmetric else 1.0) + 1e-5


@pytest.mark.parametrize("symmetric", [False, True])
def test_mse_loses_no_more_than_minmax(symmetric, rng):
    weight = rng.standard_t(3, (64, 50))
    lost = {}
    for ranges in ("minmax", "mse"):
        form = WeightForm(bits=3, group=32, symmetric=symmetric, ranges=ranges)
        lost[ranges] = ((round_to_nearest(weight, form).real() - weight) ** 2).sum(axis=0)
    assert (lost["mse"] <= lost["minmax"] + 1e-9).all()
    assert lost["mse"].sum() < 0.95 * lost["minmax"].sum()


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_group_of_zeros_stays_zero(symmetric):
    grid = grid_of(np.zeros((16, 3)), WeightForm(bits=4, symmetric=symmetric))
    assert (grid.scale == 1).all()
    assert not grid.real(grid.store(np.zeros((16, 3)))).any()


def test_zero_stays_zero_where_all_weights_have_one_sign(rng):
    weight = 1.0 + rng.random((32, 5))
    weight[3] = 0.0
    stored = round_to_nearest(weight, WeightForm(bits=4, group=16, symmetric=False))
    assert not stored.real()[3].any()


@pytest.mark.parametrize("group", [0, 16])
def test_signs_have_the_scale_of_least_error(group):
    weight = np.random.default_rng(0).standard_normal((48, 5))
    stored = round_to_nearest(weight, WeightForm(bits=1, group=group))
    np.testing.assert_array_equal(stored.numbers, weight >= 0)
    assert not stored.zeros.any()
    blocks = weight.reshape(-1, group or 48, 5)
    wanted = np.abs(blocks).mean(axis=1)  # the sum of squares is least there
    np.testing.assert_allclose(stored.scales, wanted, rtol=1e-6)
    real = np.where(weight >= 0, 1, -1) * np.repeat(wanted, group or 48, axis=0)
    np.testing.assert_allclose(stored.real(), real, rtol=1e-6)
