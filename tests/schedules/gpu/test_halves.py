"""Floats of 16 bits between kernels: what a kernel gives is its float32 result, rounded once."""

import ml_dtypes
import numpy as np
import pytest
from helpers import gpu
from helpers.dense import Conv, make_float
from helpers.kernels import read

from edgecomp.plan.attention import Softmax
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.movement import Fill, Gather, Resize, StridedCopy
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply, MatrixMultiply
from edgecomp.plan.quantization import Quantize
from edgecomp.plan.reductions import LayerNorm, Pool, Reduce
from edgecomp.plan.values import Halo, Order, Quantization, Value
from edgecomp.schedules.gpu import (
    batch_matrix_multiply,
    convolution,
    depthwise,
    elementwise,
    gather,
    layer_norm,
    matrix_multiply,
    moves,
    pool,
    quantize,
    reduce,
    resize,
    softmax,
)


def value(name, shape, order=Order.ROW_MAJOR, halo=None, constant=None):
    dtype = "float32" if constant is None else constant.dtype.name
    return Value(name, shape, dtype, order, halo or Halo(), constant=constant)


def convolved(case, schedule, weights="float32"):
    def make(rng):
        operation, buffers, _ = make_float(case, rng, weights)
        inputs = [v for v in operation.inputs if v.constant is None]
        return schedule, operation, [read(v, buffers[v]) for v in inputs]

    return make


def matrix(rows, depth, columns):
    def make(rng):
        weight = rng.standard_normal((depth, columns)).astype(np.float16)
        bias = rng.standard_normal(columns).astype(np.float32)
        inputs = [
            value("x", (rows, depth)),
            value("w", weight.shape, constant=weight),
            value("b", bias.shape, constant=bias),
        ]
        operation = Operation(MatrixMultiply(), inputs, [value("y", (rows, columns))])
        return matrix_multiply, operation, [rng.standard_normal((rows, depth))]

    return make


def batched(transpose_b):
    def make(rng):
        a, b = rng.standard_normal((2, 5, 9)), rng.standard_normal((2, 9, 6))
        b = np.swapaxes(b, 1, 2) if transpose_b else b
        kind = BatchMatrixMultiply(transpose_b=transpose_b, alpha=0.5)
        inputs = [value("a", a.shape), value("b", b.shape)]
        return (
            batch_matrix_multiply,
            Operation(kind, inputs, [value("y", (2, 5, 6))]),
            [a, b],
        )

    return make


def simple(schedule, kind, shape, out_shape=None, order=Order.ROW_MAJOR, halo=None, more=()):
    """One input, and constants of the row's shape."""

    def make(rng):
        constants = [
            value(name, size, constant=rng.standard_normal(size).astype(np.float32))
            for name, size in more
        ]
        x, y = value("x", shape, order), value("y", out_shape or shape, order, halo)
        return schedule, Operation(kind, [x, *constants], [y]), [rng.standard_normal(shape)]

    return make


def chain(rng):
    steps = (Step("Add", (0, 1), "float32"), Step("Sigmoid", (2,), "float32"))
    inputs = [value("a", (3, 8)), value("b", (3, 1))]
    operation = Operation(Elementwise(steps), inputs, [value("y", (3, 8))])
    return elementwise, operation, [rng.standard_normal(v.shape) for v in inputs]


def looked_up(rng):
    table = rng.standard_normal((11, 6)).astype(np.float32)
    inputs = [value("t", table.shape), Value("i", (4,), "int64")]
    operation = Operation(Gather(0), inputs, [value("y", (4, 6))])
    return gather, operation, [table, np.array([3, 0, 10, 5])]


def quantized(rng):
    """By a scale that no product divides by: OpenCL compares too, eight values at once."""
    scale = float(np.float32(0.1))
    output = Value("y", (5, 16), "uint8", quantization=Quantization(scale, 17))
    operation = Operation(Quantize(), [value("x", (5, 16))], [output])
    return quantize, operation, [rng.standard_normal((5, 16)) * 10]


def filled(_rng):
    return moves, Operation(Fill(0.3), [], [value("y", (1, 3, 4, 5))]), []


COPY = StridedCopy(
    shape=(2, 3, 4, 5),
    permutation=(0, 1, 2, 3),
    in_start=(0,) * 4,
    in_step=(1,) * 4,
    out_start=(0,) * 4,
    out_step=(1,) * 4,
)
SAME3 = {"k": (3, 3), "p": (1, 1, 1, 1)}
LINEAR = {
    "rows": np.array([[0, 1], [1, 1], [0, 0]], np.int32),
    "row_weights": np.array([[0.25, 0.75], [1, 0], [0.5, 0.5]], np.float32),
    "columns": np.array([[1, 0]], np.int32),
    "column_weights": np.array([[0.125, 0.875]], np.float32),
}
CASES = {
    "convolution": convolved(Conv(c=5, m=9, h=5, **SAME3, residual=True), convolution),
    "narrow-weights": convolved(Conv(c=8, m=8, g=2, h=3), convolution, "float16"),
    "bfloat16-weights": convolved(Conv(c=4, m=6, h=3), convolution, "bfloat16"),
    "depthwise": convolved(Conv(c=6, m=6, g=6, h=5, **SAME3, residual=True), depthwise),
    "depthwise-weights": convolved(Conv(c=8, m=8, g=8, h=5, **SAME3), depthwise, "float16"),
    "matrix": matrix(5, 33, 10),
    "batch": batched(transpose_b=False),
    "batch-transposed": batched(transpose_b=True),
    "softmax": simple(softmax, Softmax(1), (3, 37)),
    "norm": simple(layer_norm, LayerNorm(1, 1e-5), (3, 37), more=(("s", (37,)), ("b", (37,)))),
    "maximum": simple(
        pool,
        Pool(maximum=True, window=(2, 2), strides=(2, 2)),
        (1, 5, 4, 6),
        (1, 5, 2, 3),
        Order.NHWC,
    ),
    "mean": simple(reduce, Reduce(operator="ReduceMean", axes=(2,)), (2, 5, 7), (2, 5, 1)),
    "sum-across": simple(
        reduce, Reduce(operator="ReduceSum", axes=(0,), keepdims=False), (5, 8), (8,)
    ),
    "linear": simple(
        resize, Resize(nearest=False, **LINEAR), (1, 3, 2, 2), (1, 3, 3, 1), Order.NHWC
    ),
    "nearest": simple(
        resize, Resize(nearest=True, **LINEAR), (1, 8, 2, 2), (1, 8, 3, 1), Order.NHWC
    ),
    "softmax-of-vectors": simple(softmax, Softmax(1), (3, 40)),
    "chain": chain,
    "table": looked_up,
    "copy": simple(moves, COPY, COPY.shape),
    "fill": filled,
    "quantize": quantized,
}


#: bfloat16 goes the same ways, and other texts are written of the same records: where values are
#: loaded and stored in each way.
SOME = ("narrow-weights", "chain", "softmax", "copy")


@pytest.mark.parametrize(
    ("gpu_api", "name", "dtype"),
    [
        *(("opencl", name, "float16") for name in CASES),
        *(("opencl", name, "bfloat16") for name in ("bfloat16-weights", *SOME[1:])),
        *(("cuda", name, "float16") for name in SOME),
        *(("cuda", name, "bfloat16") for name in SOME[1:3]),
        *(("metal", name, "float16") for name in SOME),
        *(("webgpu", name, "float16") for name in CASES),
        *(("webgpu", name, "bfloat16") for name in SOME[1:3]),
    ],
    indirect=["gpu_api"],
)
def test_rounded_once(gpu_api, name, dtype, rng):
    half = np.dtype(getattr(ml_dtypes, dtype, dtype))
    schedule, operation, arrays = CASES[name](rng)
    arrays = [a if a.dtype.kind == "i" else a.astype(half).astype(np.float32) for a in arrays]
    want = gpu.compute(schedule, operation, arrays)
    for narrow in (operation.output, *operation.inputs):
        if narrow.dtype == "float32" and narrow.constant is None:
            narrow.storage = dtype
    found = gpu.compute(schedule, operation, arrays)
    half = half if operation.output.storage else want.dtype
    assert found.dtype == half
    np.testing.assert_array_equal(
        found.astype(np.float32), want.astype(half).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("name", "side"),
    [("copy", "x"), ("copy", "y"), ("table", "y"), ("convolution", "y"), ("nearest", "x")],
)
def test_at_the_edges_of_the_model(name, side, rng):
    schedule, operation, arrays = CASES[name](rng)
    arrays = [
        a if a.dtype.kind == "i" else a.astype(np.float16).astype(np.float32) for a in arrays
    ]
    want = gpu.compute(schedule, operation, arrays)
    if side == "x":
        operation.inputs[0].storage = "float16"
    else:
        operation.output.storage, want = "float16", want.astype(np.float16)
    np.testing.assert_array_equal(gpu.compute(schedule, operation, arrays), want)
