"""Weights rounded to narrow floats: what scales gain, and where they cannot."""

import ml_dtypes
import numpy as np
import pytest

from edgecomp.compress.narrow import narrowed, real


@pytest.fixture
def weight(rng):
    return (rng.standard_normal((12, 5, 3)) * np.logspace(-3, 2, 12)[:, None, None]).astype(
        np.float32
    )


@pytest.mark.parametrize(("dtype", "bits"), [("float8_e4m3fn", 3), ("float8_e5m2", 2)])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_no_weight_loses_more_than_half_a_step(dtype, bits, axis, weight):
    weights = narrowed(weight, dtype, axis)
    assert weights.numbers.shape == weight.shape
    assert len(weights.scale) == (1 if axis is None else weight.shape[axis])
    lost = np.abs(real(weights, axis) - weight)
    assert np.isfinite(weights.numbers.astype(np.float32)).all()
    scale = weights.scale
    if axis is not None:
        scale = scale.reshape([-1 if d == axis else 1 for d in range(3)])
    subnormal = float(ml_dtypes.finfo(dtype).smallest_subnormal) * scale
    assert (
        lost <= np.maximum(np.abs(weight) * 2.0 ** -(bits + 1), subnormal / 2) * 1.001
    ).all()


def test_a_scale_for_each_output_loses_no_more_than_its_largest_weight_asks_for(weight):
    """Beside the scale that takes the largest weight to the largest number."""
    rows = weight.reshape(12, -1)
    scale = np.abs(rows).max(axis=1, keepdims=True) / 448
    plain = (rows / scale).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * scale
    weights = narrowed(weight, "float8_e4m3fn", 0)
    ours = real(weights, 0).reshape(12, -1)
    lost = [((rows - each) ** 2).sum(axis=1) for each in (ours, plain)]
    assert (lost[0] <= lost[1] * 1.0001).all()
    assert lost[0].sum() < lost[1].sum()


def test_an_output_of_zeros():
    weights = narrowed(np.zeros((2, 3), np.float32), "float8_e5m2", 0)
    assert (weights.scale == 1).all()
    assert not real(weights, 0).any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_have_no_scale(dtype, weight):
    weights = narrowed(weight, dtype, 0)
    assert weights.scale is None
    np.testing.assert_allclose(real(weights, 0), weight, rtol=2.0**-8)
