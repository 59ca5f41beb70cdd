"""Products whose weights are of a narrower type, on every target, against float64 of the same."""

import ml_dtypes
import numpy as np
import pytest
from helpers.dense import (
    RELU,
    Conv,
    as_matrix_multiply,
    halo_untouched,
    make_float,
    powers_of_two,
    run,
)
from helpers.dense_cases import SAME3, SHAPES
from helpers.kernels import run_calls
from helpers.targets import A53, A76, ALL, ARMV7, HOSTS

from edgecomp.plan.operations import Operation
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import convolution, depthwise_f32, matrix_multiply, winograd

TYPES = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "log2")
TOLERANCE = 2e-5  # of the largest magnitude: docs/numerics.md


def numpy_dtype(name):
    name = "float8_e5m2" if name == "log2" else name
    return np.dtype(getattr(ml_dtypes, name, name))


def check(schedule, case, target, dtype, slices=1):
    operation, buffers, expected = make_float(case, np.random.default_rng(1), dtype)
    assert operation.inputs[1].dtype == numpy_dtype(dtype).name
    found, flat = run(schedule, operation, buffers, target, slices)
    assert np.abs(found - expected).max() <= TOLERANCE * max(1, np.abs(expected).max())
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize(
    ("target", "case"),
    # An emulator takes its time: some of them there.
    [(t, case) for t in HOSTS for case in SHAPES]
    + [(t, case) for t in (A53, A76, ARMV7) for case in SHAPES[5::5]],
    ids=lambda each: getattr(each, "name", None) or str(each),
)
@pytest.mark.parametrize("dtype", ["float16", "float8_e4m3fn", "log2"])
def test_convolution(case, target, dtype):
    check(convolution, case, target, dtype, slices=2)


@pytest.mark.parametrize("target", [*HOSTS, A53], ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", TYPES)
def test_depthwise_convolution(target, dtype):
    check(depthwise_f32, Conv(c=19, m=19, g=19, h=7, w=9, **SAME3, act=RELU), target, dtype)


def all_finite(dtype):
    """Every finite number of a type."""
    if dtype == "log2":
        return powers_of_two(np.random.default_rng(0), 90)
    dtype = numpy_dtype(dtype)
    bits = np.arange(1 << 8 * dtype.itemsize).astype(f"uint{8 * dtype.itemsize}")
    numbers = bits.view(dtype)
    real = numbers.astype(np.float32)
    tiny = np.finfo(np.float32).tiny  # NEON of armv7 takes what is below for 0
    return numbers[np.isfinite(real) & ((np.abs(real) >= tiny) | (real == 0))]


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_number_is_widened_exactly(target, dtype):
    """One times a weight, and nothing added to it, is the weight."""
    weight = all_finite(dtype)[None, :]
    columns = weight.shape[1]
    inputs = [
        Value("x", (1, 1), "float32"),
        Value("w", weight.shape, weight.dtype.name, constant=weight),
        Value("b", (columns,), "float32", constant=np.zeros(columns, np.float32)),
    ]
    operation = Operation(MatrixMultiply(), inputs, [Value("y", (1, columns), "float32")])
    assert matrix_multiply.match(operation, target) == ""
    found = run_calls(
        matrix_multiply.emit(operation, target), target, {inputs[0]: np.ones(1, np.float32)}
    )
    np.testing.assert_array_equal(
        found[operation.output], weight.reshape(-1).astype(np.float32)
    )


@pytest.mark.parametrize("target", [*HOSTS, A76, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("dtype", TYPES)
def test_matrix_product(rows, target, dtype):
    case = Conv(c=67, m=90, h=1, w=rows, act=RELU)
    operation, buffers, expected = make_float(case, np.random.default_rng(2), dtype)
    product, values = as_matrix_multiply(operation)
    x = operation.inputs[0]
    flat = {values[x]: buffers[x].reshape(-1)}
    found, _ = run(matrix_multiply, product, flat, target, slices=2)
    atol = TOLERANCE * np.abs(expected).max()
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2), expected, atol=atol)


@pytest.mark.parametrize("dtype", TYPES)
def test_weights_are_as_small_as_their_type(dtype):
    operation, _, _ = make_float(
        Conv(c=64, m=64, h=8, w=8, **SAME3), np.random.default_rng(0), dtype
    )
    assert "float32" in winograd.match(operation, HOSTS[1])
    (call,) = convolution.emit(operation, HOSTS[1])
    bits = 4 if dtype == "log2" else 8 * numpy_dtype(dtype).itemsize
    assert call.arguments[1].array.nbytes == 64 * 64 * 9 * bits // 8


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
def test_powers_leave_alone_what_lies_behind_a_row(target):
    """Several elements of K share a register of weights, and the next row may be infinite."""
    weight = powers_of_two(np.random.default_rng(0), (5, 20))
    inputs = [
        Value("x", (2, 5), "float32"),
        Value("w", weight.shape, weight.dtype.name, constant=weight),
        Value("b", (20,), "float32", constant=np.zeros(20, np.float32)),
    ]
    operation = Operation(MatrixMultiply(), inputs, [Value("y", (2, 20), "float32")])
    x = np.ones((2, 5), np.float32)
    x[1] = np.inf
    found = run_calls(
        matrix_multiply.emit(operation, target), target, {inputs[0]: x.reshape(-1)}
    )
    wanted = weight.astype(np.float32).sum(axis=0)
    np.testing.assert_allclose(found[operation.output].reshape(2, 20)[0], wanted, atol=1e-5)
