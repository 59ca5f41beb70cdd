import dataclasses

import numpy as np
import pytest
from helpers.dense import RELU, Conv, halo_untouched, make_float
from helpers.kernels import read, run_calls
from helpers.targets import (
    A53,
    ARMV7,
    AVX2,
    AVX512,
    EMULATED,
    HOSTS,
    PAIRS,
    reason_not_runnable,
)
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.lower.select import find_schedule
from edgecomp.plan.values import Halo
from edgecomp.schedules.cpu import convolution, paired_product, winograd
from edgecomp.schedules.cpu.arithmetic_paired import PairedFma
from edgecomp.schedules.cpu.linear_forms import Forms
from edgecomp.schedules.cpu.winograd_cost import choose_outputs, products_arithmetic
from edgecomp.schedules.cpu.winograd_matrices import POINTS
from edgecomp.schedules.cpu.winograd_matrices import winograd as matrices_of

FLOAT_TOLERANCE = 2e-5  # of the largest magnitude: docs/numerics.md
LEAST_DECIBELS = 110
PADS = (1, 1, 1, 1)


def conv(**fields):
    return Conv(**{"k": (3, 3), "p": PADS, **fields})


SHAPES = [
    conv(
        c=20, m=37, h=9, w=11, residual=True, act=RELU
    ),  # tails everywhere, overlapping tiles
    conv(c=5, m=100, h=4, w=5),  # several column blocks, one tile high
    conv(c=16, m=16, h=8, w=8, n=3, y_halo=Halo(1, 2, 0, 1)),  # batch, halo of the output
    conv(c=7, m=3, h=10, w=9, p=(0, 0, 0, 0), act=RELU),  # no padding, few columns
    conv(c=33, m=48, h=6, w=13, p=(2, 0, 1, 1), x_halo=Halo(2, 1, 2, 1)),  # odd padding
]


def decibels(found, expected):
    return 10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum())


def check(case, target, outputs, slices=1):
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    call = winograd.emit_with(operation, target, outputs)
    after = run_calls([call], target, buffers, slices)
    flat = after[operation.output]
    found = read(operation.output, flat)
    error = found - expected
    assert np.abs(error).max() <= FLOAT_TOLERANCE * max(1, np.abs(expected).max())
    assert decibels(found, expected) > LEAST_DECIBELS
    assert halo_untouched(operation.output, flat)
    return found


@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
@pytest.mark.parametrize("outputs", POINTS)
@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_on_host(case, outputs, target):
    check(case, target, outputs, slices=3)


@pytest.mark.parametrize("target", EMULATED, ids=lambda t: t.name)
@pytest.mark.parametrize("outputs", POINTS)
def test_under_emulation(outputs, target):
    check(SHAPES[0], target, outputs, slices=2)


@pytest.mark.parametrize("case", SHAPES[1:], ids=str)
def test_more_shapes_on_neon(case):
    check(case, A53, 4, slices=2)


@pytest.mark.parametrize("outputs", POINTS)
def test_same_numbers_for_any_slices(outputs):
    case = conv(c=24, m=80, h=21, w=19)
    small = dataclasses.replace(
        AVX2, core=dataclasses.replace(AVX2.core, l2_bytes=1 << 16)
    )  # several blocks of tiles
    operation = make_float(case, np.random.default_rng(1))[0]
    call = winograd.emit_with(operation, small, outputs)
    assert call.work_items > 2
    whole = check(case, small, outputs)
    for slices in (2, 3, call.work_items):
        assert (check(case, small, outputs, slices) == whole).all()


PAIRED = [
    conv(c=96, m=80, h=9, w=11, residual=True, act=RELU),
    conv(c=61, m=200, h=13, w=8, n=2, p=(2, 0, 1, 1), y_halo=Halo(1, 2, 0, 1)),
]


@pytest.mark.skipif(bool(reason_not_runnable(PAIRS)), reason=reason_not_runnable(PAIRS))
@pytest.mark.parametrize("outputs", POINTS)
@pytest.mark.parametrize("case", PAIRED, ids=str)
def test_products_with_pairs(case, outputs):
    operation = make_float(case, np.random.default_rng(1))[0]
    assert isinstance(products_arithmetic(operation, PAIRS, outputs), PairedFma)
    whole = check(case, PAIRS, outputs)
    assert (check(case, PAIRS, outputs, slices=3) == whole).all()


@pytest.mark.skipif(bool(reason_not_runnable(PAIRS)), reason=reason_not_runnable(PAIRS))
@pytest.mark.parametrize("outputs", POINTS)
def test_channels_far_apart_in_pairs(outputs):
    """Weights that undo the scale of their channel of x have factors."""
    case = conv(c=64, m=64, h=8, w=8)
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    scales = 2.0 ** np.random.default_rng(2).integers(-8, 9, 64).astype(np.float32)
    x, weight = operation.inputs[:2]
    weight.constant = weight.constant / scales[:, None, None]
    buffers[x] = (buffers[x].reshape(-1, 64) * scales).reshape(-1)
    call = winograd.emit_with(operation, PAIRS, outputs)
    found = read(operation.output, run_calls([call], PAIRS, buffers)[operation.output])
    assert decibels(found, expected) > LEAST_DECIBELS


def test_products_of_few_channels_have_no_pairs():
    for case in (conv(c=23, m=64, h=9, w=9), conv(c=64, m=8, h=9, w=9)):
        operation = make_float(case, np.random.default_rng(1))[0]
        assert not isinstance(products_arithmetic(operation, PAIRS, 4), PairedFma)


@st.composite
def cases(draw):
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    return Conv(
        n=draw(st.integers(1, 2)),
        c=draw(st.integers(1, 60)),
        m=draw(st.integers(1, 100)),
        h=draw(st.integers(6, 14)),
        w=draw(st.integers(6, 14)),
        k=(3, 3),
        p=pads,
        y_halo=Halo(*(draw(st.integers(0, 1)) for _ in range(4))),
        residual=draw(st.booleans()),
    )


@pytest.mark.skipif(bool(reason_not_runnable(AVX512)), reason=reason_not_runnable(AVX512))
@given(
    case=cases(),
    target=st.sampled_from([AVX512, PAIRS]),
    outputs=st.sampled_from(sorted(POINTS)),
    slices=st.integers(1, 4),
)
def test_any_shape(case, target, outputs, slices):
    check(case, target, outputs, slices)


@pytest.mark.parametrize("outputs", POINTS)
def test_matrices_convolve_exactly(outputs):
    matrices = matrices_of(outputs)
    d = [3 * i * i - 7 for i in range(matrices.inputs)]
    g = [2, -5, 11]
    weights = [
        sum(a * b for a, b in zip(row, g, strict=True)) for row in matrices.weight_matrix
    ]
    inputs = [sum(a * b for a, b in zip(row, d, strict=True)) for row in matrices.input_matrix]
    products = [a * b for a, b in zip(weights, inputs, strict=True)]
    found = [
        sum(a * b for a, b in zip(row, products, strict=True))
        for row in matrices.output_matrix
    ]
    assert found == [sum(g[k] * d[i + k] for k in range(3)) for i in range(outputs)]


@pytest.mark.parametrize("outputs", POINTS)
def test_input_and_output_matrices_are_exact_in_float32(outputs):
    matrices = matrices_of(outputs)
    for row in (*matrices.input_matrix, *matrices.output_matrix):
        assert all(float(np.float32(float(value))) == value for value in row)


def test_pairs_save_operations():
    matrices = matrices_of(4)
    dense = sum(bool(v) for row in matrices.input_matrix for v in row) - 6
    assert Forms.of(matrices.input_matrix).operations < dense
    assert Forms.of(matrices.output_matrix).column_pairs == ((1, 2), (3, 4))


#: (channels = columns, size) -> outputs of the tile, with 1 MB of level-2 cache on x86. Large images earn the larger tile; with many
#: channels and few pixels the weights cost more than the products save.
CHOICES = [
    (AVX512, {(64, 56): 4, (128, 28): 2, (256, 14): 2, (512, 7): None, (8, 5): None}),
    (AVX2, {(64, 56): 4, (128, 28): 4, (256, 14): 2, (512, 7): 2, (8, 5): None}),
    (A53, {(64, 56): 4, (128, 28): 4, (256, 14): 2, (512, 7): None, (8, 5): None}),
    (ARMV7, {(64, 56): 4, (128, 28): 4, (256, 14): 2, (512, 7): None, (8, 5): None}),
]


@pytest.mark.parametrize(
    ("target", "choices"), CHOICES, ids=lambda value: getattr(value, "name", "")
)
def test_choice(target, choices):
    found = {}
    for channels, size in choices:
        case = conv(c=channels, m=channels, h=size, w=size)
        operation = make_float(case, np.random.default_rng(0))[0]
        found[channels, size] = outputs = choose_outputs(operation, target)
        without = paired_product if target is PAIRS else convolution
        assert find_schedule(operation, target)[0] is (winograd if outputs else without)
        assert find_schedule(operation, target, {winograd.NAME})[0] is without
    assert found == choices


REFUSALS = {
    "window": conv(c=64, m=64, h=56, w=56, k=(1, 3), p=(0, 1, 0, 1)),
    "strides (2, 2)": conv(c=64, m=64, h=56, w=56, s=(2, 2)),
    "dilations (2, 2)": conv(c=64, m=64, h=56, w=56, d=(2, 2), p=(2, 2, 2, 2)),
    "2 groups": conv(c=64, m=64, h=56, w=56, g=2),
    "modelled to be faster": conv(c=3, m=32, h=32, w=32),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_refuses_with_reason(reason):
    operation = make_float(REFUSALS[reason], np.random.default_rng(0))[0]
    assert reason in winograd.match(operation, AVX512)
