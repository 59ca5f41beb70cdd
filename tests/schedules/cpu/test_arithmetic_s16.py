"""Products of 16-bit activations with 8-bit weights: the bits of docs/numerics.md everywhere."""

import numpy as np
import pytest
from helpers.dense import RELU, Conv, as_matrix_multiply, halo_untouched, make_integer, run
from helpers.dense_cases import SAME3
from helpers.targets import A76, ARMV7, HOSTS

from edgecomp.schedules.cpu import convolution, matrix_multiply

CASES = (
    Conv(c=1, m=1, h=1, w=1, finish="requantize"),
    Conv(c=67, m=90, h=1, w=9, finish="requantize"),
    Conv(c=19, m=37, h=5, w=6, **SAME3, finish="requantize", act=RELU),
    Conv(c=24, m=36, g=3, h=5, w=5, **SAME3, finish="scale", act=RELU),
    Conv(c=3, m=20, h=9, w=9, k=(3, 3), s=(2, 2), p=(1, 1, 1, 1), finish="requantize"),
    Conv(c=516, m=33, h=1, w=5, finish="requantize", extreme=True),
)


@pytest.mark.parametrize("target", [*HOSTS, A76, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolution(case, target):
    rng = np.random.default_rng(3)
    operation, buffers, expected = make_integer(case, target, rng, x_dtype="int16")
    found, flat = run(convolution, operation, buffers, target, slices=2)
    if case.finish == "scale":
        expected = expected.astype(np.float32)
    np.testing.assert_array_equal(found, expected)
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize("target", [*HOSTS, A76, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("rows", [1, 13])
def test_matrix_product(rows, target):
    case = Conv(c=131, m=75, h=1, w=rows, finish="requantize")
    rng = np.random.default_rng(4)
    operation, buffers, expected = make_integer(case, target, rng, x_dtype="int16")
    product, values = as_matrix_multiply(operation)
    x = operation.inputs[0]
    found, _ = run(
        matrix_multiply, product, {values[x]: buffers[x].reshape(-1)}, target, slices=2
    )
    np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), expected)
