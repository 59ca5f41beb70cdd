"""Convolutions by Winograd's method as GPUs compute them, against float64."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from helpers.dense import RELU, Conv, halo_untouched, make_float, store_as
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


def computed(operation, buffers, outputs):
    """Results, and whether the halo is as it was."""
    target = current_target()
    calls = winograd.emit_with(operation, target, outputs)
    flat = run_calls(calls, target, buffers)[operation.output]
    return read(operation.output, flat), halo_untouched(operation.output, flat)


@pytest.mark.parametrize(
    ("case", "outputs", "dtype", "weights"),
    [
        (SHAPES[0], 2, "float16", "float16"),
        (SHAPES[1], 2, "bfloat16", "bfloat16"),
        (SHAPES[2], 4, "float16", "float32"),
    ],
    ids=str,
)
def test_floats_of_16_bits(case, outputs, dtype, weights):
    """What they give is the float32 result of these images and weights, rounded once."""
    half = np.dtype(getattr(ml_dtypes, dtype, dtype))
    operation, buffers, _ = make_float(case, np.random.default_rng(1), weights)
    buffers = {value: a.astype(half).astype(np.float32) for value, a in buffers.items()}
    want, _ = computed(operation, buffers, outputs)
    store_as(dtype, operation, buffers)
    found, is_kept = computed(operation, buffers, outputs)
    assert found.dtype == half
    assert is_kept
    np.testing.assert_array_equal(
        found.astype(np.float32), want.astype(half).astype(np.float32)
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_transformed_weights_in_16_bits(dtype):
    """What they change is of the order of what rounding the results to the type would change."""
    case = conv(c=64, m=32, h=8, w=8)
    operation, buffers, expected = make_float(case, np.random.default_rng(1), dtype)
    found, _ = computed(operation, buffers, 2)
    rounded = expected.astype(np.dtype(getattr(ml_dtypes, dtype, dtype))).astype(np.float64)
    ratio = np.sqrt(((found - expected) ** 2).mean() / ((rounded - expected) ** 2).mean())
    assert 0.5 < ratio < 2


def operation_of(weights="float32", **fields):
    return make_float(conv(**fields), np.random.default_rng(1), weights)[0]


def test_where_it_is_chosen_for_16_bits():
    """By tiles whose transformed weights have 16 bits, and not where half is multiplied faster."""
    target = TARGETS["opencl"]
    much = operation_of("float16", c=256, m=256, h=28, w=28)
    assert choose_outputs(much, target.gpu) == 2
    assert find_gpu_schedule(much, target)[0].NAME == "opencl_winograd"
    assert choose_outputs(operation_of(c=256, m=256, h=28, w=28), target.gpu) == 4
    store_as("float16", much, {})
    assert find_gpu_schedule(much, target)[0].NAME == "opencl_winograd"
    in_half = dataclasses.replace(target.gpu, features=frozenset({"fp16"}))
    assert choose_outputs(much, in_half) is None
    assert "modelled" in winograd.match(much, dataclasses.replace(target, gpu=in_half))


@pytest.mark.parametrize(("dtype", "reason"), [("float16", "no numbers"), ("bfloat16", "")])
def test_weights_whose_transformed_ones_have_no_number(dtype, reason):
    operation = operation_of(dtype, c=256, m=256, h=28, w=28)
    assert winograd.match(operation, TARGETS["opencl"]) == ""
    operation.inputs[1].constant[3, 5] = 30000
    assert reason in winograd.match(operation, TARGETS["opencl"])
    assert bool(winograd.match(operation, TARGETS["opencl"])) == bool(reason)


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
