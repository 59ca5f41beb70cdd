"""Products with pairs: shapes, numbers far apart, slices, when they are chosen."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import RELU, Conv, as_matrix_multiply, halo_untouched, make_float, run
from helpers.kernels import read, run_calls
from helpers.targets import AVX2, AVX512, HALVES, PAIRS, reason_not_runnable
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.lower.select import find_schedule
from edgecomp.plan.values import Halo
from edgecomp.schedules.cpu import convolution, paired_product
from edgecomp.schedules.cpu.paired_numbers import PAIR_STEP, Pairing, pair_weights

pytestmark = pytest.mark.skipif(
    bool(reason_not_runnable(PAIRS)), reason=reason_not_runnable(PAIRS)
)

FLOAT_TOLERANCE = 2e-5  # of the largest magnitude: docs/numerics.md
LEAST_DECIBELS = 110

SHAPES = [
    Conv(c=24, m=16, h=1, w=1),  # the least of pairs
    Conv(c=25, m=37, h=3, w=5, act=RELU),  # one element of K left, tails everywhere
    Conv(c=71, m=100, h=7, w=7, residual=True),
    Conv(c=48, m=70, h=9, w=4, n=2, y_halo=Halo(1, 2, 0, 1)),  # images, a halo of the output
    Conv(c=96, m=24, h=14, w=14, s=(2, 2), x_halo=Halo(0, 0, 1, 1)),
    Conv(c=13, m=40, h=8, w=9, k=(3, 3), p=(1, 1, 1, 1), residual=True),  # a window
    Conv(c=30, m=33, h=6, w=13, k=(1, 3), p=(0, 1, 0, 1), act=RELU),
    Conv(c=384, m=384, h=1, w=128),
]


def check(case, target=PAIRS, slices=1):
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    calls = paired_product.emit(operation, target)
    after = run_calls(calls, target, buffers, slices)
    flat = after[operation.output]
    found = read(operation.output, flat)
    error = found - expected
    assert np.abs(error).max() <= FLOAT_TOLERANCE * max(1, np.abs(expected).max())
    assert 10 * np.log10((expected**2).sum() / (error**2).sum()) > LEAST_DECIBELS
    assert halo_untouched(operation.output, flat)
    return found


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_shapes(case):
    check(case, slices=3)


@st.composite
def cases(draw):
    k = draw(st.sampled_from([(1, 1), (3, 3), (2, 3)]))
    return Conv(
        n=draw(st.integers(1, 2)),
        c=draw(st.integers(24 if k == (1, 1) else 4, 90)),
        m=draw(st.integers(1, 150)),
        h=draw(st.integers(3, 14)),
        w=draw(st.integers(3, 14)),
        k=k,
        s=draw(st.sampled_from([(1, 1), (2, 1), (2, 2)])),
        p=tuple(draw(st.integers(0, 1)) for _ in range(4)),
        y_halo=Halo(*(draw(st.integers(0, 1)) for _ in range(4))),
        residual=draw(st.booleans()),
    )


@given(case=cases(), slices=st.integers(1, 4))
def test_any_shape(case, slices):
    check(case, slices=slices)
