"""Quantized elementwise operations on an OpenCL device: bit by bit."""

import numpy as np
import pytest
from helpers.gpu import compute

from edgecomp.plan.elementwise import QuantizedAdd, QuantizedMultiply
from edgecomp.plan.finish import IntegerAdd, Requantize
from edgecomp.plan.operations import Operation
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.values import Quantization, Value
from edgecomp.schedules.gpu import quantize

SCALES = (0.25, 0.037, 0.1, 1.0 / 255.0, 3.7e-3)


@pytest.mark.parametrize("scale", SCALES)
def test_quantize(scale, rng):
    scale = float(np.float32(scale))
    point, size = 17, 4096
    x = (rng.standard_normal(size) * 100 * scale).astype(np.float32)
    # Values between two integers, and their neighbours.
    halves = (np.arange(-20, 20) + 0.5) * scale
    x[:40] = halves
    x[40:80] = np.nextafter(halves.astype(np.float32), np.float32(np.inf))
    x[80:85] = [np.nan, np.inf, -np.inf, 0.0, -0.0]
    output = Value("y", (size,), "uint8", quantization=Quantization(scale, point))
    operation = Operation(Quantize(), [Value("x", (size,), "float32")], [output])
    want = np.rint(x / np.float32(scale))
    want = np.clip(np.where(np.isnan(want), 0, want), -point, 255 - point) + point
    np.testing.assert_array_equal(compute(quantize, operation, [x]), want.astype(np.uint8))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_dequantize(dtype, rng):
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max + 1, (7, 5)).astype(dtype)
    scale = np.float32(0.037)
    source = Value("x", x.shape, dtype, quantization=Quantization(float(scale), 3))
    operation = Operation(Dequantize(), [source], [Value("y", x.shape, "float32")])
    want = (x.astype(np.float32) - 3) * scale
    np.testing.assert_array_equal(compute(quantize, operation, [x]), want)


def test_add_with_broadcast(rng):
    a = rng.integers(0, 256, (3, 4, 8)).astype(np.uint8)
    b = rng.integers(0, 256, (4, 1)).astype(np.uint8)
    unit = np.float32(2.0**-15)
    add = IntegerAdd(20000, -12345, 7, 130, Requantize(np.array([unit]), 100, 3, 250))
    values = [Value("a", a.shape, "uint8"), Value("b", b.shape, "uint8")]
    output = Value("y", a.shape, "uint8")
    found = compute(quantize, Operation(QuantizedAdd(add), values, [output]), [a, b])
    total = (a.astype(np.int64) - 7) * 20000 + (b.astype(np.int64) - 130) * -12345
    scaled = np.clip(total.astype(np.float32) * unit, 3 - 100, 250 - 100)
    np.testing.assert_array_equal(found, np.rint(scaled) + 100)


def test_multiply(rng):
    a, b = (rng.integers(-128, 128, (5, 7)).astype(np.int8) for _ in range(2))
    multiplier = np.float32(0.0123)
    kind = QuantizedMultiply(-3, 9, Requantize(np.array([multiplier]), -5, -128, 127))
    values = [Value(name, a.shape, "int8") for name in "ab"]
    found = compute(quantize, Operation(kind, values, [Value("y", a.shape, "int8")]), [a, b])
    total = (a.astype(np.int64) + 3) * (b.astype(np.int64) - 9)
    scaled = np.clip(total.astype(np.float32) * multiplier, -123, 132)
    np.testing.assert_array_equal(found, np.rint(scaled) - 5)
