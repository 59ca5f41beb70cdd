"""Resize on an OpenCL device."""

import numpy as np
import pytest
from helpers.gpu import compute

from edgecomp.plan.movement import Resize
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.gpu import resize


def positions(rng, size, source):
    """Two source places of each result and their weights, which add up to 1."""
    places = rng.integers(0, source, (size, 2)).astype(np.int32)
    first = rng.random((size, 1)).astype(np.float32)
    return places, np.concatenate([first, 1 - first], axis=1)


@pytest.mark.parametrize("channels", [8, 3])
@pytest.mark.parametrize("nearest", [True, False])
def test_resize(nearest, channels, rng):
    x = rng.standard_normal((2, channels, 4, 5)).astype(np.float32)
    rows, row_weights = positions(rng, 7, 4)
    columns, column_weights = positions(rng, 6, 5)
    kind = Resize(
        nearest=nearest,
        rows=rows,
        row_weights=row_weights,
        columns=columns,
        column_weights=column_weights,
    )
    source = Value("x", x.shape, "float32", Order.NHWC, Halo(1, 1, 0, 2))
    output = Value("y", (2, channels, 7, 6), "float32", Order.NHWC, Halo(0, 1, 1, 0))
    found = compute(resize, Operation(kind, [source], [output]), [x])
    if nearest:
        want = x[:, :, rows[:, 0]][:, :, :, columns[:, 0]]
        np.testing.assert_array_equal(found, want)
        return
    wide = x.astype(np.float64)
    lines = (wide[:, :, rows] * row_weights[:, :, None]).sum(axis=3)
    want = (lines[:, :, :, columns] * column_weights).sum(axis=4)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)
