"""Convolutions on an OpenCL device: float32 against float64, integers bit by bit."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import RELU, Conv, halo_untouched, make_float, make_integer, run
from helpers.dense_cases import ACTIVATIONS, SHAPES
from helpers.gpu import current_target

from edgecomp.schedules.gpu import convolution

FLOAT_TOLERANCE = 2e-5  # of the largest magnitude: docs/numerics.md


def check_float(case):
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    assert convolution.match(operation, current_target()) == ""
    found, flat = run(convolution, operation, buffers, current_target())
    assert np.abs(found - expected).max() <= FLOAT_TOLERANCE * max(1, np.abs(expected).max())
    assert halo_untouched(operation.output, flat)


def check_integer(case):
    operation, buffers, expected = make_integer(
        case, current_target(), np.random.default_rng(3)
    )
    assert convolution.match(operation, current_target()) == ""
    found, flat = run(convolution, operation, buffers, current_target())
    if case.finish == "scale":
        assert np.allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    else:
        assert (found == expected).all()
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize("case", SHAPES[1::2], ids=str)
def test_float(case):
    check_float(dataclasses.replace(case, residual=True, act=RELU))


@pytest.mark.parametrize("case", SHAPES[::2], ids=str)
def test_integer(case):
    check_integer(dataclasses.replace(case, finish="requantize"))


@pytest.mark.parametrize(
    ("finish", "residual"), [("add", False), ("scale", False), ("scale", True)]
)
@pytest.mark.parametrize("case", SHAPES[1:14:6], ids=str)
def test_other_finishes(case, finish, residual):
    check_integer(dataclasses.replace(case, finish=finish, residual=residual))


def test_integer_extreme_values():
    case = Conv(c=40, m=21, h=3, w=5, k=(3, 3), p=(1, 1, 1, 1), finish="requantize")
    check_integer(dataclasses.replace(case, extreme=True))


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.name if a else "none")
def test_float_activations(activation):
    check_float(Conv(c=20, m=21, act=activation))
