"""Products of two 8-bit values of dynamic sizes: numbers of numpy, as of the static kernel."""

import dataclasses

import numpy as np
import pytest
from helpers.dynamic import operation_at
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, A76, ARMV7, AVX2, AVX512, HOSTS, I8MM, reason_not_runnable
from hypothesis import example, given
from hypothesis import strategies as st

from edgecomp.lower.copied_views import turned
from edgecomp.plan.elementwise import Step
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import IntegerBatchMultiply
from edgecomp.plan.sizes import Size, Symbol
from edgecomp.plan.values import Quantization, Value
from edgecomp.schedules.cpu.dynamic import integer_products
from edgecomp.schedules.cpu.dynamic.family import find_dynamic_schedule

ALPHA = float(np.float32(0.0123))
SYMBOLS = {name: Symbol(name, 0, most) for name, most in (("m", 45), ("k", 83), ("n", 150))}
M, K, N = (Size.of(symbol) for symbol in SYMBOLS.values())


def operation(
    target, *, m=M, k=K, n=N, tb=False, zero=37, zero_b=128, quantized=False, mask=None
):
    """Two of them side by side; zeros count from the least number."""
    dtype = target.activation_dtype
    least = np.iinfo(dtype).min
    a = Value("a", (2, m, k), dtype, quantization=Quantization(0.1, zero + least))
    shape = (n, k) if tb else (k, n)
    b = Value("b", shape, dtype, quantization=Quantization(0.2, zero_b + least))
    output = Value("y", (2, m, n), "float32")
    if quantized:
        output = Value("y", (2, m, n), dtype, quantization=Quantization(3.7, 120 + least))
    view = turned(b.view) if tb else b.view
    kind = IntegerBatchMultiply(alpha=ALPHA, a=a.view, b=view, output=output.view)
    made = Operation(kind, [a, b], [output])
    if mask is not None:
        made.inputs.append(Value("mask", mask, "float32"))
        made.kind = dataclasses.replace(kind, steps=(Step("Max", (0, 1), "float32"),))
    return made


def check(dynamic, target, sizes, *, slices=1, seed=0):
    """What the dynamic kernel makes at some sizes is what numpy does."""
    rng = np.random.default_rng(seed)
    values = {SYMBOLS[name]: size for name, size in sizes.items()}
    static, _ = operation_at(dynamic, values)
    buffers, left = {}, []
    for value, twin in zip(dynamic.inputs, static.inputs, strict=True):
        if twin.dtype == "float32":
            contents = rng.standard_normal(twin.shape).astype(np.float32) * 20
            left.append(contents)
        else:
            limits = np.iinfo(twin.dtype)
            contents = rng.integers(limits.min, limits.max + 1, twin.shape).astype(twin.dtype)
            contents.flat[:1] = limits.min  # -128 of the symmetric one
            left.append(contents.astype(np.int64) - twin.quantization.zero_point)
        buffers[value] = fill(twin, contents)
    is_turned = dynamic.kind.b.strides[-1] != 1
    right = np.swapaxes(left[1], -1, -2) if is_turned else left[1]
    expected = (left[0] @ right).astype(np.float32) * np.float32(ALPHA)
    if left[2:]:
        expected = np.maximum(expected, left[2])
    meaning = static.output.quantization
    if meaning is not None:
        limits = np.iinfo(static.output.dtype)
        steps = np.rint(expected / np.float32(meaning.scale)) + meaning.zero_point
        expected = np.clip(steps, limits.min, limits.max).astype(static.output.dtype)
    schedule, _ = find_dynamic_schedule(dynamic, target)
    assert schedule is integer_products
    calls = integer_products.emit(dynamic, target)
    results = run_calls(calls, target, buffers, slices, values)
    found = read(static.output, results[dynamic.output])
    np.testing.assert_array_equal(found, expected)


CASES = {
    "rows": {"k": 32, "n": 32},
    "columns": {"k": 33, "m": 5},
    "K": {"m": 19, "n": 33},
    "all": {},
    "scores": {"n": M, "k": 31},
    "weighted": {"k": M, "n": 18},
}


@pytest.mark.parametrize(("tb", "quantized"), [(False, True), (True, False)])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
def test_product(target, case, tb, quantized):
    if reason := reason_not_runnable(target):
        pytest.skip(reason)
    dynamic = operation(target, tb=tb, quantized=quantized, **CASES[case])
    for sizes in ((1, 1, 1), (45, 83, 150), (7, 3, 16), (13, 66, 65), (44, 81, 129)):
        check(dynamic, target, dict(zip("mkn", sizes, strict=True)), slices=3)


@pytest.mark.parametrize("target", [A53, A76, I8MM, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("tb", [False, True])
def test_product_under_emulation(target, tb):
    dynamic = operation(target, tb=tb, quantized=tb)
    for sizes in ((1, 1, 1), (45, 83, 150), (13, 66, 33)):
        check(dynamic, target, dict(zip("mkn", sizes, strict=True)), slices=2)


@pytest.mark.parametrize("shape", [(N,), (2, M, 1), (M, N), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("target", [*HOSTS, A53], ids=lambda t: t.name)
def test_steps_behind_the_product(target, shape):
    dynamic = operation(target, mask=shape)
    for sizes in ((1, 1, 1), (45, 83, 150), (9, 21, 35)):
        check(dynamic, target, dict(zip("mkn", sizes, strict=True)), slices=2)


@pytest.mark.skipif(bool(reason_not_runnable(AVX512)), reason=reason_not_runnable(AVX512))
@given(
    rows=st.integers(1, 45),
    depth=st.integers(1, 83),
    columns=st.integers(1, 150),
    tb=st.booleans(),
    quantized=st.booleans(),
    slices=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@example(rows=1, depth=1, columns=1, tb=False, quantized=False, slices=1, seed=0)
@example(rows=45, depth=83, columns=150, tb=True, quantized=True, slices=2, seed=0)
def test_any_size(rows, depth, columns, tb, quantized, slices, seed):
    dynamic = operation(AVX512, tb=tb, quantized=quantized)
    check(dynamic, AVX512, {"m": rows, "k": depth, "n": columns}, slices=slices, seed=seed)


@pytest.mark.parametrize("sizes", [(0, 9, 17), (7, 0, 17), (7, 9, 0), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("tb", [False, True])
def test_counts_of_none(tb, sizes):
    check(operation(AVX2, tb=tb), AVX2, dict(zip("mkn", sizes, strict=True)))


@pytest.mark.parametrize("zero", [0, 128, 255])
def test_zero_points(zero):
    check(operation(AVX2, zero=zero), AVX2, {"m": 9, "k": 41, "n": 33})


@pytest.mark.parametrize("zero_b", [0, 100, 255])
@pytest.mark.parametrize("target", [AVX512, A76], ids=lambda t: t.name)
def test_zero_points_that_are_not_in_the_middle(target, zero_b):
    dynamic = operation(target, zero_b=zero_b)
    for sizes in ((1, 1, 1), (45, 83, 150), (13, 64, 33)):
        check(dynamic, target, dict(zip("mkn", sizes, strict=True)), slices=2)


def test_refusals():
    dynamic = operation(AVX2)
    a, b = dynamic.inputs
    b.quantization = None
    assert "no zero point of b" in integer_products.match(dynamic, AVX2)
    b.quantization = Quantization(0.2, 128)
    both = dataclasses.replace(dynamic.kind.b, strides=(N, K))
    dynamic.kind = dataclasses.replace(dynamic.kind, b=both)
    assert "neither columns nor K" in integer_products.match(dynamic, AVX2)
    of_weights = operation(AVX2)
    of_weights.inputs[1].constant = np.zeros((83, 150), np.uint8)
    assert "constant" in integer_products.match(of_weights, AVX2)
    assert "quantized values" in integer_products.match(Operation(None, [a], [a]), AVX2)
    long = operation(AVX2, k=Size.of(Symbol("k", 1, 70000)))
    assert "overflow int32" in integer_products.match(long, AVX2)
