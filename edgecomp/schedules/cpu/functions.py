"""Elementwise float32 functions with at most two parameters.

One table serves the epilogues of convolutions and products and the elementwise chains.
"""

from collections.abc import Callable

from edgecomp.plan.finish import Activation
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant
from edgecomp.schedules.cpu import math, math_wide
from edgecomp.schedules.cpu.bounds import at_most, clamp
from edgecomp.schedules.cpu.vectors import lanes_of, pinned

#: (builder, x, alpha, beta) -> result
_Function = Callable[[KernelBuilder, Expr, float, float], Expr]


def _number(value: float, like: Expr) -> Expr:
    return constant(value, "float32", lanes_of(like))


def _plain(function: Callable[[KernelBuilder, Expr], Expr]) -> _Function:
    return lambda builder, x, _alpha, _beta: function(builder, x)


def _clip(builder: KernelBuilder, x: Expr, alpha: float, beta: float) -> Expr:
    return clamp(x, alpha, beta, builder.isa)


def _leaky_relu(_builder: KernelBuilder, x: Expr, alpha: float, _beta: float) -> Expr:
    return tirx.Select(x < _number(0.0, x), x * _number(alpha, x), x)


def _hard_sigmoid(builder: KernelBuilder, x: Expr, alpha: float, beta: float) -> Expr:
    return clamp(x * _number(alpha, x) + _number(beta, x), 0.0, 1.0, builder.isa)


def _hard_swish(builder: KernelBuilder, x: Expr, _alpha: float, _beta: float) -> Expr:
    return x * clamp(x * _number(1.0 / 6.0, x) + _number(0.5, x), 0.0, 1.0, builder.isa)


def _exp_minus_one(builder: KernelBuilder, x: Expr) -> Expr:
    """``e^x - 1`` for x <= 0; absolute accuracy."""
    return math.exp(builder, at_most(x, 0.0, builder.isa)) - _number(1.0, x)


def _elu(builder: KernelBuilder, x: Expr, alpha: float, _beta: float) -> Expr:
    below = _exp_minus_one(builder, x) * _number(alpha, x)
    return tirx.Select(x < _number(0.0, x), below, x)


def _selu(builder: KernelBuilder, x: Expr, alpha: float, gamma: float) -> Expr:
    return _elu(builder, x, alpha, 0.0) * _number(gamma, x)


def _celu(builder: KernelBuilder, x: Expr, alpha: float, _beta: float) -> Expr:
    below = _exp_minus_one(builder, x / _number(alpha, x)) * _number(alpha, x)
    return tirx.Select(x < _number(0.0, x), below, x)


def _softsign(builder: KernelBuilder, x: Expr, _alpha: float, _beta: float) -> Expr:
    return x / (_number(1.0, x) + math.absolute(builder, x))


def _thresholded_relu(_builder: KernelBuilder, x: Expr, alpha: float, _beta: float) -> Expr:
    return tirx.Select(x > _number(alpha, x), x, _number(0.0, x))


def _affine(_builder: KernelBuilder, x: Expr, alpha: float, beta: float) -> Expr:
    return x * _number(alpha, x) + _number(beta, x)


def _scaled_tanh(builder: KernelBuilder, x: Expr, alpha: float, beta: float) -> Expr:
    scaled = pinned(builder, "scaled", x * _number(beta, x))
    return math.tanh(builder, scaled) * _number(alpha, x)


#: ONNX operator in lower case -> function of (builder, x, alpha, beta).
FUNCTIONS: dict[str, _Function] = {
    "abs": _plain(math.absolute),
    "affine": _affine,
    "ceil": _plain(math.ceil),
    "celu": _celu,
    "clip": _clip,
    "cos": _plain(math_wide.cos),
    "elu": _elu,
    "erf": _plain(math.erf),
    "exp": _plain(math.exp),
    "floor": _plain(math.floor),
    "gelu": _plain(math.gelu),
    "gelu_tanh": _plain(math.gelu_tanh),
    "hardsigmoid": _hard_sigmoid,
    "hardswish": _hard_swish,
    "identity": _plain(lambda _builder, x: x),
    "leakyrelu": _leaky_relu,
    "log": _plain(math.log),
    "mish": _plain(math.mish),
    "neg": _plain(math.negative),
    "reciprocal": _plain(math.reciprocal),
    "relu": _plain(math.relu),
    "round": _plain(math.round_half_even),
    "scaledtanh": _scaled_tanh,
    "selu": _selu,
    "sigmoid": _plain(math.sigmoid),
    "sign": _plain(math.sign),
    "silu": _plain(math.silu),
    "sin": _plain(math_wide.sin),
    "softplus": _plain(math.softplus),
    "softsign": _softsign,
    "sqrt": _plain(math.sqrt),
    "tanh": _plain(math.tanh),
    "thresholdedrelu": _thresholded_relu,
}


def refusal(activation: Activation) -> str:
    """Why ``apply`` cannot compute the activation, "" if it can."""
    return "" if activation.name in FUNCTIONS else f"activation {activation.name}"


def apply(builder: KernelBuilder, activation: Activation, x: Expr) -> Expr:
    """The activation of a float32 scalar or vector.

    Raises:
        KeyError: unknown activation; ask ``refusal`` first.
    """
    value = pinned(builder, "x", x)
    return FUNCTIONS[activation.name](builder, value, activation.alpha, activation.beta)
