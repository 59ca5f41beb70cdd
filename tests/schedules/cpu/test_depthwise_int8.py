"""Integer depthwise convolution: equal to int64 arithmetic, bit for bit."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import RELU, Conv, halo_untouched, make_integer, run
from helpers.targets import A53, A55, A76, ARMV7, AVX2, AVX512, HOSTS, reason_not_runnable
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgecomp.plan.values import Halo
from edgecomp.schedules.cpu import depthwise_int8
from edgecomp.schedules.cpu.depthwise_dot import plan_rows
from edgecomp.schedules.cpu.windows import Window


def depthwise(c, k=3, finish="requantize", **more):
    """A depthwise convolution padded to keep the size at stride 1."""
    d = more.pop("d", (1, 1))
    p = more.pop("p", (d[0] * (k // 2), d[1] * (k // 2)) * 2)
    return Conv(c=c, m=c, g=c, k=(k, k), d=d, p=p, finish=finish, **more)


CASES = (
    depthwise(3, h=4, w=5),
    depthwise(16, h=6, w=6, extreme=True, y_halo=Halo(1, 2, 0, 1)),
    depthwise(33, 5, h=6, w=9, n=2, finish="scale", act=RELU),
    depthwise(33, 5, h=6, w=9, n=2, finish="scale", act=RELU, residual=True),
    depthwise(24, h=9, w=9, s=(2, 2), act=RELU, x_halo=Halo(2, 3, 2, 2)),
    depthwise(100, h=5, w=7, finish="add"),
    depthwise(17, h=8, w=7, d=(2, 3), n=2),
    depthwise(5, 7, h=7, w=8, extreme=True, finish="add"),
    depthwise(64, 5, h=6, w=10, s=(1, 2), p=(1, 2, 3, 1)),
    Conv(c=40, m=40, g=40, h=1, w=20, k=(1, 6), p=(0, 5, 0, 0), finish="requantize"),
)
#: AVX-512 without the dot product: pairs of rows in 512 bits.
AVX512_PLAIN = dataclasses.replace(
    AVX512,
    name="avx512-plain",
    tvm={**AVX512.tvm, "mattr": []},
    core=dataclasses.replace(AVX512.core, features=AVX512.core.features - {"avx512vnni"}),
)


def check(case, target, slices=3):
    operation, buffers, expected = make_integer(case, target, np.random.default_rng(0))
    found, flat = run(depthwise_int8, operation, buffers, target, slices)
    assert halo_untouched(operation.output, flat)
    if case.finish == "scale":
        np.testing.assert_allclose(
            found, expected, rtol=1e-6, atol=1e-5 if case.residual else 0
        )
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
def test_host(case, target):
    check(case, target)


@pytest.mark.parametrize("index", [1, 4])
def test_avx512_without_dot_product(index):
    check(CASES[index], AVX512_PLAIN)


@pytest.mark.parametrize(
    ("target", "index"),
    [
        (A53, 1),
        (A53, 4),
        (A53, 2),
        (A76, 1),
        (A76, 4),
        (A76, 3),
        (A55, 1),
        (A55, 3),
        (A55, 5),
        (ARMV7, 1),
        (ARMV7, 4),
    ],
    ids=lambda v: getattr(v, "name", str(v)),
)
def test_emulated(target, index):
    check(CASES[index], target)


@pytest.mark.parametrize("target", [AVX2, A53], ids=lambda t: t.name)
def test_activations_of_the_other_signedness(target):
    other = "int8" if target.activation_dtype == "uint8" else "uint8"
    check(CASES[3], dataclasses.replace(target, activation_dtype=other))


def test_large_multipliers_saturate():
    """Products beyond int32 take the path that clamps before it rounds."""
    operation, buffers, _ = make_integer(CASES[1], AVX2, np.random.default_rng(0))
    finish = operation.kind.finish
    huge = dataclasses.replace(finish, multiplier=finish.multiplier * np.float32(1e12))
    operation.kind = dataclasses.replace(operation.kind, finish=huge)
    found, _ = run(depthwise_int8, operation, buffers, AVX2)
    assert set(np.unique(found)) <= {finish.low, finish.zero_point, finish.high}
    assert {finish.low, finish.high} <= set(np.unique(found))


def test_refusals():
    def reason(case, **changes):
        operation, _, _ = make_integer(case, AVX2, np.random.default_rng(0))
        for name, value in changes.items():
            setattr(operation.inputs[1], name, value)
        return depthwise_int8.match(operation, AVX2)

    assert reason(Conv(c=4, m=8, g=4, finish="requantize")) == "2 outputs per channel"
    assert reason(depthwise(2, 46, h=50, w=50, p=(0, 0, 0, 0))) == "2116 taps"
    lowest = np.full((4, 1, 3, 3), -128, np.int8)
    assert reason(depthwise(4), constant=lowest) == "weights below -127"


def test_rows_are_planned():
    window = Window((3, 3), (1, 1), (1, 1), (1, 1))
    plan = plan_rows(window, 2, 4)
    assert plan.groups == ((0, 1, 2, 3),)
    assert [use.kernel_rows for use in plan.uses] == [(0, 1, 2, -1), (-1, 0, 1, 2)]
    spread = plan_rows(Window((3, 3), (2, 1), (2, 1), (0, 0)), 2, 2)
    assert spread.groups == ((0, 2), (4, 6))
    assert [(u.out_row, u.group, u.kernel_rows) for u in spread.uses] == [
        (0, 0, (0, 1)),
        (0, 1, (2, -1)),
        (1, 0, (-1, 0)),
        (1, 1, (1, 2)),
    ]


@settings(max_examples=12)
@given(
    channels=st.integers(2, 140),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    finish=st.sampled_from(["requantize", "add", "scale"]),
)
def test_any_shape(channels, size, kernel, strides, dilations, finish):
    pads = (1, 1, 1, 1)
    for d in (0, 1):
        assume(size[d] + 2 >= (kernel[d] - 1) * dilations[d] + 1)
    case = Conv(
        c=channels,
        m=channels,
        g=channels,
        h=size[0],
        w=size[1],
        k=kernel,
        s=strides,
        d=dilations,
        p=pads,
        finish=finish,
    )
    check(case, AVX512 if not reason_not_runnable(AVX512) else AVX2, slices=2)
