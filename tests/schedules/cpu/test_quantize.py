"""Quantize and Dequantize: the bits of docs/numerics.md, in every order."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.movement import Fill
from edgecomp.plan.operations import Operation
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.values import Halo, Order, Quantization, Value
from edgecomp.schedules.cpu import quantize
from edgecomp.schedules.cpu.quotient import is_exact

HALO = Halo(1, 2, 1, 0)


def quantized(x, scale, zero, dtype):
    """float32 division, half to even, saturation; NaN gives the zero point."""
    limits = np.iinfo(dtype)
    with np.errstate(all="ignore"):
        steps = np.rint(x / np.float32(scale))
    steps = np.where(np.isnan(steps), 0, steps) + zero
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def value(name, shape, dtype, order, halo, quantization=None):
    halo = halo if order is Order.NHWC else Halo()
    return Value(name, shape, dtype, order, halo, quantization)


def run(kind, x, y, array, target, slices=3):
    operation = Operation(kind, [x], [y])
    assert quantize.match(operation, target) == ""
    before = fill(y, np.zeros(y.shape, y.dtype), halo_fill=7)
    calls = quantize.emit(operation, target)
    result = run_calls(calls, target, {x: fill(x, array, 9), y: before}, slices)[y]
    got = read(y, result)
    np.testing.assert_array_equal(fill(y, got, halo_fill=7), result)
    return got


def ties(shape, scale, rng):
    """Numbers on and beside the middle between two steps, and the awkward ones."""
    x = (rng.integers(-300, 300, shape) * 0.5 * scale).astype(np.float32)
    flat = x.reshape(-1)
    flat[::3] += rng.standard_normal(flat[::3].shape).astype(np.float32) * scale
    special = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, -0.0]
    flat[: min(7, flat.size)] = special[: flat.size]
    return x


SHAPES = [(1, 3, 17, 35), (2, 20, 5, 7), (1, 1, 3, 3), (1, 4, 8, 16), (1, 37, 4, 19)]
ORDERS = [(a, b) for a in Order for b in Order]


def check_quantize(target, shape, orders, dtype, scale, zero):
    rng = np.random.default_rng(5)
    x = value("x", shape, "float32", orders[0], HALO)
    y = value("y", shape, dtype, orders[1], HALO, Quantization(scale, zero))
    array = ties(shape, scale, rng)
    got = run(Quantize(), x, y, array, target)
    np.testing.assert_array_equal(got, quantized(array, scale, zero, dtype))


@pytest.mark.parametrize("orders", ORDERS, ids=lambda o: f"{o[0].value}-{o[1].value}")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_quantize(shape, orders):
    check_quantize(AVX512 if shape[1] < 5 else AVX2, shape, orders, "uint8", 0.0173, 119)


@pytest.mark.parametrize("target", [AVX512, A53, ARMV7], ids=lambda t: t.name)
def test_quantize_on_other_targets(target):
    for shape, orders in zip(SHAPES, [ORDERS[1], ORDERS[1], ORDERS[0]], strict=False):
        check_quantize(target, shape, orders, "int8", 0.0173, -9)


@pytest.mark.parametrize(
    ("scale", "zero", "dtype"),
    [
        (0.25, 0, "int8"),
        (2.0**-20, 255, "uint8"),
        (3.4e-5, 0, "uint8"),
        (1e30, -128, "int8"),
    ],
)
def test_scales(scale, zero, dtype):
    check_quantize(AVX2, (1, 3, 9, 20), (Order.ROW_MAJOR, Order.NHWC), dtype, scale, zero)


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_dequantize(target, dtype):
    rng = np.random.default_rng(6)
    for shape in SHAPES[:2]:
        for orders in ORDERS[:2] if target is AVX2 else ORDERS[1:2]:
            array = rng.integers(*((0, 256) if dtype == "uint8" else (-128, 128)), shape)
            scale, zero = 0.031, 17
            x = value("x", shape, dtype, orders[0], HALO, Quantization(scale, zero))
            y = value("y", shape, "float32", orders[1], HALO)
            got = run(Dequantize(), x, y, array.astype(dtype), target)
            want = (array - zero).astype(np.float32) * np.float32(scale)
            np.testing.assert_array_equal(got, want)


def test_products_replace_the_division_exactly():
    """Every float within 40 ulps of a rounding boundary, and random ones."""
    rng = np.random.default_rng(2)
    for scale in (0.0173, 1.7e-3, 7.77):
        assert is_exact(scale, -119, 136)
        middles = ((np.arange(-121, 139) + 0.5) * np.float64(np.float32(scale))).astype(
            np.float32
        )
        near = (middles.view(np.int32)[:, None] + np.arange(-40, 41, dtype=np.int32)).reshape(
            -1
        )
        array = np.concatenate([near.view(np.float32), ties((20000,), scale, rng)])
        x = Value("x", array.shape, "float32")
        y = Value("y", array.shape, "uint8", quantization=Quantization(scale, 119))
        got = run(Quantize(), x, y, array, AVX512)
        np.testing.assert_array_equal(got, quantized(array, scale, 119, "uint8"))


def test_scales_that_products_cannot_replace():
    assert not is_exact(1e-35, 0, 255)
    assert not is_exact(1e35, 0, 255)


@hypothesis.settings(max_examples=10)
@hypothesis.given(
    st.integers(1, 3000), st.floats(1e-6, 1e3), st.integers(0, 255), st.integers(0, 1 << 30)
)
def test_any_scale_and_length(size, scale, zero, seed):
    array = ties((size,), scale, np.random.default_rng(seed))
    x = Value("x", (size,), "float32")
    y = Value("y", (size,), "uint8", quantization=Quantization(scale, zero))
    got = run(Quantize(), x, y, array, AVX512)
    np.testing.assert_array_equal(got, quantized(array, scale, zero, "uint8"))


def test_refusals():
    x, y = Value("x", (4,), "float32"), Value("y", (4,), "uint8")
    assert quantize.match(Operation(Quantize(), [x], [y]), AVX2) == "no scale"
    assert "uint8 to uint8" in quantize.match(Operation(Quantize(), [y], [y]), AVX2)
    assert "neither" in quantize.match(Operation(Fill(0), [], [y]), AVX2)
