"""Powers of two: nearest levels, scales of least squared error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgecomp.compress.narrow import real
from edgecomp.compress.powers import nearest_levels, powers_of_two
from edgecomp.schedules.cpu.log2_code import are_powers, codes_of

LEVELS = np.unique([s * 2.0**n for n in range(-6, 1) for s in (-1, 1)] + [0.0])


@given(arrays.arrays(np.float32, 40, elements=st.floats(-4, 4, width=32)))
def test_no_level_is_nearer(ratio):
    found = nearest_levels(ratio)
    assert set(np.abs(found)) <= set(np.abs(LEVELS))
    least = np.abs(ratio[:, None].astype(np.float64) - LEVELS).min(axis=1)
    np.testing.assert_allclose(np.abs(ratio - found.astype(np.float64)), least, rtol=1e-6)


@pytest.mark.parametrize(("shape", "axis"), [((5, 7, 3, 3), 0), ((33, 6), 1), ((9, 4), None)])
def test_scales_lose_less_than_the_largest_weight_as_the_scale(shape, axis, rng):
    weight = rng.standard_normal(shape).astype(np.float32)
    stored = powers_of_two(weight, axis)
    assert are_powers(stored.numbers)
    assert codes_of(stored.numbers).max() < 16
    outputs = 1 if axis is None else shape[axis]
    assert stored.scale.shape == (outputs,)
    others = None if axis is None else tuple(d for d in range(len(shape)) if d != axis)
    reach = np.abs(weight).max(axis=others, keepdims=True)
    plain = nearest_levels(weight / reach) * reach
    lost = (real(stored, axis) - weight) ** 2
    assert (lost.sum(axis=others) <= ((plain - weight) ** 2).sum(axis=others) * 1.0001).all()
    assert lost.sum() < 0.045 * (weight**2).sum()


def test_powers_stay_what_they_are_and_zeros_zero(rng):
    weight = (0.37 * rng.choice(LEVELS, (4, 50))).astype(np.float32)
    weight[:, 0], weight[2] = 0.37, 0
    found = real(powers_of_two(weight, 0), 0)
    np.testing.assert_allclose(found, weight, rtol=1e-6)
