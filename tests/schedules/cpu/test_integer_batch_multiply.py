"""Products of two 8-bit values, against numpy's integers."""

import dataclasses

import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import (
    A53,
    A76,
    ARMV7,
    AVX2,
    AVX512,
    EMULATED,
    HOSTS,
    I8MM,
    VBMI,
    reason_not_runnable,
)
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.lower.copied_views import turned
from edgecomp.plan.elementwise import Step
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import IntegerBatchMultiply
from edgecomp.plan.values import Quantization, Value
from edgecomp.schedules.candidates import candidates, emit_candidate
from edgecomp.schedules.cpu import integer_batch_multiply
from edgecomp.schedules.params import ParamsError
from edgecomp.schedules.signature import signature

ALPHA = float(np.float32(0.0123))


def case(a_shape, b_shape, target, *, tb=False, zero=37, zero_b=128, quantized=False, seed=4):
    """The operation, contents of its inputs, what numpy finds; zeros count from the least."""
    rng = np.random.default_rng(seed)
    dtype = target.activation_dtype
    least = np.iinfo(dtype).min
    stored = [rng.integers(0, 256, shape) for shape in (a_shape, b_shape)]
    for each in stored:
        each.flat[0] = 0  # -128 of the symmetric one
    left = stored[0] - zero
    right = np.swapaxes(stored[1], -1, -2) if tb else stored[1]
    sums = left @ (right - zero_b)
    expected = sums.astype(np.float32) * np.float32(ALPHA)
    a = Value("a", a_shape, dtype, quantization=Quantization(0.1, zero + least))
    b = Value("b", b_shape, dtype, quantization=Quantization(0.2, zero_b + least))
    output = Value("y", expected.shape, "float32")
    if quantized:
        scale, point = float(np.float32(np.abs(expected).max() / 100)), 120
        output = Value(
            "y", expected.shape, dtype, quantization=Quantization(scale, point + least)
        )
        steps = np.rint(expected / np.float32(scale)) + point
        expected = (np.clip(steps, 0, 255) + least).astype(dtype)
    kind = IntegerBatchMultiply(
        alpha=ALPHA, a=a.view, b=turned(b.view) if tb else b.view, output=output.view
    )
    contents = [(each + least).astype(dtype) for each in stored]
    return Operation(kind, [a, b], [output]), contents, expected


def check(a_shape, b_shape, target, *, slices=1, **options):
    operation, contents, expected = case(a_shape, b_shape, target, **options)
    assert integer_batch_multiply.match(operation, target) == ""
    calls = integer_batch_multiply.emit(operation, target)
    run_and_compare(operation, calls, contents, expected, target, slices)


def run_and_compare(operation, calls, contents, expected, target, slices):
    buffers = {
        value: fill(value, array)
        for value, array in zip(operation.inputs, contents, strict=False)
    }
    output = operation.output
    found = read(output, run_calls(calls, target, buffers, slices)[output])
    np.testing.assert_array_equal(found, expected)


CASES = [
    # a, b, transpose b
    ((3, 5), (5, 7), False),
    ((2, 3, 33, 21), (2, 3, 21, 37), False),
    ((2, 3, 33, 21), (2, 3, 37, 21), True),
    ((4, 1, 6, 9), (2, 9, 18), False),
    ((17, 64), (3, 50, 64), True),
    ((1, 2, 1, 64), (1, 2, 64, 100), False),
    ((1, 2, 1, 63), (1, 2, 100, 63), True),
    ((19, 18), (35, 18), True),
    ((1, 1), (1, 1), False),
]


@pytest.mark.parametrize("target", EMULATED, ids=lambda t: t.name)
@pytest.mark.parametrize(("a", "b", "tb"), CASES[1:3])
def test_product_under_emulation(a, b, tb, target):
    check(a, b, target, tb=tb, slices=2)
    check(a, b, target, tb=tb, quantized=True)


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
@pytest.mark.parametrize(("a", "b", "tb"), CASES)
def test_product(a, b, tb, target, quantized):
    if reason := reason_not_runnable(target):
        pytest.skip(reason)
    check(a, b, target, tb=tb, quantized=quantized, slices=3)


@pytest.mark.parametrize("shape", [(), (35,), (2, 19, 1), (19, 35), (1, 1, 35)], ids=str)
@pytest.mark.parametrize("target", [*HOSTS, A53], ids=lambda t: t.name)
def test_steps_behind_the_product(target, shape, rng):
    """The maximum of twice the product and another value, which is rounded once."""
    operation, contents, expected = case((2, 19, 21), (2, 21, 35), target)
    further = rng.standard_normal(shape or 1).astype(np.float32)
    other = Value("other", further.shape, "float32", constant=None if shape else further)
    two = Value("two", (1,), "float32", constant=np.array([2], np.float32))
    steps = (Step("Mul", (0, 2), "float32"), Step("Max", (3, 1), "float32"))
    operation.kind = dataclasses.replace(operation.kind, steps=steps)
    operation.inputs += [other, two]
    expected = np.maximum(expected * np.float32(2), further)
    assert integer_batch_multiply.match(operation, target) == ""
    calls = integer_batch_multiply.emit(operation, target)
    held = [*contents, *([further] if shape else [])]
    run_and_compare(operation, calls, held, expected, target, 3)


def test_refuses_sums_beyond_int32():
    """Values of scale 1 look like the steps of a longer product than is recognized."""
    longest, shorter = ((2**31 - 1) // (255 * reach) for reach in (128, 255))
    cases = (
        (longest, 128, ""),
        (longest + 1, 128, "overflow int32"),
        (shorter, 1, ""),
        (shorter + 1, 1, "overflow int32"),
    )
    for depth, zero, reason in cases:
        a, b = (
            Value(name, shape, "uint8", quantization=Quantization(1.0, zero))
            for name, shape in (("a", (2, depth)), ("b", (depth, 3)))
        )
        y = Value("y", (2, 3), "float32")
        kind = IntegerBatchMultiply(alpha=1.0, a=a.view, b=b.view, output=y.view)
        found = integer_batch_multiply.match(Operation(kind, [a, b], [y]), AVX512)
        assert found == "" if not reason else reason in found


def test_refuses_steps_of_other_types():
    operation, _, _ = case((3, 5), (5, 7), AVX2)
    operation.inputs.append(Value("other", (7,), "int32"))
    assert "int32" in integer_batch_multiply.match(operation, AVX2)
    operation.inputs[2:] = [Value("other", (7,), "float32")]
    step = Step("Less", (0, 1), "bool")
    operation.kind = dataclasses.replace(operation.kind, steps=(step,))
    assert "bool" in integer_batch_multiply.match(operation, AVX2)
    operation.inputs[2:] = [Value(f"x{k}", (7,), "float32") for k in range(9)]
    assert "9 further" in integer_batch_multiply.match(operation, AVX2)


@pytest.mark.parametrize("columns", [1, 8, 9, 17])
@pytest.mark.parametrize("target", [AVX512, VBMI], ids=lambda t: t.name)
def test_few_columns_of_a_vector(target, columns):
    """One of them in 512 bits may be compiled for ever where there is vpermb."""
    if reason := reason_not_runnable(target):
        pytest.skip(reason)
    for depth in (8, 121):
        check((3, 19, depth), (depth, columns), target, slices=2)


def test_refuses_many_instructions():
    """They would be there for each vector of a tile: 12 s of compiling, 400 KB."""
    operation, _, _ = case((3, 5), (5, 7), AVX2)
    capped = (Step("Tanh", (0,), "float32"), Step("Mul", (1, 1), "float32"))
    operation.kind = dataclasses.replace(operation.kind, steps=capped)
    assert integer_batch_multiply.match(operation, AVX2) == ""
    further = (Step("Erf", (2,), "float32"),)
    operation.kind = dataclasses.replace(operation.kind, steps=(*capped, *further))
    assert "steps of 53 instructions" in integer_batch_multiply.match(operation, AVX2)


def test_refuses_numbers_without_a_meaning():
    operation, _, _ = case((3, 5), (5, 7), AVX2, quantized=True)
    a, output = operation.inputs[0], operation.output
    meaning, a.quantization = a.quantization, None
    assert "zero point of a" in integer_batch_multiply.match(operation, AVX2)
    a.quantization, output.quantization = meaning, None
    assert "without a scale" in integer_batch_multiply.match(operation, AVX2)


@pytest.mark.parametrize("target", [*HOSTS, A53, A76], ids=lambda t: t.name)
def test_every_candidate_is_exact(target):
    operation, contents, expected = case((2, 19, 21), (2, 21, 70), target)
    found = candidates(operation, target)
    (own,), (first,) = (
        integer_batch_multiply.emit(operation, target),
        emit_candidate(operation, target, found[0]),
    )
    assert (own.work_items, own.workspace_bytes) == (first.work_items, first.workspace_bytes)
    assert len(set(found)) == len(found) > 2
    for candidate in found:
        calls = emit_candidate(operation, target, candidate)
        run_and_compare(operation, calls, contents, expected, target, 2)


@pytest.mark.parametrize(
    "params", ["rows=0 vectors=1", "rows=4 vectors=9", "rows=16 vectors=8"]
)
def test_tiles_that_do_not_fit_are_refused(params):
    operation, _, _ = case((2, 19, 21), (2, 21, 70), AVX2)
    with pytest.raises(ParamsError):
        integer_batch_multiply.emit_candidate(operation, AVX2, params)


def test_the_signature_says_where_elements_lie():
    operation, _, _ = case((3, 5), (7, 5), AVX2, tb=True, quantized=True)
    assert signature(operation) == (
        "integer_batch_multiply uint8[3,5]@5.1 uint8[5,7]@1.5 -> uint8[3,7]@7.1"
    )


@pytest.mark.parametrize("zero", [0, 128, 255])
def test_zero_points(zero):
    check((2, 9, 40), (2, 40, 33), AVX2, zero=zero)


@pytest.mark.parametrize("zero_b", [0, 100, 255])
@pytest.mark.parametrize("target", [AVX512, A76, I8MM], ids=lambda t: t.name)
def test_zero_points_that_are_not_in_the_middle(target, zero_b):
    depth = 41 if zero_b else 64
    check((2, 19, depth), (2, depth, 33), target, zero_b=zero_b, slices=2)


@pytest.mark.parametrize("target", [AVX2, A53, ARMV7], ids=lambda t: t.name)
def test_cores_without_dot_products_take_zero_points_in_the_middle_alone(target):
    operation, _, _ = case((3, 5), (5, 7), target, zero_b=100)
    assert "no dot products" in integer_batch_multiply.match(operation, target)


def test_refuses_what_is_stored_otherwise():
    operation, _, _ = case((3, 5), (5, 7), A53)
    a, b = operation.inputs
    assert "dtypes" in integer_batch_multiply.match(operation, AVX2)
    kind = dataclasses.replace(operation.kind, a=turned(a.view))
    turned_a = Operation(kind, [a, b], operation.outputs)
    assert "K of a" in integer_batch_multiply.match(turned_a, A53)


@pytest.mark.skipif(bool(reason_not_runnable(AVX512)), reason=reason_not_runnable(AVX512))
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 150),
    depth=st.integers(1, 80),
    tb=st.booleans(),
    quantized=st.booleans(),
    zero_b=st.sampled_from([128, 90]),
    slices=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_any_shape(rows, columns, depth, tb, quantized, zero_b, slices, seed):
    b = (columns, depth) if tb else (depth, columns)
    options = {"tb": tb, "quantized": quantized, "zero_b": zero_b}
    check((2, rows, depth), b, AVX512, slices=slices, seed=seed, **options)
