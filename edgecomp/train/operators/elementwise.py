"""Operators that compute each number from the numbers at its place."""

import functools
from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch
from torch.nn import functional

from edgecomp.graph.match import clip_bounds
from edgecomp.train.operators.arguments import TYPES, Builder, Function, number
from edgecomp.train.refusal import Unsupported


def _folded(operator: Callable[[Any, Any], Any]) -> Function:
    return lambda *inputs: functools.reduce(operator, inputs)


def _clip(node: ir.Node) -> Function:
    limits = clip_bounds(node)
    if limits is None:
        raise Unsupported("its bounds are not constant")

    def run(x: torch.Tensor, *_: Any) -> torch.Tensor:
        if x.is_floating_point():
            return torch.clamp(x, *limits)
        kind = torch.iinfo(x.dtype)
        low, high = (int(min(max(each, kind.min), kind.max)) for each in limits)
        return torch.clamp(x, low, high)

    return run


def _gelu(node: ir.Node) -> Function:
    kind = node.attributes.get_string("approximate", "none")
    return lambda x: functional.gelu(x, approximate=kind)


def _hard_sigmoid(node: ir.Node) -> Function:
    alpha, beta = number(node, "alpha", 0.2), number(node, "beta", 0.5)
    return lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0)


def _leaky(node: ir.Node) -> Function:
    alpha = number(node, "alpha", 0.01)
    return lambda x: functional.leaky_relu(x, alpha)


def _elu(node: ir.Node) -> Function:
    alpha = number(node, "alpha", 1.0)
    return lambda x: functional.elu(x, alpha)


def _selu(node: ir.Node) -> Function:
    alpha, gamma = number(node, "alpha", 1.67326319), number(node, "gamma", 1.05070102)
    return lambda x: gamma * functional.elu(x, alpha)


def _celu(node: ir.Node) -> Function:
    alpha = number(node, "alpha", 1.0)
    return lambda x: functional.celu(x, alpha)


def _thresholded(node: ir.Node) -> Function:
    alpha = number(node, "alpha", 1.0)
    return lambda x: torch.where(x > alpha, x, 0.0)


def _swish(node: ir.Node) -> Function:
    alpha = number(node, "alpha", 1.0)
    return lambda x: x * torch.sigmoid(alpha * x)


def _divide(node: ir.Node) -> Function:
    return _of_reals(node, torch.div)


def _power(node: ir.Node) -> Function:
    return _of_reals(node, torch.pow)


def _of_reals(node: ir.Node, function: Function) -> Function:
    kind = node.outputs[0].dtype
    if kind is None or not kind.is_floating_point():
        raise Unsupported("it computes with integers")
    return function


def _cast(node: ir.Node) -> Function:
    wanted = ir.DataType(node.attributes.get_int("to", 0))
    if wanted not in TYPES:
        raise Unsupported(f"it makes {wanted.name}")
    return lambda x: x.to(TYPES[wanted])


def _softmax(function: Function) -> Builder:
    def build(node: ir.Node) -> Function:
        axis = node.attributes.get_int("axis", -1)
        return lambda x: function(x, axis)

    return build


def _plain(function: Function) -> Builder:
    return lambda _: function


_PLAIN: dict[str, Function] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Atan": torch.atan,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "HardSwish": functional.hardswish,
    "Identity": lambda x: x,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "Max": _folded(torch.maximum),
    "Min": _folded(torch.minimum),
    "Mish": functional.mish,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "PRelu": lambda x, slope: torch.where(x < 0, x * slope, x),
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Sum": _folded(torch.add),
    "Tanh": torch.tanh,
    "Where": torch.where,
}

BUILDERS: dict[str, Builder] = {
    **{name: _plain(function) for name, function in _PLAIN.items()},
    "Cast": _cast,
    "Celu": _celu,
    "Clip": _clip,
    "Div": _divide,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky,
    "LogSoftmax": _softmax(torch.log_softmax),
    "Pow": _power,
    "Selu": _selu,
    "Softmax": _softmax(torch.softmax),
    "Swish": _swish,
    "ThresholdedRelu": _thresholded,
}
