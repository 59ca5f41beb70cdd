"""Depthwise convolution of 16-bit activations: equal to int64 arithmetic, bit for bit."""

import numpy as np
import pytest
from helpers.dense import RELU, Conv, halo_untouched, make_integer, run
from helpers.targets import A76, ARMV7, HOSTS

from edgecomp.plan.values import Halo
from edgecomp.schedules.cpu import depthwise_s16

CASES = (
    Conv(c=3, m=3, g=3, h=4, w=5, k=(3, 3), p=(1, 1, 1, 1), finish="requantize", extreme=True),
    Conv(c=37, m=37, g=37, h=9, w=8, k=(3, 3), s=(2, 2), p=(1, 1, 1, 1), finish="requantize",
         act=RELU, y_halo=Halo(1, 2, 0, 1)),
    Conv(c=17, m=34, g=17, h=7, w=6, k=(2, 5), d=(1, 1), finish="scale", act=RELU),
)  # fmt: skip


@pytest.mark.parametrize("target", [*HOSTS, A76, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolution(case, target):
    rng = np.random.default_rng(0)
    operation, buffers, expected = make_integer(case, target, rng, x_dtype="int16")
    found, flat = run(depthwise_s16, operation, buffers, target, slices=3)
    if case.finish == "scale":
        expected = expected.astype(np.float32)
    np.testing.assert_array_equal(found, expected)
    assert halo_untouched(operation.output, flat)
