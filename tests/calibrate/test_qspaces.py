"""Scales and zero points."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.calibrate.qspaces import (
    ACTIVATION_UINT8,
    ACTIVATION_UINT8_SYMMETRIC,
    WEIGHT_INT8,
    WEIGHT_INT8_PER_CHANNEL,
    activation_affine,
    store_bias,
    store_constant,
    store_weights,
    weight_scales,
)
from edgecomp.calibrate.ranges import Range

ends = st.floats(-1000, 1000)


@given(ends, ends)
def test_an_activation_range_is_covered_and_zero_is_exact(a, b):
    limits = Range(min(a, b, 0.0), max(a, b, 0.0))
    affine = activation_affine(limits)
    assert 0 <= affine.zero_point <= 255
    scale = float(affine.scale)
    low, high = -affine.zero_point * scale, (255 - affine.zero_point) * scale
    # The zero point is rounded: an end may lie half a step outside.
    assert low <= limits.low + 0.51 * scale
    assert high >= limits.high - 0.51 * scale
    assert scale > 0


def test_known_scales():
    affine = activation_affine(Range(0.0, 6.0))
    assert (affine.scale, affine.zero_point) == (np.float32(6 / 255), 0)
    affine = activation_affine(Range(-1.0, 1.0))
    assert (affine.scale, affine.zero_point) == (np.float32(2 / 255), 127)
    affine = activation_affine(Range(-1.0, 0.0))
    assert affine.zero_point == 255


def test_a_range_of_zeros_gets_scale_one():
    affine = activation_affine(Range(0.0, 0.0))
    assert (affine.scale, affine.zero_point) == (1.0, 0)


def test_the_symmetric_space_has_zero_in_the_middle():
    affine = activation_affine(Range(-0.5, 2.54), ACTIVATION_UINT8_SYMMETRIC)
    assert (affine.scale, affine.zero_point) == (np.float32(2 * 2.54 / 254), 128)
    affine = activation_affine(Range(0.0, 0.0), ACTIVATION_UINT8_SYMMETRIC)
    assert (affine.scale, affine.zero_point) == (1.0, 128)


def test_spaces_say_what_they_are():
    assert ACTIVATION_UINT8.bits == 8
    assert not ACTIVATION_UINT8.symmetric
    assert (WEIGHT_INT8.low, WEIGHT_INT8.high) == (-127, 127)


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 2), st.integers(0, 99))
def test_weights_come_back_to_half_a_step(channels, rest, axis, seed):
    rng = np.random.default_rng(seed)
    shape = [rest, 2, 1]
    shape[axis] = channels
    weight = (rng.standard_normal(shape) * rng.uniform(0.01, 10)).astype(np.float32)
    scales = weight_scales(weight, axis, WEIGHT_INT8_PER_CHANNEL)
    assert scales.shape == (channels,)
    stored = store_weights(weight, scales, axis, WEIGHT_INT8_PER_CHANNEL)
    assert stored.dtype == np.int8
    assert stored.min() >= -127
    per_weight = scales.reshape([-1 if d == axis else 1 for d in range(3)]).astype(np.float64)
    assert (np.abs(stored * per_weight - weight) <= per_weight * (0.5 + 1e-5)).all()
    others = tuple(d for d in range(3) if d != axis)
    assert (np.abs(stored).max(axis=others) == 127).all()


def test_one_scale_per_tensor_is_the_largest():
    weight = np.array([[1.0, -2.0], [12.7, 0.0]], np.float32)
    assert weight_scales(weight, 0, WEIGHT_INT8).tolist() == [np.float32(0.1)]


def test_a_channel_of_almost_no_weight_leaves_room_for_its_bias():
    weight = np.array([[1e-9], [0.0], [0.0]], np.float32)
    bias = np.array([5.0, 3.0, 0.0], np.float32)
    scale_x = np.float32(0.02)
    scales = weight_scales(
        weight, 0, WEIGHT_INT8_PER_CHANNEL, bias=bias, activation_scale=scale_x
    )
    stored = store_bias(bias, scale_x, scales)
    assert np.abs(stored.astype(np.int64)).max() <= 2**29 + 64
    back = stored * scale_x.astype(np.float64) * scales.astype(np.float64)
    np.testing.assert_allclose(back, bias, rtol=1e-6)
    assert scales[2] == 1.0


def test_a_constant_operand():
    affine = activation_affine(Range(-1.0, 1.0))
    stored = store_constant(np.array([-1.0, 0.0, 1.0]), affine)
    assert stored.tolist() == [0, 127, 254]
