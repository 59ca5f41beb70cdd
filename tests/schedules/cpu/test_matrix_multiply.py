import numpy as np
import pytest
from helpers.dense import RELU, Conv, as_matrix_multiply, make_float, run
from helpers.targets import ALL, AVX2

from edgecomp.schedules.cpu import convolution, matrix_multiply

CASES = (
    Conv(c=1, m=1, h=1, w=1),
    Conv(c=33, m=70, h=1, w=13, n=2, act=RELU),
    Conv(c=130, m=300, h=1, w=1, residual=True),
    Conv(c=64, m=24, h=1, w=50, residual=True),
)


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case, target):
    operation, buffers, expected = make_float(case, np.random.default_rng(2))
    product, values = as_matrix_multiply(operation)
    flat = {}
    for value, other in values.items():
        if value in buffers:
            view = value.view
            item = buffers[value].itemsize
            logical = np.lib.stride_tricks.as_strided(
                buffers[value][view.offset :], view.shape, [s * item for s in view.strides]
            )
            flat[other] = np.ascontiguousarray(logical.transpose(0, 2, 3, 1)).reshape(-1)
    found, _ = run(matrix_multiply, product, flat, target, slices=2)
    assert np.allclose(
        found.transpose(0, 3, 1, 2), expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max()
    )


def test_refuses_other_kinds():
    operation = make_float(CASES[0], np.random.default_rng(0))[0]
    assert matrix_multiply.match(operation, AVX2)
    product, _ = as_matrix_multiply(operation)
    assert "convolution" in convolution.match(product, AVX2)
    product.inputs[1].constant = None
    assert "constant" in matrix_multiply.match(product, AVX2)
