"""Layer normalisation against float64."""

import dataclasses

import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.movement import Fill
from edgecomp.plan.operations import Operation
from edgecomp.plan.quantization import Quantize
from edgecomp.plan.reductions import LayerNorm
from edgecomp.plan.values import Order, Quantization, Value
from edgecomp.schedules.cpu import layer_norm, quantize


def operation_of(shape, axis, rng):
    inner = shape[axis:]
    scale, bias = (rng.standard_normal(inner).astype(np.float32) for _ in range(2))
    return Operation(
        LayerNorm(axis, 1e-5),
        [
            Value("x", shape, "float32"),
            Value("scale", inner, "float32", constant=scale),
            Value("bias", inner, "float32", constant=bias),
        ],
        [Value("y", shape, "float32")],
    )


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((5, 768), 1),
        ((2, 9, 50), -1),
        ((3, 7, 5), 1),
        ((4, 3), 1),
        ((2, 1), 1),
        ((1, 1023), 1),
    ],
)
def test_layer_norm(target, shape, axis, rng):
    operation = operation_of(shape, axis, rng)
    x, scale, bias = operation.inputs
    array = (rng.standard_normal(shape) * 3 + 10).astype(np.float32)
    assert layer_norm.match(operation, target) == ""
    calls = layer_norm.emit(operation, target)
    result = run_calls(calls, target, {x: fill(x, array)}, slices=3)
    axes = tuple(range(axis % len(shape), len(shape)))
    wide = array.astype(np.float64)
    centred = wide - wide.mean(axes, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-5)
    want = centred / deviation * scale.constant + bias.constant
    got = read(operation.output, result[operation.output])
    np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("both", [True, False], ids=["both", "alone"])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((5, 384), "uint8"), ((3, 50), "int8"), ((7, 3), "uint8")]
)
def test_8_bits_are_those_of_quantize(target, shape, dtype, both, rng):
    operation = operation_of(shape, 1, rng)
    x, y = operation.inputs[0], operation.output
    buffers = {x: fill(x, (rng.standard_normal(shape) * 3).astype(np.float32))}
    stored = Value("q", shape, dtype, quantization=Quantization(0.017, 3))
    apart = run_calls(layer_norm.emit(operation, target), target, buffers)
    narrowing = quantize.emit(Operation(Quantize(), [y], [stored]), target)
    want = run_calls(narrowing, target, {y: apart[y]})[stored]
    operation.outputs = [y, stored] if both else [stored]
    assert layer_norm.match(operation, target) == ""
    (call,) = layer_norm.emit(operation, target)
    found = run_calls([call], target, buffers, slices=2)
    np.testing.assert_array_equal(found[stored], want)
    assert len(np.unique(want)) > 5
    if both:
        np.testing.assert_array_equal(found[y], apart[y])


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("both", [True, False], ids=["both", "alone"])
@pytest.mark.parametrize(("shape", "dtype"), [((5, 384), "uint8"), ((3, 50), "int8")])
def test_factors_are_for_8_bits_alone(target, both, shape, dtype, rng):
    operation = operation_of(shape, 1, rng)
    x, y = operation.inputs[0], operation.output
    buffers = {x: fill(x, (rng.standard_normal(shape) * 3).astype(np.float32))}
    plain = run_calls(layer_norm.emit(operation, target), target, buffers)[y]
    factors = np.exp2(rng.integers(-3, 4, shape[1:])).astype(np.float32)
    stored = Value("q", shape, dtype, quantization=Quantization(0.05, 7))
    multiplied = read(y, plain).reshape(shape) * factors
    limits = np.iinfo(dtype)
    want = np.clip(np.rint(multiplied / np.float32(0.05)) + 7, limits.min, limits.max)
    operation.inputs.append(Value("factors", shape[1:], "float32", constant=factors))
    operation.outputs = [y, stored] if both else [stored]
    assert layer_norm.match(operation, target) == ""
    (call,) = layer_norm.emit(operation, target)
    found = run_calls([call], target, buffers, slices=2)
    np.testing.assert_array_equal(read(stored, found[stored]).reshape(shape), want)
    assert len(np.unique(want)) > 20
    if both:
        np.testing.assert_array_equal(found[y], plain)


def test_refusals(rng):
    operation = operation_of((2, 3, 4, 5), 1, rng)
    y = operation.output
    assert layer_norm.match(Operation(Fill(0), [], [y]), AVX2) == "not a layer normalisation"
    x, scale, bias = operation.inputs
    image = dataclasses.replace(x, order=Order.NHWC)
    assert "image" in layer_norm.match(
        Operation(operation.kind, [image, scale, bias], [y]), AVX2
    )
    variable = Value("bias", bias.shape, "float32")
    assert "constant" in layer_norm.match(
        Operation(operation.kind, [x, scale, variable], [y]), AVX2
    )
    wide = Value("x", x.shape, "float64")
    assert "float64" in layer_norm.match(
        Operation(operation.kind, [wide, scale, bias], [y]), AVX2
    )
