"""Products with packed weights as GPUs compute them, against float64."""

import numpy as np
import pytest
from helpers.gpu import current_target
from helpers.kernels import run_calls
from helpers.packed import expected, product_of

from edgecomp.plan.finish import Activation
from edgecomp.schedules.gpu import packed_product


def found(operation, x):
    target = current_target()
    assert packed_product.match(operation, target) == ""
    calls = packed_product.emit(operation, target)
    y = operation.outputs[0]
    return run_calls(calls, target, {operation.inputs[0]: x.reshape(-1)})[y].reshape(y.shape)


@pytest.mark.parametrize(
    ("rows", "depth", "columns", "bits", "block", "same_zero"),
    [
        (1, 64, 37, 4, 32, True),
        (1, 1100, 130, 4, 32, False),  # shares of K, and what is left behind the last unit
        (1, 2000, 12, 3, 2000, True),  # one block, whose units are no whole parts
        (2, 600, 9, 8, 600, True),
        (13, 64, 40, 4, 16, False),
        (7, 90, 20, 3, 12, False),
        (11, 100, 130, 1, 32, True),
    ],
)
def test_product(rows, depth, columns, bits, block, same_zero, rng):
    operation = product_of(
        rows, depth, columns, bits, block, same_zero=same_zero, activation=Activation("relu")
    )
    x = rng.standard_normal((rows, depth)).astype(np.float32)
    want = expected(operation, x)
    np.testing.assert_allclose(found(operation, x), want, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize(("bits", "rows"), [(1, 1), (2, 5), (3, 1), (4, 1), (8, 5)])
def test_unpacking_is_exact(bits, rows, rng):
    """Small integers and scales that are powers of two leave no rounding in any order of sums."""
    operation = product_of(rows, 300, 33, bits, 32, same_zero=bits == 1)
    _, _, scales, _, bias = operation.inputs
    powers = np.arange(scales.constant.size).reshape(scales.constant.shape) % 3
    scales.constant[...] = 0.25 * 2.0**powers
    bias.constant[...] = np.rint(8 * bias.constant)
    x = rng.integers(-8, 9, (rows, 300)).astype(np.float32)
    np.testing.assert_array_equal(found(operation, x), expected(operation, x))
