"""float32 convolution of groups that are parts of a vector, against float64."""

import numpy as np
import pytest
from helpers.dense import RELU, RELU6, Conv, halo_untouched, make_float, run
from helpers.targets import A53, A76, AVX2, AVX512, HOSTS, reason_not_runnable
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgecomp.plan.finish import Activation
from edgecomp.plan.values import Halo
from edgecomp.schedules.cost import operation_cost
from edgecomp.schedules.cpu import grouped_f32


def grouped(groups, size, k=3, **more):
    """A convolution of square groups, padded to keep the size at stride 1."""
    d = more.pop("d", (1, 1))
    p = more.pop("p", (d[0] * (k // 2), d[1] * (k // 2)) * 2)
    channels = groups * size
    return Conv(c=channels, m=channels, g=groups, k=(k, k), d=d, p=p, **more)


CASES = (
    grouped(2, 2, h=3, w=4),
    grouped(3, 4, h=5, w=6, act=RELU, y_halo=Halo(1, 2, 0, 1)),
    grouped(32, 4, h=5, w=28, act=RELU),
    grouped(7, 2, 5, h=7, w=9, n=2, x_halo=Halo(3, 2, 2, 4)),
    grouped(9, 4, h=9, w=9, s=(2, 2), act=RELU6, n=2),
    grouped(6, 2, h=8, w=10, residual=True),
    grouped(11, 2, h=9, w=8, d=(2, 3), act=Activation("hardswish")),
    grouped(5, 4, 1, h=6, w=17, s=(2, 1), p=(1, 2, 2, 3)),
)


def check(case, target, slices=3):
    operation, buffers, expected = make_float(case, np.random.default_rng(0))
    found, flat = run(grouped_f32, operation, buffers, target, slices)
    assert halo_untouched(operation.output, flat)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    assert operation_cost(operation, target) > 0


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
def test_host(case, target):
    check(case, target)


@pytest.mark.skipif(bool(reason_not_runnable(AVX512)), reason="this processor has no AVX-512")
@pytest.mark.parametrize(
    "case", [grouped(32, 8, h=9, w=9, s=(2, 2), act=RELU), grouped(5, 8, h=4, w=7)], ids=str
)
def test_wide_groups(case):
    check(case, AVX512)


@pytest.mark.parametrize("target", [A53, A76], ids=lambda t: t.name)
def test_emulated(target):
    check(CASES[3], target)


def test_refusals():
    def reason(case, target=AVX2):
        operation, _, _ = make_float(case, np.random.default_rng(0))
        return grouped_f32.match(operation, target)

    assert reason(grouped(4, 3)) == "groups of 3 inputs and 3 outputs"
    assert reason(grouped(4, 8)) == "groups of 8 inputs and 8 outputs"
    assert reason(grouped(4, 4), A76) == "groups of 4 inputs and 4 outputs"
    assert reason(Conv(c=8, m=16, g=4)) == "groups of 2 inputs and 4 outputs"
    assert reason(grouped(1, 4)) == "one group"
    assert reason(grouped(8, 1)) == "groups of 1 inputs and 1 outputs"
    operation, _, _ = make_float(grouped(4, 4), np.random.default_rng(0))
    operation.inputs[0].halo = Halo()
    assert "halo" in grouped_f32.match(operation, AVX2).lower()


@settings(max_examples=10)
@given(
    groups=st.integers(2, 20),
    group_size=st.sampled_from([2, 4]),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
)
def test_any_shape(groups, group_size, size, kernel, strides, pads):
    for d in (0, 1):
        assume(size[d] + pads[d] + pads[d + 2] >= kernel[d])
    channels = groups * group_size
    case = Conv(
        c=channels,
        m=channels,
        g=groups,
        h=size[0],
        w=size[1],
        k=kernel,
        s=strides,
        p=pads,
    )
    check(case, AVX2, slices=2)
