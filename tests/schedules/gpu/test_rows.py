"""Softmax and layer normalisation on an OpenCL device."""

import numpy as np
import pytest
from helpers.gpu import TARGETS, compute, current_target
from helpers.kernels import run_calls

from edgecomp.plan.attention import Softmax
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import LayerNorm
from edgecomp.plan.sizes import Size, Symbol
from edgecomp.plan.values import Order, Quantization, Value
from edgecomp.schedules.cpu import layer_norm as cpu
from edgecomp.schedules.cpu import softmax as cpu_softmax
from edgecomp.schedules.cpu.dynamic import softmax as dynamic_softmax
from edgecomp.schedules.gpu import layer_norm, softmax
from edgecomp.schedules.gpu.family import sized_schedules


@pytest.mark.parametrize("logarithm", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis", "order"),
    [
        ((3, 130), -1, Order.ROW_MAJOR),
        ((2, 600), -1, Order.ROW_MAJOR),
        ((2, 5, 7), 1, Order.ROW_MAJOR),
        ((2, 3, 4, 5), 1, Order.NHWC),
        ((4, 1), 1, Order.ROW_MAJOR),
    ],
)
def test_softmax(shape, axis, order, logarithm, rng):
    x = (rng.standard_normal(shape) * 9).astype(np.float32)
    values = [Value("x", shape, "float32", order)], [Value("y", shape, "float32", order)]
    found = compute(softmax, Operation(Softmax(axis, logarithm), *values), [x])
    moved = x.astype(np.float64) - x.max(axis=axis, keepdims=True)
    total = np.exp(moved).sum(axis=axis, keepdims=True)
    want = moved - np.log(total) if logarithm else np.exp(moved) / total
    np.testing.assert_allclose(found, want, rtol=3e-6, atol=1e-6)


def norm_of(shape, axis, rng):
    inner = shape[axis:]
    values = [Value("x", shape, "float32")]
    for name in ("scale", "bias"):
        constant = rng.standard_normal(inner).astype(np.float32)
        values.append(Value(name, inner, "float32", constant=constant))
    return Operation(LayerNorm(axis, 1e-5), values, [Value("y", shape, "float32")])


@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 130), 1), ((2, 3, 7, 6), 2), ((2, 384), 1), ((3, 1), 1)]
)
def test_layer_norm(shape, axis, rng):
    x = (rng.standard_normal(shape) * 3 + 5).astype(np.float32)
    operation = norm_of(shape, axis, rng)
    scale, bias = (value.constant for value in operation.inputs[1:])
    found = compute(layer_norm, operation, [x])
    axes, wide = tuple(range(axis, len(shape))), x.astype(np.float64)
    moved = wide - wide.mean(axis=axes, keepdims=True)
    spread = np.sqrt((moved * moved).mean(axis=axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found, moved / spread * scale + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("behind", "most"), [((), 70), ((), 700), ((12,), 21), ((3,), 9)], ids=str
)
def test_layer_norm_of_dynamic_rows(behind, most, rng):
    """Scales of a shorter row are the first of those of the longest."""
    target = current_target()
    if not sized_schedules(target.gpu.api):
        pytest.skip("apps start kernels of fixed sizes")
    rows, length = Symbol("rows", 1, 5), Symbol("length", 1, most)
    inner = (Size.of(length), *behind)
    operation = norm_of((4, most, *behind), 1, rng)
    x, y = operation.inputs[0], operation.outputs[0]
    x.shape = y.shape = (Size.of(rows), *inner)
    (calls,) = (s.emit(operation, target) for s in claiming(operation, target))
    scale, bias = (value.constant for value in operation.inputs[1:])
    for count, size in ((5, most), (1, 1), (3, 2), (2, most - 1), (4, most // 2)):
        given = (rng.standard_normal((count, size, *behind)) * 3 + 5).astype(np.float32)
        sizes = {rows: count, length: size}
        found = run_calls(calls, target, {x: given.reshape(-1)}, sizes=sizes)[y]
        axes, wide = tuple(range(1, given.ndim)), given.astype(np.float64)
        moved = wide - wide.mean(axis=axes, keepdims=True)
        spread = np.sqrt((moved * moved).mean(axis=axes, keepdims=True) + 1e-5)
        want = moved / spread * scale[:size] + bias[:size]
        np.testing.assert_allclose(found.reshape(want.shape), want, rtol=1e-5, atol=1e-5)


def claiming(operation, target):
    """Schedules of dynamic sizes that claim an operation, their calls made."""
    schedules = sized_schedules(target.gpu.api)
    return [schedule for schedule in schedules if not schedule.match(operation, target)]


@pytest.mark.parametrize("keeps_floats", [True, False])
def test_norms_of_8_bits_are_the_processors(keeps_floats, rng):
    operation = norm_of((5, 16), 1, rng)
    stored = Value("q", (5, 16), "uint8", quantization=Quantization(0.02, 3))
    operation.outputs = [*(operation.outputs if keeps_floats else []), stored]
    assert cpu.match(operation, TARGETS["opencl"]) == ""
    assert "uint8" in layer_norm.match(operation, TARGETS["opencl"])


def test_softmaxes_of_8_bits_are_the_processors():
    stored = Value("q", (5, 16), "uint8", quantization=Quantization(0.02, 3))
    operation = Operation(Softmax(-1), [Value("x", (5, 16), "float32")], [stored])
    for of_processor in (cpu_softmax, dynamic_softmax):
        assert of_processor.match(operation, TARGETS["opencl"]) == ""
    assert "uint8" in softmax.match(operation, TARGETS["opencl"])
