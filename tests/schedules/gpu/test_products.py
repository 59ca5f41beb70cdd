"""Products of matrices on an OpenCL device."""

import numpy as np
import pytest
from helpers.gpu import TARGETS, compute

from edgecomp.plan.finish import Activation
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply, MatrixMultiply
from edgecomp.plan.values import Value
from edgecomp.schedules.gpu import batch_matrix_multiply, matrix_multiply


@pytest.mark.parametrize(
    ("rows", "depth", "columns"),
    [((1,), 130, 10), ((3, 7), 5, 33), ((2, 1), 1, 1), ((12,), 64, 8)],
)
def test_constant(rows, depth, columns, rng):
    x = rng.standard_normal((*rows, depth)).astype(np.float32)
    z = rng.standard_normal((*rows, columns)).astype(np.float32)
    weight = rng.standard_normal((depth, columns)).astype(np.float32)
    bias = rng.standard_normal(columns).astype(np.float32)
    values = [
        Value("x", x.shape, "float32"),
        Value("w", weight.shape, "float32", constant=weight),
        Value("b", bias.shape, "float32", constant=bias),
        Value("z", z.shape, "float32"),
    ]
    kind = MatrixMultiply(activation=Activation("relu"), residual=True)
    operation = Operation(kind, values, [Value("y", z.shape, "float32")])
    found = compute(matrix_multiply, operation, [x, z])
    want = np.maximum(x.astype(np.float64) @ weight + bias + z, 0)
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("batch_a", "batch_b", "rows", "depth", "columns"),
    [
        ((2, 3), (2, 3), 5, 7, 9),
        ((2, 3), (3,), 1, 8, 4),
        ((), (), 9, 130, 3),
        ((4,), (1,), 6, 4, 5),
    ],
)
@pytest.mark.parametrize(
    "transposes", [(False, False), (False, True), (True, False), (True, True)]
)
def test_of_two_values(batch_a, batch_b, rows, depth, columns, transposes, rng):
    a = rng.standard_normal((*batch_a, rows, depth)).astype(np.float32)
    b = rng.standard_normal((*batch_b, depth, columns)).astype(np.float32)
    want = a.astype(np.float64) @ b * 0.25
    given = [
        np.swapaxes(m, -1, -2) if t else m for m, t in zip((a, b), transposes, strict=True)
    ]
    kind = BatchMatrixMultiply(
        transpose_a=transposes[0], transpose_b=transposes[1], alpha=0.25
    )
    values = [Value(name, m.shape, "float32") for name, m in zip("ab", given, strict=True)]
    operation = Operation(kind, values, [Value("y", want.shape, "float32")])
    found = compute(batch_matrix_multiply, operation, given)
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("operand", ["a", "b", "output"])
def test_operands_that_are_views_are_the_processors(operand):
    a, b, y = (Value(name, (3, 8, 8), "float32") for name in "aby")
    plain = Operation(BatchMatrixMultiply(), [a, b], [y])
    assert batch_matrix_multiply.match(plain, TARGETS["opencl"]) == ""
    viewed = Operation(BatchMatrixMultiply(**{operand: a.view}), [a, b], [y])
    assert "views" in batch_matrix_multiply.match(viewed, TARGETS["opencl"])
