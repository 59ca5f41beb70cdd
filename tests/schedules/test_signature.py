"""Layers as lines."""

import dataclasses

import numpy as np
from helpers.dense import RELU6, Conv, make_float, make_integer
from helpers.targets import A53, AVX2

from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply
from edgecomp.plan.values import Halo, Value, View
from edgecomp.schedules.signature import signature

CASE = Conv(c=4, m=8, h=5, w=7, k=(3, 3), p=(1, 1, 1, 1), act=RELU6, residual=True)


def test_a_convolution(rng):
    assert signature(make_float(CASE, rng)[0]) == (
        "convolution float32[1,4,5,7]+1.1.1.1 w=8x4x3x3 stride=1x1 pad=1.1.1.1 -> "
        "float32[1,8,5,7] clip residual=float32[1,8,5,7]+1.0.0.1"
    )


def test_an_integer_convolution(rng):
    case = Conv(c=4, m=4, g=4, h=5, w=7, k=(3, 3), s=(2, 1), d=(1, 2), finish="requantize")
    assert signature(make_integer(case, AVX2, rng)[0]) == (
        "convolution uint8[1,4,5,7] w=4x1x3x3 stride=2x1 pad=0.0.0.0 groups=4 dilation=1x2 -> "
        "uint8[1,4,2,3] requantize"
    )


def test_batched_products():
    values = [Value("a", (2, 3, 4), "float32"), Value("b", (5, 4), "float32")]
    kind = BatchMatrixMultiply(transpose_b=True, alpha=0.5)
    operation = Operation(kind, values, [Value("y", (2, 3, 5), "float32")])
    assert signature(operation) == (
        "batch_matrix_multiply float32[2,3,4] float32[5,4] transposed -> float32[2,3,5] scaled"
    )


def test_products_that_read_and_write_otherwise():
    heads = View((3, 4, 8), (8, 24, 1), 0, 96)
    values = [Value("a", (4, 24), "float32"), Value("b", (3, 8, 5), "float32")]
    kind = BatchMatrixMultiply(a=heads, output=View((3, 4, 5), (5, 15, 1), 0, 60))
    operation = Operation(kind, values, [Value("y", (4, 15), "float32")])
    assert signature(operation) == (
        "batch_matrix_multiply float32[3,4,8]@8.24.1 float32[3,8,5] -> float32[3,4,5]@5.15.1"
    )


def test_names_and_weights_do_not_matter(rng):
    first, second = make_float(CASE, rng)[0], make_float(CASE, rng)[0]
    second.inputs[0].name, second.nodes = "other", ("node",)
    assert not np.array_equal(first.inputs[1].constant, second.inputs[1].constant)
    assert signature(first) == signature(second)


def test_what_decides_the_kernel_does(rng):
    def line(**changes):
        return signature(make_float(dataclasses.replace(CASE, **changes), rng)[0])

    lines = [
        line(),
        line(act=None),
        line(residual=False),
        line(h=6),
        line(m=9),
        line(s=(2, 2)),
        line(x_halo=Halo(2, 2, 2, 2)),
        line(y_halo=Halo(2, 2, 2, 2)),
    ]
    assert len(set(lines)) == len(lines)


def test_weights_of_minus_128_make_another_layer(rng):
    case = Conv(c=4, m=8, finish="requantize")
    operation = make_integer(case, A53, rng)[0]
    before = signature(operation)
    operation.inputs[1].constant[0, 0, 0, 0] = -128
    assert signature(operation) != before
