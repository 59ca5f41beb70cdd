"""Elementwise chains on an OpenCL device, all operators in one program, against float64."""

import math

import numpy as np
import pytest
from helpers.gpu import compute, current_target
from helpers.kernels import fill, read, run_calls

from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.gpu import elementwise


def _erf(x):
    return np.vectorize(math.erf)(x)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


#: operator -> (attributes, reference in float64, samples from standard normal ones)
UNARY = {
    "Abs": ({}, np.abs, None),
    "Ceil": ({}, np.ceil, None),
    "Clip": ({"min": -0.5, "max": 1.25}, lambda x: np.clip(x, -0.5, 1.25), None),
    "Elu": ({"alpha": 0.5}, lambda x: np.where(x < 0, 0.5 * np.expm1(x), x), None),
    "Erf": ({}, _erf, None),
    "Exp": ({}, np.exp, None),
    "Floor": ({}, np.floor, None),
    "Gelu": ({"approximate": "none"}, lambda x: x / 2 * (1 + _erf(x / 2**0.5)), None),
    "HardSigmoid": ({}, lambda x: np.clip(0.2 * x + 0.5, 0, 1), None),
    "HardSwish": ({}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1), None),
    "LeakyRelu": ({"alpha": 0.3}, lambda x: np.where(x < 0, 0.3 * x, x), None),
    "Log": ({}, np.log, np.abs),
    "Mish": ({}, lambda x: x * np.tanh(np.log1p(np.exp(x))), None),
    "Neg": ({}, np.negative, None),
    "Reciprocal": ({}, np.reciprocal, None),
    "Relu": ({}, lambda x: np.maximum(x, 0), None),
    "Round": ({}, np.rint, None),
    "Sigmoid": ({}, _sigmoid, None),
    "Sign": ({}, np.sign, None),
    "Softplus": ({}, lambda x: np.log1p(np.exp(x)), None),
    "Sqrt": ({}, np.sqrt, np.abs),
    "Tanh": ({}, np.tanh, None),
    "Sin": ({}, np.sin, None),
    "Cos": ({}, np.cos, None),
    "Atan": ({}, np.arctan, None),
    "Acosh": ({}, np.arccosh, lambda x: np.abs(x) + 1.01),
}
BINARY = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "PRelu": lambda x, slope: np.where(x < 0, x * slope, x),
    "Sub": np.subtract,
}
COMPARISONS = {"Equal": np.equal, "Greater": np.greater, "LessOrEqual": np.less_equal}
INTEGERS = ("int32", "int64", "uint8", "int8")


def of(operator, inputs, output, **attributes):
    """An operation of one step on values of these contents."""
    values = [Value(f"x{k}", x.shape, str(x.dtype)) for k, x in enumerate(inputs)]
    step = Step(operator, tuple(range(len(inputs))), output, tuple(sorted(attributes.items())))
    shape = np.broadcast_shapes(*(x.shape for x in inputs))
    return Operation(Elementwise((step,)), values, [Value("y", shape, output)])


def compute_all(pairs):
    """Outputs of (operation, contents of its inputs), by one program."""
    calls, buffers = [], {}
    for operation, inputs in pairs:
        assert elementwise.match(operation, current_target()) == ""
        calls += elementwise.emit(operation, current_target())
        buffers |= {v: fill(v, x) for v, x in zip(operation.inputs, inputs, strict=True)}
    results = run_calls(calls, current_target(), buffers)
    return [read(operation.output, results[operation.output]) for operation, _ in pairs]


@pytest.mark.parametrize("shape", [(37, 5), (6, 8)], ids=["scalars", "vectors"])
def test_float(shape, rng):
    pairs, wanted = [], []
    for operator, (attributes, function, sampled) in UNARY.items():
        x = (rng.standard_normal(shape) * 3).astype(np.float32)
        x = x if sampled is None else sampled(x).astype(np.float32)
        pairs.append((of(operator, [x], "float32", **attributes), [x]))
        wanted.append(function(x.astype(np.float64)))
    for operator, function in BINARY.items():
        a, b = ((rng.standard_normal(shape) * 3).astype(np.float32) for _ in range(2))
        pairs.append((of(operator, [a, b], "float32"), [a, b]))
        wanted.append(function(a.astype(np.float64), b))
    for (operation, _), found, want in zip(pairs, compute_all(pairs), wanted, strict=True):
        name = operation.kind.steps[0].operator
        np.testing.assert_allclose(found, want, rtol=4e-6, atol=2e-6, err_msg=name)


def test_others(rng):
    pairs, wanted = [], []
    for operator, function in COMPARISONS.items():
        for dtype in ("float32", "int64"):
            a, b = (rng.integers(-3, 3, (9, 5)).astype(dtype) for _ in range(2))
            pairs.append((of(operator, [a, b], "bool"), [a, b]))
            wanted.append(function(a, b))
    for dtype in INTEGERS:
        low = 0 if dtype == "uint8" else -40
        a, b = (rng.integers(low, 40, (9, 8)).astype(dtype) for _ in range(2))
        for operator in ("Add", "Mul", "Max"):
            pairs.append((of(operator, [a, b], dtype), [a, b]))
            wanted.append(BINARY[operator](a, b))
    truths = [rng.integers(0, 2, (9, 5)).astype(bool) for _ in range(2)]
    pairs.append((of("And", truths, "bool"), truths))
    wanted.append(truths[0] & truths[1])
    x, y = (rng.standard_normal((9, 5)).astype(np.float32) for _ in range(2))
    pairs.append((of("Where", [truths[0], x, y], "float32"), [truths[0], x, y]))
    wanted.append(np.where(truths[0], x, y))
    for source, result in (("float32", "int32"), ("int64", "float32"), ("bool", "float32")):
        if source == "int64" and current_target().gpu.api == "webgpu":
            continue  # WGSL has no such type: the operation is not claimed
        a = (rng.standard_normal((9, 5)) * 9).astype(source)
        pairs.append((of("Cast", [a], result), [a]))
        wanted.append(a.astype(result))
    a = np.float32([np.nan, -np.nan, 0, -0.0, 0.5, -np.inf, 1e-40])
    pairs.append((of("Cast", [a], "bool"), [a]))
    wanted.append(a.astype(bool))
    for (operation, _), found, want in zip(pairs, compute_all(pairs), wanted, strict=True):
        name = operation.kind.steps[0].operator
        np.testing.assert_array_equal(found, want, err_msg=name)


def test_integer_quotients(rng):
    """Towards zero, remainders with the divisor's sign or the dividend's; 0 is no trap."""
    pairs, wanted, known = [], [], []
    for dtype in INTEGERS:
        if dtype == "int64" and current_target().gpu.api == "webgpu":
            continue  # WGSL has no such type
        limits = np.iinfo(dtype)
        a = rng.integers(limits.min, limits.max, (7, 9), dtype)
        b = rng.integers(max(limits.min, -20), 20, (7, 9)).astype(dtype)
        a[0, 0], b[0, :3] = limits.min, np.array([-1, 0, 1]).astype(dtype)
        wide_a, wide_b = a.astype(object), np.where(b == 0, 1, b).astype(object)
        rest = wide_a % wide_b
        truncated = abs(wide_a) // abs(wide_b) * np.sign(wide_a) * np.sign(wide_b)
        for operator, more, want in (
            ("Div", {}, truncated),
            ("Mod", {}, rest),
            ("Mod", {"fmod": 1}, wide_a - truncated * wide_b),
        ):
            pairs.append((of(operator, [a, b], dtype, **more), [a, b]))
            wanted.append(want & (2**limits.bits - 1))
            known.append(b != 0)
    for (operation, _), found, want, is_known in zip(
        pairs, compute_all(pairs), wanted, known, strict=True
    ):
        bits = found.astype(object) & (2 ** np.iinfo(found.dtype).bits - 1)
        step = operation.kind.steps[0]
        np.testing.assert_array_equal(bits[is_known], want[is_known], err_msg=str(step))


def test_broadcast_into_an_image(rng):
    x = rng.standard_normal((2, 8, 3, 5)).astype(np.float32)
    scale = rng.standard_normal((8, 1, 1)).astype(np.float32)
    values = [
        Value("x", x.shape, "float32", Order.NHWC, Halo(1, 0, 2, 1)),
        Value("scale", scale.shape, "float32", constant=scale),
        Value("two", (), "float32", constant=np.array(2, np.float32)),
    ]
    steps = Step("Mul", (0, 1), "float32"), Step("Add", (3, 2), "float32")
    output = Value("y", x.shape, "float32", Order.NHWC, Halo(0, 1, 1, 0))
    found = compute(elementwise, Operation(Elementwise(steps), values, [output]), [x])
    np.testing.assert_allclose(found, x * scale + 2, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("operator", "dtype", "reason"),
    [
        ("Pow", "float32", "operator Pow"),
        ("Add", "float64", "a chain of float64"),
        ("Add", "float16", "a chain of float16"),
        ("Mod", "float32", "operator Mod"),
    ],
)
def test_refusals(operator, dtype, reason):
    operation = of(operator, [np.ones((3,), dtype)] * 2, dtype)
    assert elementwise.match(operation, current_target()) == reason
