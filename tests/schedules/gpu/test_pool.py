"""Pools on an OpenCL device."""

import numpy as np
import pytest
from helpers.gpu import compute

from edgecomp.plan.finish import Requantize
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import Pool
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.gpu import pool

WINDOW = {"window": (3, 2), "strides": (2, 1), "pads": (1, 1, 1, 0)}


def windows(x, fill):
    """[N, C, OH, OW, elements] of WINDOW."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 0)), constant_values=fill)
    _, _, height, width = x.shape
    parts = [
        x[:, :, i : i + (height - 3) // 2 * 2 + 1 : 2, j : j + width - 1]
        for i in range(3)
        for j in range(2)
    ]
    return np.stack(parts, axis=-1)


def pooled(kind, x, fill, dtype=None):
    shape = windows(x, 0).shape[:-1]
    source = Value("x", x.shape, str(x.dtype), Order.NHWC, Halo(1, 1, 1, 0))
    output = Value("y", shape, dtype or str(x.dtype), Order.NHWC, Halo(0, 1, 1, 0))
    return compute(pool, Operation(kind, [source], [output]), [x], halo_fill=fill)


@pytest.mark.parametrize("channels", [8, 5])
def test_maximum(channels, rng):
    x = rng.standard_normal((2, channels, 7, 6)).astype(np.float32)
    found = pooled(Pool(maximum=True, **WINDOW), x, -np.inf)
    np.testing.assert_array_equal(found, windows(x, -np.inf).max(axis=-1))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_integer_maximum(dtype, rng):
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max + 1, (1, 4, 7, 6)).astype(dtype)
    found = pooled(Pool(maximum=True, **WINDOW), x, limits.min)
    np.testing.assert_array_equal(found, windows(x, limits.min).max(axis=-1))


@pytest.mark.parametrize("counts", [True, False])
def test_average(counts, rng):
    x = rng.standard_normal((1, 12, 7, 6)).astype(np.float32)
    found = pooled(Pool(maximum=False, count_include_pad=counts, **WINDOW), x, 0)
    ones = windows(np.ones_like(x), 1 if counts else 0).sum(axis=-1)
    want = windows(x.astype(np.float64), 0).sum(axis=-1) / ones
    np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-6)


def test_integer_average(rng):
    x = rng.integers(0, 256, (1, 4, 7, 6)).astype(np.uint8)
    multiplier = np.float32(0.21)
    finish = Requantize(np.array([multiplier]), 11, 0, 255)
    kind = Pool(maximum=False, zero_x=9, count_include_pad=True, requantize=finish, **WINDOW)
    found = pooled(kind, x, 9)
    sums = (windows(x.astype(np.int64), 9) - 9).sum(axis=-1)
    scaled = np.clip(sums.astype(np.float32) * multiplier, -11, 244)
    np.testing.assert_array_equal(found, np.rint(scaled) + 11)
