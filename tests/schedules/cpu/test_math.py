"""Vector functions against float64 over dense and special arguments."""

import numpy as np
import pytest
import scipy.special
from helpers.kernels import run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.finish import Activation
from edgecomp.plan.values import Value
from edgecomp.schedules.builder import KernelBuilder, load, ramp
from edgecomp.schedules.cpu import functions, math_wide
from edgecomp.schedules.schedule import KernelCall

TARGETS = [AVX2, AVX512, A53, ARMV7]
COUNT = 1 << 14
SMALLEST_NORMAL = 1.1754944e-38
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -1.5,
    -2.5,
    88.7,
    88.73,
    -87.3,
    1e-40,
    -1e-40,
    1e-38,
    3e38,
    -3e38,
    8388608.5,
    -8388607.5,
    16777217.0,
    np.inf,
    -np.inf,
    np.nan,
]


def _limit_at_minus_infinity(function):
    """x * g(x) with g -> 0: numpy gives NaN at -inf, the limit is 0."""
    return lambda x: np.where(x == -np.inf, 0.0, function(x))


def _gelu_tanh(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


REFERENCES = {
    "abs": np.abs,
    "affine": lambda x: 1.5 * x + 6.0,
    "ceil": np.ceil,
    "celu": lambda x: np.where(x < 0, 1.5 * np.expm1(x / 1.5), x),
    "clip": lambda x: np.clip(x, 1.5, 6.0),
    "cos": np.cos,
    "elu": lambda x: np.where(x < 0, 1.5 * np.expm1(x), x),
    "erf": scipy.special.erf,
    "exp": np.exp,
    "floor": np.floor,
    "gelu": _limit_at_minus_infinity(lambda x: x * scipy.special.ndtr(x)),
    "gelu_tanh": _limit_at_minus_infinity(_gelu_tanh),
    "hardsigmoid": lambda x: np.clip(1.5 * x + 6.0, 0, 1),
    "hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "identity": lambda x: x,
    "leakyrelu": lambda x: np.where(x < 0, 1.5 * x, x),
    "log": np.log,
    "mish": _limit_at_minus_infinity(lambda x: x * np.tanh(np.logaddexp(0, x))),
    "neg": np.negative,
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: np.maximum(x, 0),
    "round": np.rint,
    "scaledtanh": lambda x: 1.5 * np.tanh(6.0 * x),
    "selu": lambda x: 6.0 * np.where(x < 0, 1.5 * np.expm1(x), x),
    "sigmoid": scipy.special.expit,
    "sign": np.sign,
    "silu": _limit_at_minus_infinity(lambda x: x * scipy.special.expit(x)),
    "sin": np.sin,
    "softplus": lambda x: np.logaddexp(0, x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "thresholdedrelu": lambda x: np.where(x > 1.5, x, 0),
}


def _arguments(name):
    rng = np.random.default_rng(0)
    anything = rng.integers(0, 1 << 32, 7000, dtype=np.uint64).astype(np.uint32)
    anything = anything.view(np.float32)
    anything = np.where(np.isnan(anything), np.float32(0.25), anything)
    parts = [rng.standard_normal(4000) * 3, rng.uniform(-100, 100, 4000), anything, SPECIAL]
    x = np.resize(np.concatenate([np.asarray(p, np.float32) for p in parts]), COUNT)
    if name in {"softsign", "hardswish"}:  # inf / inf, -inf * 0
        x = np.where(np.isinf(x), np.float32(2.0), x)
    return x


def _run(target, lanes, emit, inputs):
    builder = KernelBuilder(target.core.isa)
    buffers = [builder.pointer(f"x{k}", "float32", COUNT) for k in range(len(inputs))]
    out = builder.pointer("y", "float32", COUNT)
    dtype = "float32" if lanes == 1 else f"float32x{lanes}"
    with builder.loop("i", builder.lo, builder.hi) as i:
        vectors = [builder.let("v", load(b, i * lanes, lanes), dtype) for b in buffers]
        builder.store(out, ramp(i * lanes, lanes), emit(builder, *vectors))
    values = [Value(f"x{k}", (COUNT,), "float32") for k in range(len(inputs))]
    result = Value("y", (COUNT,), "float32")
    call = KernelCall(builder.finish("test"), (*values, result), COUNT // lanes)
    return run_calls([call], target, dict(zip(values, inputs, strict=True)))[result]


def _check(got, want, arguments, target):
    with np.errstate(all="ignore"):
        rounded = want.astype(np.float32)
        wrong = np.abs(got - want) > np.maximum(1e-6, 4e-6 * np.abs(want))
    finite = np.isfinite(rounded)
    wrong = np.where(finite, wrong | ~np.isfinite(got), False)
    wrong |= np.isinf(rounded) & (got != rounded)
    wrong |= np.isnan(rounded) & ~np.isnan(got)
    if target is ARMV7:  # NEON takes subnormal numbers for zero
        for x in arguments:
            wrong &= (np.abs(x) >= SMALLEST_NORMAL) | (x == 0) | np.isnan(x)
    assert not wrong.any(), [
        *(x[wrong][:5] for x in arguments),
        got[wrong][:5],
        want[wrong][:5],
    ]


def test_every_activation_has_a_reference():
    assert set(REFERENCES) == set(functions.FUNCTIONS)


@pytest.mark.parametrize("name", sorted(REFERENCES))
@pytest.mark.parametrize("target", [AVX2, AVX512], ids=lambda t: t.name)
def test_activation_matches_float64(name, target):
    _check_activation(name, target, target.lanes(32))


@pytest.mark.parametrize("target", [A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("name", ["exp", "log", "sigmoid", "tanh", "gelu", "round", "sin"])
def test_activation_on_arm(name, target):
    _check_activation(name, target, target.lanes(32))


@pytest.mark.parametrize("name", ["exp", "log", "erf", "softplus", "cos"])
@pytest.mark.parametrize("lanes", [1, 4, 32])
def test_any_number_of_lanes(name, lanes):
    _check_activation(name, AVX2, lanes)


def _check_activation(name, target, lanes):
    kind = Activation(name, 1.5, 6.0)
    x = _arguments(name)
    got = _run(target, lanes, lambda b, v: functions.apply(b, kind, v), [x])
    with np.errstate(all="ignore"):
        want = REFERENCES[name](x.astype(np.float64))
    _check(got, want, [x], target)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_power(target):
    rng = np.random.default_rng(1)
    base, exponent = (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL))
    base = np.concatenate(
        [base, np.exp(rng.uniform(-20, 20, 8000)), -rng.uniform(0, 9, 2000)]
    ).astype(np.float32)
    exponent = np.concatenate(
        [exponent, rng.uniform(-6, 6, 8000), rng.integers(-9, 9, 2000)]
    ).astype(np.float32)
    x, y = np.resize(base, COUNT), np.resize(exponent, COUNT)
    got = _run(target, target.lanes(32), math_wide.power, [x, y])
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), y.astype(np.float64))
    _check(got, want, [x, y], target)


def test_unknown_activation_is_refused():
    assert functions.refusal(Activation("nonsense")) == "activation nonsense"
    assert functions.refusal(Activation("relu")) == ""
