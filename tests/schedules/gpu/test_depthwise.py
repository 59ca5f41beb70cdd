"""Depthwise convolutions on an OpenCL device."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import RELU6, Conv, halo_untouched, make_float, make_integer, run
from helpers.gpu import current_target

from edgecomp.plan.values import Halo
from edgecomp.schedules.gpu import depthwise

FLOAT_TOLERANCE = 2e-5  # of the largest magnitude: docs/numerics.md
SAME3 = {"k": (3, 3), "p": (1, 1, 1, 1)}
SHAPES = (
    Conv(c=3, m=3, g=3, h=5, w=4, **SAME3),
    Conv(c=8, m=8, g=8, h=7, w=9, **SAME3, s=(2, 2), act=RELU6, n=2),
    Conv(c=13, m=13, g=13, h=6, w=5, k=(5, 5), p=(2, 2, 2, 2), y_halo=Halo(1, 2, 1, 0)),
    Conv(c=6, m=6, g=6, h=9, w=7, k=(3, 2), p=(2, 1, 2, 1), d=(2, 2)),
    Conv(c=16, m=16, g=16, h=4, w=1, **SAME3, residual=True),
)


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_float(case):
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    assert depthwise.match(operation, current_target()) == ""
    found, flat = run(depthwise, operation, buffers, current_target())
    assert np.abs(found - expected).max() <= FLOAT_TOLERANCE * max(1, np.abs(expected).max())
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize("finish", ["requantize", "add"])
@pytest.mark.parametrize("case", SHAPES[:4], ids=str)
def test_integer(case, finish):
    case = dataclasses.replace(case, finish=finish, act=None, extreme=finish == "requantize")
    operation, buffers, expected = make_integer(
        case, current_target(), np.random.default_rng(3)
    )
    assert depthwise.match(operation, current_target()) == ""
    found, flat = run(depthwise, operation, buffers, current_target())
    assert (found == expected).all()
    assert halo_untouched(operation.output, flat)


def test_others_are_products():
    operation, _, _ = make_float(Conv(c=4, m=8, g=4), np.random.default_rng(1))
    assert depthwise.match(operation, current_target()) == "several outputs per channel"
