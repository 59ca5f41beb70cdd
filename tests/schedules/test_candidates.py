"""Every kernel that may be measured computes the same; texts of parameters come back."""

import functools

import numpy as np
import pytest
from helpers.dense import (
    RELU6,
    Conv,
    as_matrix_multiply,
    halo_untouched,
    make_float,
    make_integer,
)
from helpers.kernels import read, run_calls
from helpers.targets import A53, A76, ALL, AVX2, AVX512, HOSTS
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.plan.attention import Softmax
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply
from edgecomp.plan.values import Halo, Value
from edgecomp.schedules.candidates import Candidate, candidates, emit_candidate
from edgecomp.schedules.cpu.family import SCHEDULES
from edgecomp.schedules.params import ParamsError
from edgecomp.schedules.signature import signature

SAME = {"k": (3, 3), "p": (1, 1, 1, 1)}
RIM = Halo(0, 1, 2, 1)
FLOAT = (
    Conv(c=9, m=20, h=6, w=7, **SAME, act=RELU6, residual=True, y_halo=RIM),
    Conv(c=24, m=70, h=5, w=7, act=RELU6),
    Conv(c=16, m=24, h=6, w=5, **SAME, g=2, s=(2, 2)),
    Conv(c=37, m=37, h=7, w=13, **SAME, g=37, residual=True, y_halo=RIM),
    Conv(c=6, m=12, h=5, w=9, k=(5, 3), p=(2, 1, 2, 1), g=6),
)
INTEGER = (
    Conv(c=18, m=40, h=9, w=11, **SAME, finish="add", y_halo=RIM),
    Conv(c=37, m=37, h=8, w=13, **SAME, g=37, act=RELU6, finish="requantize", y_halo=RIM),
)


def product_operation(rng, *, transposed):
    """A product of two activations, batched."""
    a = rng.standard_normal((2, 3, 19, 21)).astype(np.float32)
    b = rng.standard_normal((2, 3, 37, 21) if transposed else (2, 3, 21, 37))
    b = b.astype(np.float32)
    values = [Value("a", a.shape, "float32"), Value("b", b.shape, "float32")]
    right = b.astype(np.float64)
    expected = 0.5 * a.astype(np.float64) @ (right.swapaxes(2, 3) if transposed else right)
    kind = BatchMatrixMultiply(transpose_b=transposed, alpha=0.5)
    operation = Operation(kind, values, [Value("y", expected.shape, "float32")])
    return operation, dict(zip(values, (a.reshape(-1), b.reshape(-1)), strict=True)), expected


def check(operation, buffers, target, expected, wanted=2):
    """Run every candidate."""
    found = candidates(operation, target)
    assert len(found) >= wanted
    assert len(set(found)) == len(found)
    exact = expected.dtype.kind == "i"
    for candidate in found:
        calls = emit_candidate(operation, target, candidate)
        flat = run_calls(calls, target, dict(buffers), 3)[operation.output]
        got = read(operation.output, flat)
        if exact:
            assert np.array_equal(got.astype(np.int64), expected), candidate
        else:
            scale = np.abs(expected).max()
            assert np.allclose(got, expected, rtol=0, atol=2e-5 * scale), candidate
        assert halo_untouched(operation.output, flat), candidate


def on_hosts(cases):
    """Each case on one of the targets of this machine, in turns."""
    return pytest.mark.parametrize(
        ("case", "target"),
        [(case, HOSTS[index % 2]) for index, case in enumerate(cases)],
        ids=lambda value: getattr(value, "name", str(value)),
    )


@on_hosts(FLOAT)
def test_every_float_candidate_is_correct(case, target, rng):
    operation, buffers, expected = make_float(case, rng)
    check(operation, buffers, target, expected)


@on_hosts(INTEGER)
def test_every_integer_candidate_is_exact(case, target, rng):
    operation, buffers, expected = make_integer(case, target, rng)
    check(operation, buffers, target, expected)


@on_hosts([False, True])
def test_every_candidate_of_a_batched_product_is_correct(case, target, rng):
    operation, buffers, expected = product_operation(rng, transposed=case)
    check(operation, buffers, target, expected)


def test_every_candidate_of_a_matrix_product_is_correct(rng):
    case = Conv(c=50, m=70, h=1, w=13, act=RELU6)
    operation, buffers, expected = make_float(case, rng)
    product, values = as_matrix_multiply(operation)
    rows = {values[value]: flat for value, flat in buffers.items()}
    check(product, rows, AVX2, expected.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("target", [A53, A76], ids=lambda t: t.name)
def test_integer_candidates_are_exact_on_arm(target, rng):
    case = Conv(c=9, m=20, h=3, w=5, finish="requantize")
    operation, buffers, expected = make_integer(case, target, rng)
    check(operation, buffers, target, expected)


def operations(target, rng):
    """One of each kind."""
    yield from (make_float(case, rng)[0] for case in FLOAT)
    yield from (make_integer(case, target, rng)[0] for case in INTEGER)
    yield from (product_operation(rng, transposed=t)[0] for t in (False, True))
    yield as_matrix_multiply(make_float(Conv(c=50, m=70, h=1, w=13), rng)[0])[0]


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
def test_the_first_candidate_is_the_kernel_of_an_untuned_build(target, rng):
    for operation in operations(target, rng):
        first, *others = candidates(operation, target)
        own = next(s for s in SCHEDULES if not s.match(operation, target))
        assert first.schedule == own.NAME
        untuned = own.emit(operation, target)
        calls = emit_candidate(operation, target, first)
        assert [c.kernel.symbol for c in calls] == [c.kernel.symbol for c in untuned]
        assert [c.work_items for c in calls] == [c.work_items for c in untuned]
        for candidate in others:
            emit_candidate(operation, target, candidate)


def test_a_schedule_may_be_left_out(rng):
    operation = make_float(FLOAT[0], rng)[0]
    everything = {c.schedule for c in candidates(operation, AVX512)}
    assert everything == {"winograd_f32_nhwc", "convolution_nhwc"}
    left = candidates(operation, AVX512, without=("winograd_f32_nhwc",))
    assert {c.schedule for c in left} == {"convolution_nhwc"}


def test_an_operation_without_choice_has_no_candidates():
    x = Value("x", (4, 8), "float32")
    operation = Operation(Softmax(1), [x], [Value("y", (4, 8), "float32")])
    assert candidates(operation, AVX2) == []
    assert signature(operation) == ""


def test_an_unknown_schedule_is_refused(rng):
    operation = make_float(FLOAT[1], rng)[0]
    with pytest.raises(ParamsError, match="'other'"):
        emit_candidate(operation, AVX2, Candidate("other", "rows=1"))


VALUES = st.one_of(st.integers(-1, 20), st.sampled_from([10**6, 2**40]))


@functools.cache
def known(index):
    """A target, operations, and all of their candidates."""
    target = (AVX512, A53)[index]
    every = list(operations(target, np.random.default_rng(0)))
    return target, every, [(op, c) for op in every for c in candidates(op, target)]


@given(data=st.data())
def test_any_text_gives_a_kernel_or_is_refused(data):
    """What a table of another version may hold never ends in a crash."""
    target, every, pairs = known(data.draw(st.integers(0, 1)))
    operation, candidate = pairs[data.draw(st.integers(0, len(pairs) - 1))]
    if data.draw(st.booleans()):  # its parameters for another operation
        operation = every[data.draw(st.integers(0, len(every) - 1))]
    words = dict(word.split("=") for word in candidate.params.split())
    words[data.draw(st.sampled_from(sorted(words)))] = data.draw(VALUES)
    text = " ".join(f"{key}={value}" for key, value in words.items())
    try:
        calls = emit_candidate(operation, target, Candidate(candidate.schedule, text))
    except ParamsError:
        return
    assert all(call.work_items >= 1 for call in calls)
