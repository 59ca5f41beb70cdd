"""Activations at the end of a kernel, on one vector of float32."""

from collections.abc import Callable

from tvm import tirx

from edgecomp.plan.operations import Activation
from edgecomp.schedules.builder import Expr, KernelBuilder, constant

#: (builder, activation, x, lanes) -> result.
Emitter = Callable[[KernelBuilder, Activation, Expr, int], Expr]


def refuse_activation(activation: Activation | None) -> str:
    """Return "" when ``activate`` can emit it, else why not."""
    if activation is None or activation.name in EMITTERS:
        return ""
    return f"activation {activation.name} is not fused"


def activate(
    builder: KernelBuilder, activation: Activation | None, x: Expr, lanes: int
) -> Expr:
    """The activation of a float32 vector (x itself for None)."""
    if activation is None:
        return x
    return EMITTERS[activation.name](builder, activation, x, lanes)


def clamp(x: Expr, low: float, high: float, lanes: int) -> Expr:
    """``min(max(x, low), high)`` in float32."""
    above = tirx.max(x, constant(low, "float32", lanes))
    return tirx.min(above, constant(high, "float32", lanes))


def _name(builder: KernelBuilder, x: Expr, lanes: int) -> Expr:
    """Bind x, which is used more than once."""
    return builder.let("value", x, "float32" if lanes == 1 else f"float32x{lanes}")


def _relu(builder: KernelBuilder, activation: Activation, x: Expr, lanes: int) -> Expr:
    del builder, activation
    return tirx.max(x, constant(0.0, "float32", lanes))


def _clip(builder: KernelBuilder, activation: Activation, x: Expr, lanes: int) -> Expr:
    del builder
    return clamp(x, activation.alpha, activation.beta, lanes)


def _leaky_relu(builder: KernelBuilder, activation: Activation, x: Expr, lanes: int) -> Expr:
    x = _name(builder, x, lanes)
    zero = constant(0.0, "float32", lanes)
    return tirx.max(x, zero) + tirx.min(x, zero) * constant(activation.alpha, "float32", lanes)


def _hard_sigmoid(builder: KernelBuilder, activation: Activation, x: Expr, lanes: int) -> Expr:
    del builder
    scaled = x * constant(activation.alpha, "float32", lanes)
    return clamp(scaled + constant(activation.beta, "float32", lanes), 0.0, 1.0, lanes)


def _hard_swish(builder: KernelBuilder, activation: Activation, x: Expr, lanes: int) -> Expr:
    del activation
    x = _name(builder, x, lanes)
    gate = Activation("hardsigmoid", alpha=1.0 / 6.0, beta=0.5)
    return x * _hard_sigmoid(builder, gate, x, lanes)


EMITTERS: dict[str, Emitter] = {
    "relu": _relu,
    "clip": _clip,
    "leakyrelu": _leaky_relu,
    "hardsigmoid": _hard_sigmoid,
    "hardswish": _hard_swish,
}
