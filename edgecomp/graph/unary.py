"""ONNX's functions of one real number, in float64: what lookup tables are made from."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.constants import scalar
from edgecomp.graph.match import clip_bounds

Real = npt.NDArray[np.float64]
Unary = Callable[[Real], Real]


def unary_function(node: ir.Node) -> Unary | None:
    """What the node computes from its one variable input, None where it is no such function.

    Binary operators with a constant of one element count (``Mul(x, 0.5)``, ``Pow(x, 2)``).
    """
    if node.domain != "":
        return None
    if node.op_type in _PLAIN:
        return _PLAIN[node.op_type]
    if node.op_type in _WITH_ATTRIBUTES:
        function, defaults = _WITH_ATTRIBUTES[node.op_type]
        values = {name: _number(node, name, default) for name, default in defaults.items()}
        return functools.partial(function, **values)
    if node.op_type == "Gelu":
        approximate = node.attributes.get_string("approximate", "none") == "tanh"
        return _gelu_tanh if approximate else _gelu
    if node.op_type == "Clip":
        return _clip(node)
    if node.op_type in _BINARY and len(node.inputs) == 2:
        return _with_constant(_BINARY[node.op_type], node)
    return None


def variable_input(node: ir.Node) -> ir.Value | None:
    """The input that a unary function varies with: the first that is no one-element constant."""
    if (
        node.op_type in _BINARY
        and len(node.inputs) == 2
        and scalar(node.inputs[0]) is not None
    ):
        return node.inputs[1]
    return node.inputs[0]


def _clip(node: ir.Node) -> Unary | None:
    limits = clip_bounds(node)
    if limits is None:
        return None
    low, high = limits
    return lambda x: np.minimum(np.maximum(x, low), high)


def _with_constant(operator: Callable[[Any, Any], Any], node: ir.Node) -> Unary | None:
    left, right = (scalar(value) for value in node.inputs)
    if right is not None and left is None:
        return lambda x: operator(x, right)
    if left is not None and right is None:
        return lambda x: operator(left, x)
    return None


def _number(node: ir.Node, name: str, default: float) -> float:
    """An attribute as the file holds it: a float32."""
    return float(np.float32(node.attributes.get_float(name, default)))


def _sigmoid(x: Real) -> Real:
    return 1.0 / (1.0 + np.exp(-x))


def _softplus(x: Real) -> Real:
    return np.logaddexp(0.0, x)


_erf: Any = np.vectorize(math.erf, otypes=[np.float64])


def _gelu(x: Real) -> Real:
    return np.asarray(0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))))


def _gelu_tanh(x: Real) -> Real:
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)
    return np.asarray(0.5 * x * (1.0 + np.tanh(inner)))


def _hard_sigmoid(x: Real, alpha: float, beta: float) -> Real:
    return np.clip(alpha * x + beta, 0.0, 1.0)


def _elu(x: Real, alpha: float) -> Real:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def _selu(x: Real, alpha: float, gamma: float) -> Real:
    return gamma * _elu(x, alpha)


def _celu(x: Real, alpha: float) -> Real:
    return np.maximum(x, 0.0) + np.minimum(0.0, alpha * np.expm1(np.minimum(x, 0.0) / alpha))


_PLAIN: dict[str, Unary] = {
    "Abs": np.abs,
    "Atan": np.arctan,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Erf": _erf,
    "Exp": np.exp,
    "Floor": np.floor,
    "HardSwish": lambda x: x * _hard_sigmoid(x, 1.0 / 6.0, 0.5),
    "Log": np.log,
    "Mish": lambda x: x * np.tanh(_softplus(x)),
    "Neg": np.negative,
    "Reciprocal": lambda x: 1.0 / x,
    "Relu": lambda x: np.maximum(x, 0.0),
    "Round": np.rint,
    "Sigmoid": _sigmoid,
    "Sign": np.sign,
    "Sin": np.sin,
    "Softplus": _softplus,
    "Softsign": lambda x: x / (1.0 + np.abs(x)),
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
}

_WITH_ATTRIBUTES: dict[str, tuple[Callable[..., Real], dict[str, float]]] = {
    "Celu": (_celu, {"alpha": 1.0}),
    "Elu": (_elu, {"alpha": 1.0}),
    "HardSigmoid": (_hard_sigmoid, {"alpha": 0.2, "beta": 0.5}),
    "LeakyRelu": (lambda x, alpha: np.where(x < 0, alpha * x, x), {"alpha": 0.01}),
    "Selu": (_selu, {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}),
    "Swish": (lambda x, alpha: x * _sigmoid(alpha * x), {"alpha": 1.0}),
    "ThresholdedRelu": (lambda x, alpha: np.where(x > alpha, x, 0.0), {"alpha": 1.0}),
}

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "PRelu": lambda x, slope: np.where(x < 0, slope * x, x),
    "Pow": np.power,
    "Sub": np.subtract,
}
