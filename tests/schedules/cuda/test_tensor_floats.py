"""Products of floats on tensor cores, beside float64 sums of the same rounded numbers."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from helpers.cuda import run_cuda_calls
from helpers.dense import RELU, Conv, halo_untouched, make_float, run, store_as
from helpers.kernels import fill, read

from edgecomp.device.load import load_target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import matrix_multiply
from edgecomp.schedules.cuda import tensor_product
from edgecomp.schedules.cuda.tensor_tile import (
    QUAD_PAIRS,
    SIXTEEN_ROWS,
    SQUARES,
    choose_warp_tile,
    words_at_once,
)
from edgecomp.schedules.cuda.tensor_warp import STAGED_WORDS

TARGET = dataclasses.replace(load_target("cuda-sm90"), tf32=True)
#: Whose instruction has other fragments.
VOLTA = load_target("jetson-xavier")
HALVES = ("float16", "bfloat16")
#: Of the largest magnitude: products are exact, sums of float32.
TOLERANCE = 2e-6


def without_features(target):
    """The same device without any instruction of its own."""
    gpu = dataclasses.replace(target.gpu, features=())
    return dataclasses.replace(target, gpu=gpu)


def kind_of(dtype):
    return np.dtype(getattr(ml_dtypes, dtype, dtype))


def rounded(x, dtype):
    """As the instruction takes it, in float32."""
    if dtype != "float32":
        return x.astype(kind_of(dtype)).astype(np.float32)
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)


def operation_of(rows, depth, columns, dtype, rng):
    x = rng.standard_normal((rows, depth)).astype(np.float32)
    weight = rng.standard_normal((depth, columns)).astype(kind_of(dtype))
    bias = rng.standard_normal(columns).astype(np.float32)
    values = [
        Value("x", x.shape, "float32", storage="" if dtype == "float32" else dtype),
        Value("w", weight.shape, dtype, constant=weight),
        Value("b", bias.shape, "float32", constant=bias),
    ]
    operation = Operation(MatrixMultiply(), values, [Value("y", (rows, columns), "float32")])
    want = (
        rounded(x, dtype).astype(np.float64) @ rounded(weight.astype(np.float32), dtype) + bias
    )
    return operation, x, want


#: One row; whole tiles; tails of all three; K that several warps share, and its tail.
SHAPES = [
    ((1, 16, 8), "float16"),
    ((70, 36, 41), "bfloat16"),
    ((33, 74, 9), "float16"),
    ((7, 328, 24), "float16"),
    ((20, 600, 16), "bfloat16"),
    ((5, 22, 10), "float32"),
    ((19, 300, 16), "float32"),
]


#: Several warps below each other, and words of 16 bytes, beside those of float16 above.
VOLTA_SHAPES = [*(case for case in SHAPES if case[1] == "float16"), ((150, 64, 40), "float16")]


@pytest.mark.parametrize(
    ("shape", "dtype", "target"),
    [*((*case, TARGET) for case in SHAPES), *((*case, VOLTA) for case in VOLTA_SHAPES)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_sums(shape, dtype, target, rng):
    operation, x, want = operation_of(*shape, dtype, rng)
    assert tensor_product.match(operation, target) == ""
    (call,) = tensor_product.emit(operation, target)
    (source,) = [v for v in operation.inputs if v.constant is None]
    found = run_cuda_calls([call], {source: fill(source, x)})[operation.output]
    np.testing.assert_allclose(
        read(operation.output, found), want, rtol=0, atol=TOLERANCE * np.abs(want).max()
    )


#: Windows, strides, groups, images, residuals; words of 16, 8 and 4 bytes; shared K.
CONVOLUTIONS = [
    Conv(c=40, m=21, h=5, w=7, k=(3, 3), p=(1, 1, 1, 1), act=RELU, residual=True),
    Conv(n=2, c=64, m=24, h=6, w=5),
    Conv(c=32, m=32, g=2, h=7, w=9, k=(3, 3), s=(2, 2), p=(1, 1, 1, 1)),
    Conv(c=12, m=9, h=9, w=4, k=(3, 1), p=(1, 0, 1, 0)),
    Conv(c=10, m=8, h=3, w=4, k=(1, 3), p=(0, 1, 0, 1)),
]


@pytest.mark.parametrize("target", [TARGET, VOLTA], ids=lambda target: target.name)
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions(case, target):
    operation, buffers, want = make_float(case, np.random.default_rng(3), "float16")
    store_as("float16", operation, buffers)
    assert tensor_product.match(operation, target) == ""
    found, flat = run(tensor_product, operation, buffers, target)
    assert found.dtype == np.float16
    # Inputs and results are rounded to 11 bits.
    np.testing.assert_allclose(
        found.astype(float), want, rtol=0, atol=2e-3 * np.abs(want).max()
    )
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize(
    ("depth", "dtype", "target", "reason"),
    [
        (33, "float16", TARGET, "rows that do not begin at words"),
        (6, "float16", TARGET, "only 6 elements of K"),
        (32, "bfloat16", VOLTA, "no bf16_mma"),
        (32, "float16", without_features(TARGET), "no fp16_mma or fp16_quad_mma"),
        (32, "float32", load_target("cuda-sm90"), "tf32 is not allowed"),
    ],
)
def test_refusals(depth, dtype, target, reason, rng):
    operation, _, _ = operation_of(16, depth, 8, dtype, rng)
    assert reason in tensor_product.match(operation, target)


def test_tf32_of_narrow_weights(rng):
    operation, x, _ = operation_of(9, 24, 8, "float32", rng)
    weight = operation.inputs[1].constant.astype(ml_dtypes.bfloat16)
    operation.inputs[1] = Value("w", weight.shape, "bfloat16", constant=weight)
    want = rounded(x, "float32").astype(np.float64) @ weight.astype(np.float64)
    want += operation.inputs[2].constant
    assert tensor_product.match(operation, TARGET) == ""
    found, _ = run(tensor_product, operation, {operation.inputs[0]: x.reshape(-1)}, TARGET)
    np.testing.assert_allclose(found, want, rtol=0, atol=TOLERANCE * np.abs(want).max())


def test_infinite_weights_are_refused(rng):
    operation, _, _ = operation_of(16, 32, 8, "float16", rng)
    operation.inputs[1].constant[3, 2] = np.inf
    assert "not finite" in tensor_product.match(operation, TARGET)


@pytest.mark.parametrize(("depth", "words"), [(64, 4), (36, 2), (34, 1), (33, 0)])
def test_words_by_alignment(depth, words, rng):
    operation, _, _ = operation_of(4, depth, 8, "float16", rng)
    product, _ = matrix_multiply.product_of(operation)
    assert words_at_once(product, 2) == words


def test_few_tiles_share_k():
    tile = choose_warp_tile(SIXTEEN_ROWS, 49, 512, 1, 64, TARGET.gpu)
    assert (tile.warps, tile.slices) == (1, 8)
    assert choose_warp_tile(SIXTEEN_ROWS, 49, 512, 1, 3, TARGET.gpu).slices == 1


@pytest.mark.parametrize(
    "fragments", [SIXTEEN_ROWS, QUAD_PAIRS, SQUARES], ids=["sixteen", "quads", "squares"]
)
def test_what_warps_share_fits(fragments):
    """Sums of all warps but the first lie in shared memory, beside what each brings numbers through."""
    for rows in (1, 40, 700, 10**6):
        tile = choose_warp_tile(fragments, rows, 512, 1, 640, VOLTA.gpu)
        numbers = (tile.slices - 1) * tile.down * tile.across * fragments.sums * 32
        numbers += STAGED_WORDS * tile.warps * tile.slices
        assert numbers * 4 <= VOLTA.gpu.local_memory_bytes
