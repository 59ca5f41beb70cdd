import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, AVX2, AVX512, EMULATED, HOSTS, reason_not_runnable
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply
from edgecomp.plan.values import Order, Value
from edgecomp.schedules.cpu import batch_matrix_multiply


def check(a_shape, b_shape, target, *, alpha=1.0, ta=False, tb=False, slices=1, nhwc=False):
    rng = np.random.default_rng(4)
    a = rng.standard_normal(a_shape).astype(np.float32)
    b = rng.standard_normal(b_shape).astype(np.float32)
    left = np.swapaxes(a, -1, -2) if ta else a
    right = np.swapaxes(b, -1, -2) if tb else b
    expected = alpha * (left.astype(np.float64) @ right.astype(np.float64))
    order = Order.NHWC if nhwc else Order.ROW_MAJOR
    values = Value("a", a_shape, "float32", order), Value("b", b_shape, "float32")
    output = Value("y", expected.shape, "float32")
    kind = BatchMatrixMultiply(transpose_a=ta, transpose_b=tb, alpha=alpha)
    operation = Operation(kind, list(values), [output])
    assert batch_matrix_multiply.match(operation, target) == ""
    calls = batch_matrix_multiply.emit(operation, target)
    buffers = {values[0]: fill(values[0], a), values[1]: fill(values[1], b)}
    found = read(output, run_calls(calls, target, buffers, slices)[output])
    assert np.abs(found - expected).max() <= 2e-5 * max(1, np.abs(expected).max())


CASES = [
    # a, b, transpose a, transpose b
    ((3, 5), (5, 7), False, False),
    ((2, 3, 33, 20), (2, 3, 20, 37), False, False),
    ((2, 3, 33, 21), (2, 3, 37, 21), False, True),
    ((2, 21, 33), (2, 21, 50), True, False),
    ((4, 1, 6, 9), (2, 9, 18), False, False),
    ((17, 40), (3, 50, 40), False, True),
    ((1, 2, 1, 64), (1, 2, 64, 100), False, False),
    ((1, 2, 1, 64), (1, 2, 100, 64), False, True),
    ((13, 19), (35, 13), True, True),
    ((1, 1), (1, 1), False, False),
]


@pytest.mark.parametrize("target", EMULATED, ids=lambda t: t.name)
@pytest.mark.parametrize(("a", "b", "ta", "tb"), CASES[1:4])
def test_product_under_emulation(a, b, ta, tb, target):
    check(a, b, target, ta=ta, tb=tb, slices=2)


@pytest.mark.parametrize("target", HOSTS, ids=lambda t: t.name)
@pytest.mark.parametrize(("a", "b", "ta", "tb"), CASES)
def test_product(a, b, ta, tb, target):
    check(a, b, target, ta=ta, tb=tb, alpha=0.125, slices=3)


def test_other_order():
    check((2, 5, 6, 7), (2, 5, 7, 8), AVX2, nhwc=True)


def test_refuses():
    a, b = Value("a", (2, 3), "float32"), Value("b", (3, 4), "float16")
    product = Operation(BatchMatrixMultiply(), [a, b], [Value("y", (2, 4), "float32")])
    assert "float16" in batch_matrix_multiply.match(product, A53)


@pytest.mark.skipif(bool(reason_not_runnable(AVX512)), reason=reason_not_runnable(AVX512))
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 150),
    depth=st.integers(1, 40),
    ta=st.booleans(),
    tb=st.booleans(),
    slices=st.integers(1, 3),
)
def test_any_shape(rows, columns, depth, ta, tb, slices):
    a = (2, depth, rows) if ta else (2, rows, depth)
    b = (columns, depth) if tb else (depth, columns)
    check(a, b, AVX512, ta=ta, tb=tb, slices=slices)
