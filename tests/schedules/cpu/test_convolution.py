import dataclasses

import numpy as np
import pytest
from helpers.dense import RELU, Conv, halo_untouched, make_float, make_integer, requantize, run
from helpers.dense_cases import ACTIVATIONS, SHAPES
from helpers.targets import (
    A53,
    ALL,
    ARMV7,
    AVX2,
    AVX512,
    EMULATED,
    HALVES,
    HOSTS,
    reason_not_runnable,
)
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.plan.finish import Activation
from edgecomp.plan.values import Halo, Order
from edgecomp.schedules.cpu import convolution

FLOAT_TOLERANCE = 2e-5  # of the largest magnitude: docs/numerics.md


def check_float(case, target, slices=1):
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    found, flat = run(convolution, operation, buffers, target, slices)
    assert np.abs(found - expected).max() <= FLOAT_TOLERANCE * max(1, np.abs(expected).max())
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_float_on_host(case, target):
    check_float(case, target, slices=3)
    check_float(dataclasses.replace(case, residual=True, act=RELU), target)


@pytest.mark.parametrize("target", EMULATED, ids=lambda t: t.name)
@pytest.mark.parametrize("case", SHAPES[::3], ids=str)
def test_float_under_emulation(case, target):
    check_float(dataclasses.replace(case, residual=True), target, slices=2)


def check_integer(case, target, slices=1):
    operation, buffers, expected = make_integer(case, target, np.random.default_rng(3))
    found, flat = run(convolution, operation, buffers, target, slices)
    if case.finish == "scale":
        assert np.allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    else:
        assert (found == expected).all()
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
@pytest.mark.parametrize("finish", ["requantize", "add"])
@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_integer_on_host(case, finish, target):
    case = dataclasses.replace(case, finish=finish)
    check_integer(case, target, slices=3 if finish == "add" else 1)


@pytest.mark.parametrize("target", EMULATED, ids=lambda t: t.name)
@pytest.mark.parametrize("case", SHAPES[1::2], ids=str)
def test_integer_under_emulation(case, target):
    check_integer(dataclasses.replace(case, finish="add"), target, slices=2)


@pytest.mark.parametrize("target", EMULATED, ids=lambda t: t.name)
@pytest.mark.parametrize("case", SHAPES[::3], ids=str)
def test_requantized_under_emulation(case, target):
    check_integer(dataclasses.replace(case, finish="requantize"), target)


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
def test_integer_extreme_values(target):
    case = Conv(c=40, m=21, h=3, w=5, k=(3, 3), p=(1, 1, 1, 1), finish="requantize")
    check_integer(dataclasses.replace(case, extreme=True), target)


def with_features(target, name, mattr, features):
    """Another x86 target: ``target`` with its vector width but other instructions."""
    core = dataclasses.replace(target.core, features=frozenset(features))
    tvm = target.tvm | {"mattr": mattr}
    return dataclasses.replace(target, name=name, tvm=tvm, core=core)


@pytest.mark.parametrize(
    "target",
    [
        with_features(AVX2, "avxvnni", ["+avxvnni"], {"avx2", "fma", "avxvnni"}),
        with_features(AVX512, "avx512bw", [], {"avx2", "fma", "avx512"}),
    ],
    ids=lambda t: t.name,
)
def test_integer_other_x86(target):
    check_integer(Conv(c=20, m=49, h=5, w=5, k=(3, 3), finish="add", extreme=True), target)


@pytest.mark.parametrize("target", [AVX2, A53, ARMV7], ids=lambda t: t.name)
def test_integer_weight_minimum(target):
    case = Conv(c=40, m=21, h=3, w=5, finish="requantize", extreme=True)
    operation, buffers, expected = make_integer(case, target, np.random.default_rng(3))
    weight, bias = operation.inputs[1:3]
    weight.constant[...] = -128
    x = operation.inputs[0]
    x_low = np.iinfo(x.dtype).min
    buffers[x][...] = x_low
    found, _ = run(convolution, operation, buffers, target)
    acc = np.full(expected.shape, 40 * -128 * x_low) + bias.constant[None, :, None, None]
    assert (found == requantize(acc, operation.kind.finish)).all()


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
@pytest.mark.parametrize("residual", [False, True], ids=["alone", "residual"])
@pytest.mark.parametrize("activation", [None, RELU], ids=["none", "relu"])
def test_integer_to_float(activation, residual, target):
    case = Conv(c=19, m=22, h=2, w=3, finish="scale", act=activation, residual=residual)
    check_integer(case, target)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.name if a else "none")
def test_float_activations(activation):
    check_float(Conv(c=20, m=21, act=activation), HOSTS[0])


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
def test_same_kernel_for_same_shape(target):
    one, two = (make_float(Conv(c=8, m=16), np.random.default_rng(i))[0] for i in (1, 2))
    first, second = (convolution.emit(op, target)[0] for op in (one, two))
    assert first.kernel.symbol == second.kernel.symbol


REFUSALS = {
    "Halo": lambda op: replace_input(op, 0, halo=Halo(1, 1, 0, 1)),
    "NHWC": lambda op: replace_input(op, 0, order=Order.ROW_MAJOR, halo=Halo()),
    "weight is not a constant": lambda op: replace_input(op, 1, constant=None),
    "bias is not constant": lambda op: replace_input(op, 2, constant=None),
    "float16": lambda op: replace_input(op, 0, dtype="float16"),
    "unknown": lambda op: replace_kind(op, activation=Activation("unknown")),
}


def replace_input(operation, index, **changes):
    operation.inputs[index] = dataclasses.replace(operation.inputs[index], **changes)


def replace_kind(operation, **changes):
    operation.kind = dataclasses.replace(operation.kind, **changes)


@pytest.mark.parametrize("reason", REFUSALS)
def test_refuses_with_reason(reason):
    case = Conv(c=8, m=16, k=(3, 3), p=(1, 1, 1, 1))
    operation = make_float(case, np.random.default_rng(0))[0]
    assert convolution.match(operation, AVX2) == ""
    REFUSALS[reason](operation)
    assert reason in convolution.match(operation, AVX2)


@st.composite
def cases(draw):
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 3)))
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    pads = [draw(st.integers(0, r)) for r in (*reach, *reach)]
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    return Conv(
        n=draw(st.integers(1, 2)),
        c=groups * draw(st.integers(1, 20)),
        m=groups * draw(st.integers(1, 70)),
        h=max(1, reach[0] + 1 - pads[0] - pads[2]) + draw(st.integers(0, 8)),
        w=max(1, reach[1] + 1 - pads[1] - pads[3]) + draw(st.integers(0, 20)),
        k=kernel,
        s=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        d=dilation,
        p=tuple(pads),
        g=groups,
        y_halo=Halo(*(draw(st.integers(0, 1)) for _ in range(4))),
    )


@pytest.mark.skipif(bool(reason_not_runnable(AVX512)), reason=reason_not_runnable(AVX512))
@given(case=cases(), slices=st.integers(1, 4), target=st.sampled_from([AVX512, HALVES]))
def test_any_shape_float(case, slices, target):
    check_float(case, target, slices)


@pytest.mark.skipif(bool(reason_not_runnable(HALVES)), reason=reason_not_runnable(HALVES))
@pytest.mark.parametrize("columns", [5, 8, 24, 40, 100])
def test_half_vectors(columns):
    check_float(Conv(n=1, c=19, m=columns, h=9, w=11, k=(3, 3), p=(1, 1, 1, 1)), HALVES, 3)


@pytest.mark.skipif(bool(reason_not_runnable(AVX512)), reason=reason_not_runnable(AVX512))
@given(case=cases(), slices=st.integers(1, 4))
def test_any_shape_integer(case, slices):
    check_integer(dataclasses.replace(case, finish="add"), AVX512, slices)
