"""Pools against numpy: float64 averages, exact maxima and integer averages."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import halo_untouched, requantize
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, A76, ARMV7, AVX2, AVX512, HOSTS, reason_not_runnable
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.plan.finish import Requantize
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import Pool
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import pool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    c: int
    h: int = 9
    w: int = 8
    n: int = 1
    k: tuple = (3, 3)
    s: tuple = (1, 1)
    d: tuple = (1, 1)
    p: tuple = (1, 1, 1, 1)
    include: bool = False

    @property
    def out_shape(self):
        sizes = [
            (size + a + b - (k - 1) * d - 1) // s + 1
            for size, a, b, k, d, s in zip(
                (self.h, self.w), self.p[:2], self.p[2:], self.k, self.d, self.s, strict=True
            )
        ]
        return (self.n, self.c, *sizes)


CASES = (
    Case(c=1, n=2),
    Case(c=3, s=(2, 2), p=(0, 0, 1, 1)),
    Case(c=17, k=(2, 2), s=(2, 2), p=(0, 0, 0, 0)),
    Case(c=24, k=(5, 5), p=(2, 2, 2, 2), n=2),
    Case(c=33, d=(2, 2), p=(2, 2, 2, 2), include=True),
    Case(c=100, h=4, w=5, k=(2, 3), s=(1, 2), p=(1, 0, 0, 2)),
    Case(c=5, h=20, w=40, k=(20, 35), p=(0, 0, 0, 0), s=(1, 2)),
    Case(c=7, h=1, w=30, k=(1, 4), s=(1, 3), p=(0, 1, 0, 2)),
)


def windows_of(x, case, fill_value):
    """[N, C, OH, OW, KH * KW] of the padded image."""
    top, left, bottom, right = case.p
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill_value)
    _, _, oh, ow = case.out_shape
    parts = [
        x[
            :,
            :,
            i * case.d[0] : i * case.d[0] + (oh - 1) * case.s[0] + 1 : case.s[0],
            j * case.d[1] : j * case.d[1] + (ow - 1) * case.s[1] + 1 : case.s[1],
        ]
        for i in range(case.k[0])
        for j in range(case.k[1])
    ]
    return np.stack(parts, axis=-1)


def run(case, kind, array, halo_fill, target, slices=2):
    halo = Halo(*case.p).union(Halo(0, 1, 0, 0))
    dtype = array.dtype.name
    x = Value("x", array.shape, dtype, Order.NHWC, halo)
    y = Value("y", case.out_shape, dtype, Order.NHWC, Halo(1, 0, 0, 1))
    operation = Operation(kind, [x], [y])
    assert pool.match(operation, target) == ""
    calls = pool.emit(operation, target)
    found = run_calls(calls, target, {x: fill(x, array, halo_fill)}, slices)[y]
    assert halo_untouched(y, found)
    return read(y, found)


def kind_of(case, **more):
    return Pool(
        window=case.k,
        strides=case.s,
        dilations=case.d,
        pads=case.p,
        count_include_pad=case.include,
        **more,
    )


def check_float(case, target, rng):
    array = rng.standard_normal((case.n, case.c, case.h, case.w)).astype(np.float32)
    found = run(case, kind_of(case, maximum=True), array, -np.inf, target)
    np.testing.assert_array_equal(found, windows_of(array, case, -np.inf).max(-1))
    found = run(case, kind_of(case, maximum=False), array, 0, target)
    inside = np.ones_like(array, np.float64)
    counts = windows_of(inside, case, float(case.include)).sum(-1)
    expected = windows_of(array.astype(np.float64), case, 0).sum(-1) / counts
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def check_integer(case, dtype, target, rng):
    info = np.iinfo(dtype)
    array = rng.integers(info.min, info.max + 1, (case.n, case.c, case.h, case.w)).astype(
        dtype
    )
    found = run(case, kind_of(case, maximum=True), array, info.min, target)
    np.testing.assert_array_equal(found, windows_of(array, case, info.min).max(-1))
    zero = info.min + 40
    finish = Requantize(
        np.float32([1.7 / (case.k[0] * case.k[1])]), info.min + 90, info.min + 50, info.max
    )
    case = dataclasses.replace(case, include=True)
    kind = kind_of(case, maximum=False, zero_x=zero, requantize=finish)
    found = run(case, kind, array, zero, target)
    total = (windows_of(array.astype(np.int64), case, zero) - zero).sum(-1)
    expected = requantize(total, finish)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
def test_float(case, target, rng):
    check_float(case, target, rng)


@pytest.mark.parametrize("case", CASES[1:], ids=str)
@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
def test_integer(case, target, rng):
    check_integer(case, "uint8", target, rng)


@pytest.mark.parametrize("target", [A53, ARMV7], ids=lambda t: t.name)
def test_emulated(target, rng):
    check_float(CASES[5], target, rng)
    check_integer(CASES[4], "int8", target, rng)


def test_integer_on_a76(rng):
    check_integer(CASES[3], "int8", A76, rng)


def test_refusals():
    x = Value("x", (1, 4, 5, 5), "float32", Order.NHWC)
    y = Value("y", (1, 4, 5, 5), "float32", Order.NHWC)
    padded = Pool(maximum=True, window=(3, 3), pads=(1, 1, 1, 1))
    assert "halo" in pool.match(Operation(padded, [x], [y]), AVX2).lower()
    row_major = Value("x", (1, 4, 5, 5), "float32")
    assert pool.match(Operation(padded, [row_major], [y]), AVX2) == "not NHWC"


@given(
    channels=st.integers(1, 40),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    window=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 1)] * 4),
)
def test_any_shape(channels, size, window, strides, pads):
    reach = [size[d] + pads[d] + pads[d + 2] - window[d] for d in (0, 1)]
    if min(reach) < 0:
        return
    target = AVX512 if not reason_not_runnable(AVX512) else AVX2
    case = Case(c=channels, h=size[0], w=size[1], k=window, s=strides, p=pads)
    inside = windows_of(np.ones((1, channels, *size)), case, 0.0).sum(-1)
    if inside.min() == 0:  # a window of nothing but padding has no average
        return
    check_float(case, target, np.random.default_rng(channels))
