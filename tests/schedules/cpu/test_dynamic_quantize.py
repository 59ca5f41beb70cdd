"""DynamicQuantizeLinear and the products behind it on every target, to the bit."""

import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import ALL

from edgecomp.plan.finish import Accumulate, RuntimeScale
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.quantization import DynamicQuantize
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import dynamic_quantize, matrix_multiply


def quantized(x):
    """(stored, scale, zero point) by the formulas of ONNX in float32."""
    least, most = np.float32(min(0, x.min())), np.float32(max(0, x.max()))
    width = most - least
    scale = np.float32(1) if width == 0 else width / np.float32(255)
    zero = np.rint(np.clip(-least / scale, 0, 255)).astype(np.int32)
    return np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8), scale, zero


def run(x_value, y_value, x, target, chunks):
    scale, zero = Value("scale", (), "float32"), Value("zero", (), "uint8")
    extremes = Value("extremes", (2, chunks), "float32")
    operation = Operation(
        DynamicQuantize(), [x_value], [y_value, scale, zero, extremes], ("q",)
    )
    assert dynamic_quantize.match(operation, target) == ""
    calls = dynamic_quantize.emit(operation, target)
    found = run_calls(calls, target, {x_value: fill(x_value, x)}, slices=3)
    return read(y_value, found[y_value]), found[scale][0], found[zero][0]


@pytest.mark.parametrize("target", ALL, ids=lambda target: target.name)
@pytest.mark.parametrize(("size", "chunks"), [(47, 1), (1000, 5)])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_quantization(size, chunks, shift, target):
    x = np.random.default_rng(size).standard_normal(size).astype(np.float32) + np.float32(
        shift
    )
    dtype = target.activation_dtype
    values = Value("x", (size,), "float32"), Value("y", (size,), dtype)
    got, scale, zero = run(*values, x, target, chunks)
    stored, want_scale, want_zero = quantized(x)
    assert (scale, zero) == (want_scale, want_zero)
    np.testing.assert_array_equal(got.astype(int) - np.iinfo(dtype).min, stored)


@pytest.mark.parametrize("target", ALL[::2], ids=lambda target: target.name)
def test_images_inside_a_halo(target):
    shape = (1, 5, 4, 3)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    source = Value("x", shape, "float32", Order.NHWC, Halo(1, 1, 1, 1))
    result = Value("y", shape, target.activation_dtype, Order.NHWC)
    got, _, _ = run(source, result, x, target, 2)
    np.testing.assert_array_equal(got.astype(int) - np.iinfo(got.dtype).min, quantized(x)[0])


def product(rows, depth, columns, target, finish, weights):
    x = Value("x", (rows, depth), target.activation_dtype)
    constants = [
        Value("w", weights.shape, "int8", constant=weights),
        Value("b", (columns,), "int32", constant=np.zeros(columns, np.int32)),
    ]
    measured = [Value("z", (), "uint8"), Value("s", (), "float32")]
    is_sum = isinstance(finish, Accumulate)
    output = Value("y", (rows, columns), "int32" if is_sum else "float32")
    inputs = [x, *constants, *([] if is_sum else measured)]
    return Operation(MatrixMultiply(finish=finish), inputs, [output], ("product",))


@pytest.mark.parametrize("target", ALL, ids=lambda target: target.name)
@pytest.mark.parametrize("extents", [(1, 64, 40), (7, 37, 19)], ids=str)
@pytest.mark.parametrize("scaled", [False, True])
def test_product(extents, scaled, target):
    rows, depth, columns = extents
    rng = np.random.default_rng(0)
    weights = rng.integers(-128, 128, (depth, columns)).astype(np.int8)
    shift = int(np.iinfo(target.activation_dtype).min)
    finish = Accumulate()
    if scaled:
        finish = RuntimeScale(
            rng.uniform(0.01, 0.02, columns).astype(np.float32),
            weights.sum(axis=0, dtype=np.int32),
            shift,
            np.zeros(columns, np.float32),
        )
    operation = product(rows, depth, columns, target, finish, weights)
    assert matrix_multiply.match(operation, target) == ""
    stored = rng.integers(0, 256, (rows, depth))
    zero, scale = np.uint8(97), np.float32(0.013)
    feeds = [(stored + shift).astype(target.activation_dtype).reshape(-1)]
    if scaled:
        feeds += [np.array([zero]), np.array([scale])]
    variable = [value for value in operation.inputs if value.constant is None]
    calls = matrix_multiply.emit(operation, target)
    found = run_calls(calls, target, dict(zip(variable, feeds, strict=True)))
    got = found[operation.output].reshape(rows, columns)
    if not scaled:
        np.testing.assert_array_equal(got, (stored + shift) @ weights.astype(np.int64))
        return
    sums = (stored - int(zero)) @ weights.astype(np.int64)
    want = sums.astype(np.float32) * (scale * finish.multiplier)
    np.testing.assert_array_equal(got, want)
