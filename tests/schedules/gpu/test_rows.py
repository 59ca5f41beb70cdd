"""Softmax and layer normalisation on an OpenCL device."""

import numpy as np
import pytest
from helpers.gpu import compute

from edgecomp.plan.operations import LayerNorm, Operation, Softmax
from edgecomp.plan.values import Order, Value
from edgecomp.schedules.gpu import layer_norm, softmax


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


@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 130), 1), ((2, 3, 7, 6), 2), ((2, 384), 1), ((3, 1), 1)]
)
def test_layer_norm(shape, axis, rng):
    x = (rng.standard_normal(shape) * 3 + 5).astype(np.float32)
    inner = shape[axis:]
    scale, bias = (rng.standard_normal(inner).astype(np.float32) for _ in range(2))
    values = [
        Value("x", shape, "float32"),
        Value("scale", inner, "float32", constant=scale),
        Value("bias", inner, "float32", constant=bias),
    ]
    operation = Operation(LayerNorm(axis, 1e-5), values, [Value("y", shape, "float32")])
    found = compute(layer_norm, operation, [x])
    axes, wide = tuple(range(axis, len(shape))), x.astype(np.float64)
    moved = wide - wide.mean(axis=axes, keepdims=True)
    spread = np.sqrt((moved * moved).mean(axis=axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found, moved / spread * scale + bias, rtol=1e-5, atol=1e-5)
