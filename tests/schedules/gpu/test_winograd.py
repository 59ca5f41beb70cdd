"""Convolutions by Winograd's method as GPUs compute them, against float64."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import RELU, Conv, halo_untouched, make_float
from helpers.gpu import TARGETS, current_target
from helpers.kernels import read, run_calls

from edgecomp.lower.select import find_gpu_schedule
from edgecomp.plan.values import Halo
from edgecomp.schedules.gpu import winograd
from edgecomp.schedules.gpu.winograd_price import choose_outputs

FLOAT_TOLERANCE = 2e-5  # of the largest magnitude: docs/numerics.md
LEAST_DECIBELS = 110


def conv(**fields):
    return Conv(**{"k": (3, 3), "p": (1, 1, 1, 1), **fields})


SHAPES = [
    conv(c=20, m=37, h=9, w=11, residual=True, act=RELU),  # tails, overlapping tiles
    conv(c=16, m=18, h=8, w=7, n=2, y_halo=Halo(1, 2, 0, 1)),  # batch, halo of the output
    conv(c=33, m=48, h=6, w=13, p=(2, 0, 1, 1), x_halo=Halo(2, 1, 2, 1)),  # odd padding
]


@pytest.mark.parametrize(
    ("case", "outputs"), [*zip(SHAPES, (2, 2, 4), strict=True), (SHAPES[0], 4)], ids=str
)
def test_product(case, outputs):
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    calls = winograd.emit_with(operation, current_target(), outputs)
    flat = run_calls(calls, current_target(), buffers)[operation.output]
    error = read(operation.output, flat) - expected
    assert np.abs(error).max() <= FLOAT_TOLERANCE * max(1, np.abs(expected).max())
    assert 10 * np.log10((expected**2).sum() / (error**2).sum()) > LEAST_DECIBELS
    assert halo_untouched(operation.output, flat)


def operation_of(**fields):
    return make_float(conv(**fields), np.random.default_rng(1))[0]


def test_where_it_is_chosen():
    """Where there is much to multiply, and not where transforms or launches cost more."""
    target = TARGETS["opencl"]
    much = operation_of(c=64, m=64, h=28, w=28)
    assert find_gpu_schedule(much, target)[0].NAME == "opencl_winograd"
    little = operation_of(c=4, m=8, h=28, w=28)
    assert choose_outputs(little, target.gpu) is None
    assert "modelled" in winograd.match(little, target)
    unknown = dataclasses.replace(target.gpu, speed=None)
    assert choose_outputs(much, unknown) is None
    assert "stride" in winograd.match(operation_of(c=64, m=64, h=28, w=28, s=(2, 2)), target)
