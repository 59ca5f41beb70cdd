"""Products on tensor cores: exact integers, at tails of rows, columns and K."""

import dataclasses

import numpy as np
import pytest
from helpers.cuda import run_cuda_calls
from helpers.dense import Conv, halo_untouched, make_integer, run
from helpers.kernels import fill, read

from edgecomp.device.load import load_target
from edgecomp.plan.finish import Accumulate
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.values import Value
from edgecomp.schedules.cuda import tensor_product
from edgecomp.schedules.cuda.tensor_tile import SIXTEEN_ROWS, choose_warp_tile

TARGET = load_target("cuda-sm90")
#: Whose instruction has fragments of no documented order.
VOLTA = load_target("jetson-xavier")
#: The same with unsigned activations, as a target on an x86 machine has them.
UNSIGNED = dataclasses.replace(VOLTA, name="unsigned", activation_dtype="uint8")
EVERY = [TARGET, load_target("jetson-orin"), VOLTA, UNSIGNED]


def without_features(target):
    """The same device without any instruction of its own."""
    return dataclasses.replace(target, gpu=dataclasses.replace(target.gpu, features=()))


def operation_of(rows, depth, columns, dtype, rng):
    weight = rng.integers(-127, 128, (depth, columns)).astype(np.int8)
    bias = rng.integers(-1000, 1000, columns).astype(np.int32)
    values = [
        Value("x", (rows, depth), dtype),
        Value("w", weight.shape, "int8", constant=weight),
        Value("b", bias.shape, "int32", constant=bias),
    ]
    kind = MatrixMultiply(finish=Accumulate())
    operation = Operation(kind, values, [Value("y", (rows, columns), "int32")])
    return operation, weight, bias


#: One row; whole tiles; tails of all three; K that warps share, and its tail; several warps.
@pytest.mark.parametrize("target", EVERY, ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("rows", "depth", "columns"),
    [(1, 32, 8), (16, 64, 32), (70, 36, 41), (33, 100, 9), (7, 900, 24), (150, 64, 40)],
)
def test_sums(rows, depth, columns, target, rng):
    dtype = target.activation_dtype
    operation, weight, bias = operation_of(rows, depth, columns, dtype, rng)
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max + 1, (rows, depth)).astype(dtype)
    assert tensor_product.match(operation, target) == ""
    (call,) = tensor_product.emit(operation, target)
    buffers = {operation.inputs[0]: fill(operation.inputs[0], x)}
    found = run_cuda_calls([call], buffers)[operation.output]
    want = x.astype(np.int64) @ weight + bias
    np.testing.assert_array_equal(read(operation.output, found), want)


#: Windows, strides, groups, images, halos; channels that are no multiple of 32.
CONVOLUTIONS = [
    Conv(c=40, m=21, h=5, w=7, k=(3, 3), p=(1, 1, 1, 1), finish="requantize"),
    Conv(n=2, c=64, m=24, h=6, w=5, k=(1, 1), finish="add"),
    Conv(c=32, m=32, g=2, h=7, w=9, k=(3, 3), s=(2, 2), p=(1, 1, 1, 1), finish="requantize"),
    Conv(c=12, m=9, h=9, w=4, k=(3, 1), p=(1, 0, 1, 0), finish="scale"),
    Conv(c=40, m=24, h=6, w=5, finish="scale", residual=True),
    Conv(c=40, m=21, h=3, w=5, k=(3, 3), p=(1, 1, 1, 1), finish="requantize", extreme=True),
]


@pytest.mark.parametrize("target", [TARGET, VOLTA, UNSIGNED], ids=lambda t: t.name)
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions(case, target):
    operation, buffers, expected = make_integer(case, target, np.random.default_rng(3))
    assert tensor_product.match(operation, target) == ""
    found, flat = run(tensor_product, operation, buffers, target)
    if case.finish == "scale":
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)
    else:
        np.testing.assert_array_equal(found, expected)
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize(
    ("depth", "columns", "dtype", "target", "reason"),
    [
        (30, 8, "uint8", TARGET, "rows that do not begin at words"),
        (4, 8, "uint8", TARGET, "only 4 elements of K"),
        (32, 7, "uint8", TARGET, "7 columns"),
        (32, 7, "int8", VOLTA, "7 columns"),
        (32, 8, "int8", without_features(VOLTA), "no int8_mma or int8_wmma"),
    ],
)
def test_refusals(depth, columns, dtype, target, reason, rng):
    operation, _, _ = operation_of(16, depth, columns, dtype, rng)
    assert reason in tensor_product.match(operation, target)


def test_small_products_have_small_tiles():
    tile = choose_warp_tile(SIXTEEN_ROWS, 49, 64, 1, 1, TARGET.gpu)
    assert (tile.down, tile.across, tile.warps) == (1, 1, 4)
    tile = choose_warp_tile(SIXTEEN_ROWS, 112 * 112, 512, 1, 9, TARGET.gpu)
    assert (tile.down, tile.across, tile.warps) == (2, 4, 4)
