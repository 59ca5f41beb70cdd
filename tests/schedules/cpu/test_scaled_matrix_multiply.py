"""Products with a matrix in 8 bits against float64, on every instruction set."""

import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.movement import Fill
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import ScaledMatrixMultiply
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import scaled_matrix_multiply


def operation_of(rows, depth, columns, rng):
    def constant(name, array):
        return Value(name, array.shape, array.dtype.name, constant=array)

    x = Value("x", (*rows, depth), "float32")
    constants = [
        constant("w", rng.integers(-127, 128, (depth, columns)).astype(np.int8)),
        constant("s", rng.uniform(0.5, 2, columns).astype(np.float32)),
        constant("b", rng.standard_normal(columns).astype(np.float32)),
    ]
    output = Value("y", (*rows, columns), "float32")
    return Operation(ScaledMatrixMultiply(), [x, *constants], [output])


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("rows", "depth", "columns"),
    [((1,), 7, 8), ((2, 3), 5, 24), ((9,), 1, 16), ((4,), 33, 200), ((1, 13), 12, 4)],
)
def test_product(target, rows, depth, columns, rng):
    operation = operation_of(rows, depth, columns, rng)
    x, weight, scale, bias = operation.inputs
    array = rng.standard_normal(x.shape).astype(np.float32)
    assert scaled_matrix_multiply.match(operation, target) == ""
    calls = scaled_matrix_multiply.emit(operation, target)
    result = run_calls(calls, target, {x: fill(x, array)}, slices=3)
    exact = array.astype(np.float64) @ weight.constant.astype(np.float64)
    exact = exact * scale.constant + bias.constant
    found = read(operation.output, result[operation.output])
    np.testing.assert_allclose(found, exact, atol=2e-5 * np.abs(exact).max())


def test_refusals(rng):
    operation = operation_of((2,), 3, 8, rng)
    other = Operation(Fill(0), [], [operation.output])
    assert "not a product" in scaled_matrix_multiply.match(other, AVX2)
    odd = operation_of((2,), 3, 7, rng)
    assert "whole vectors" in scaled_matrix_multiply.match(odd, AVX2)
    operation.inputs[1].constant = None
    assert "not constant" in scaled_matrix_multiply.match(operation, AVX2)
