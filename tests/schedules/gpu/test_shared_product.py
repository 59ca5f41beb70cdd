"""Products through local memory as GPUs compute them, against float64; where they are chosen."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from helpers.dense import RELU, Conv, halo_untouched, make_float, store_as
from helpers.gpu import TARGETS, current_target
from helpers.kernels import read, run_calls

from edgecomp.lower.select import find_gpu_schedule
from edgecomp.plan.values import Halo
from edgecomp.schedules.cpu import convolution as cpu
from edgecomp.schedules.gpu import shared_product
from edgecomp.schedules.gpu.shared_kernel import choose_shared_tile

FLOAT_TOLERANCE = 2e-5  # of the largest magnitude: docs/numerics.md


CASES = [
    # overlapping last rows, columns that are no whole tile or vector, halos
    Conv(c=16, m=37, h=9, w=11, k=(3, 3), p=(1, 1, 1, 1), residual=True, act=RELU,
         y_halo=Halo(1, 2, 0, 1)),
    Conv(c=24, m=140, h=9, w=11, s=(1, 1)),  # fewer elements of K at once
    Conv(c=32, m=80, h=10, w=9, g=2),
]  # fmt: skip


def fast(target):
    """A target whose local memory is fast, and where little is enough to keep it busy."""
    gpu = dataclasses.replace(target.gpu, fast_local_memory=True, busy_items=64)
    return dataclasses.replace(target, gpu=gpu)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_product(case):
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    calls = shared_product.emit(operation, current_target())
    flat = run_calls(calls, current_target(), buffers)[operation.output]
    found = read(operation.output, flat)
    assert np.abs(found - expected).max() <= FLOAT_TOLERANCE * max(1, np.abs(expected).max())
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize(
    ("dtype", "weights"),
    [("float16", "float16"), ("bfloat16", "bfloat16"), ("float16", "float32"),
     ("float32", "float16")],
)  # fmt: skip
def test_floats_of_16_bits(dtype, weights):
    """What they give is the float32 result, rounded once."""
    case = CASES[0] if dtype == weights else CASES[2]
    half = np.dtype(getattr(ml_dtypes, dtype, dtype))
    target = current_target()
    operation, buffers, _ = make_float(case, np.random.default_rng(1), weights)
    buffers = {value: a.astype(half).astype(np.float32) for value, a in buffers.items()}
    want = run_calls(shared_product.emit(operation, target), target, buffers)
    want = read(operation.output, want[operation.output])
    store_as(dtype, operation, buffers)
    flat = run_calls(shared_product.emit(operation, target), target, buffers)
    found = read(operation.output, flat[operation.output])
    assert found.dtype == half
    np.testing.assert_array_equal(
        found.astype(np.float32), want.astype(half).astype(np.float32)
    )
    assert halo_untouched(operation.output, flat[operation.output])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_it_is_chosen_where_values_have_16_bits(dtype):
    target = dataclasses.replace(fast(TARGETS["opencl"]), floats=dtype)
    much, buffers, _ = make_float(
        Conv(c=64, m=64, h=28, w=28), np.random.default_rng(1), dtype
    )
    for _ in range(2):
        schedule, _ = find_gpu_schedule(much, target)
        assert schedule.NAME == "opencl_shared_product"
        store_as(dtype, much, buffers)


def test_where_it_is_chosen():
    target = TARGETS["opencl"]
    fast = dataclasses.replace(
        target, gpu=dataclasses.replace(target.gpu, fast_local_memory=True)
    )
    much, _, _ = make_float(Conv(c=64, m=64, h=28, w=28), np.random.default_rng(1))
    assert find_gpu_schedule(much, fast)[0].NAME == "opencl_shared_product"
    assert find_gpu_schedule(much, target)[0].NAME == "opencl_convolution"
    little, _, _ = make_float(Conv(c=64, m=64, h=7, w=7), np.random.default_rng(1))
    assert choose_shared_tile(cpu.product(little), fast.gpu) is None
    assert "no gain" in shared_product.match(little, fast)
