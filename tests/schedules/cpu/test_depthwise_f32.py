"""float32 depthwise convolution against float64."""

import numpy as np
import pytest
from helpers.dense import RELU, RELU6, Conv, halo_untouched, make_float, run
from helpers.targets import A53, A76, ARMV7, AVX2, AVX512, HOSTS, reason_not_runnable
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgecomp.plan.finish import Activation
from edgecomp.plan.values import Halo
from edgecomp.schedules.cpu import depthwise_f32


def depthwise(c, k=3, multiplier=1, **more):
    """A depthwise convolution padded to keep the size at stride 1."""
    d = more.pop("d", (1, 1))
    p = more.pop("p", (d[0] * (k // 2), d[1] * (k // 2)) * 2)
    return Conv(c=c, m=c * multiplier, g=c, k=(k, k), d=d, p=p, **more)


CASES = (
    depthwise(1, h=3, w=4),
    depthwise(3, h=5, w=6, act=RELU, y_halo=Halo(1, 2, 0, 1)),
    depthwise(5, 5, h=7, w=9, n=2, x_halo=Halo(3, 2, 2, 4)),
    depthwise(17, h=9, w=9, s=(2, 2), act=RELU6, n=2),
    depthwise(24, 7, h=8, w=10, residual=True),
    depthwise(33, h=9, w=8, d=(2, 3), act=RELU),
    depthwise(100, 5, h=6, w=17, s=(2, 1), p=(1, 2, 2, 3), act=Activation("hardswish")),
    depthwise(64, h=4, w=29, act=RELU),
    depthwise(5, multiplier=2, h=6, w=6, act=RELU, residual=True),
    depthwise(7, multiplier=3, h=5, w=8, s=(2, 2)),
    depthwise(34, multiplier=8, h=3, w=3),
    depthwise(4, 21, h=22, w=23, p=(0, 0, 0, 0)),
    Conv(c=12, m=12, g=12, h=1, w=30, k=(1, 9), p=(0, 8, 0, 0), act=RELU),
)


def check(case, target, slices=3):
    operation, buffers, expected = make_float(case, np.random.default_rng(0))
    found, flat = run(depthwise_f32, operation, buffers, target, slices)
    assert halo_untouched(operation.output, flat)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
def test_host(case, target):
    check(case, target)


@pytest.mark.parametrize(
    ("target", "index"),
    [(A53, 3), (A53, 6), (A76, 4), (ARMV7, 5), (ARMV7, 8)],
    ids=lambda v: getattr(v, "name", str(v)),
)
def test_emulated(target, index):
    check(CASES[index], target)


def test_slices_do_not_change_the_result():
    operation, buffers, _ = make_float(CASES[6], np.random.default_rng(0))
    whole, _ = run(depthwise_f32, operation, buffers, AVX2, 1)
    for slices in (2, 5, 1000):
        parts, _ = run(depthwise_f32, operation, buffers, AVX2, slices)
        np.testing.assert_array_equal(whole, parts)


def test_equal_operations_share_a_kernel():
    calls = []
    for seed in (0, 1):
        operation, _, _ = make_float(CASES[7], np.random.default_rng(seed))
        calls += depthwise_f32.emit(operation, AVX2)
    assert calls[0].kernel.symbol == calls[1].kernel.symbol


def test_refusals():
    def reason(case):
        operation, _, _ = make_float(case, np.random.default_rng(0))
        return depthwise_f32.match(operation, AVX2)

    assert reason(Conv(c=8, m=8, g=4)) == "4 groups for 8 channels"
    assert reason(Conv(c=1, m=8, g=1)) == "1 groups for 1 channels"
    assert reason(depthwise(2, multiplier=9)) == "9 outputs per channel"
    operation, _, _ = make_float(depthwise(8), np.random.default_rng(0))
    operation.inputs[0].halo = Halo()
    assert "halo" in depthwise_f32.match(operation, AVX2).lower()


@settings(max_examples=15)
@given(
    channels=st.integers(1, 70),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    multiplier=st.sampled_from([1, 1, 2, 3]),
)
def test_any_shape(channels, size, kernel, strides, dilations, pads, multiplier):
    for d in (0, 1):
        assume(size[d] + pads[d] + pads[d + 2] >= (kernel[d] - 1) * dilations[d] + 1)
    assume(channels > 1 or multiplier == 1)
    case = Conv(
        c=channels,
        m=channels * multiplier,
        g=channels,
        h=size[0],
        w=size[1],
        k=kernel,
        s=strides,
        d=dilations,
        p=pads,
    )
    check(case, AVX512 if not reason_not_runnable(AVX512) else AVX2, slices=2)


PAIRED = (
    depthwise(16, h=5, w=20, act=RELU6),
    depthwise(24, h=7, w=7, act=RELU, y_halo=Halo(1, 2, 0, 1)),
    depthwise(8, 5, h=6, w=9, x_halo=Halo(3, 2, 2, 4)),
    depthwise(40, h=9, w=15, s=(2, 2), n=2),
    depthwise(20, h=9, w=8, d=(2, 1), act=Activation("clip", -0.5, 0.25)),
    depthwise(32, 7, h=8, w=9, act=Activation("hardswish")),
    depthwise(32, 5, h=9, w=11, s=(1, 2), act=RELU),
    depthwise(1024, h=4, w=19, act=RELU),
    depthwise(640, h=8, w=8, act=RELU6),
    depthwise(32, h=13, w=12, s=(2, 1)),
    depthwise(8, 5, h=8, w=8, act=RELU6),
)


@pytest.mark.parametrize("case", PAIRED, ids=str)
@pytest.mark.parametrize("target", [A53, A76], ids=lambda t: t.name)
def test_pairs_of_vectors(case, target):
    check(case, target)
