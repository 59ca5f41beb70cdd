"""Expressions that exporters spread over several nodes, recognised by what they compute.

The order of factors and the place of constants differ from exporter to exporter; the product or
polynomial they form does not.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, scalar
from edgecomp.graph.edit import only_reader
from edgecomp.graph.match import is_operator, near, scaled

_DEEPEST = 8


def product_roots(value: ir.Value, factor: float) -> list[tuple[ir.Node, ir.Value]]:
    """Nodes that compute ``factor * x * value`` for some x, with that x.

    Follows ``value`` through products with numbers and with one other value, as long as nothing
    else reads the steps between.
    """
    found: list[tuple[ir.Node, ir.Value]] = []
    others: list[tuple[ir.Value, float]] = []
    number, current = 1.0, value
    for _ in range(_DEEPEST):
        node = only_reader(current)
        if node is None or not is_operator(node, "Mul", "Div"):
            break
        step = scaled(node)
        if step is not None and step[0] is current:
            number *= step[1]
        elif is_operator(node, "Mul") and not others:
            other = node.inputs[1] if node.inputs[0] is current else node.inputs[0]
            if other is None:
                break
            others.append((other, 1.0))
            inner = scaled(other.producer())
            if inner is not None:
                others.append(inner)
        else:
            break
        current = node.outputs[0]
        found += [(node, other) for other, times in others if near(number * times, factor)]
    return found


def polynomial(value: ir.Value | None, variable: ir.Value, depth: int = 0) -> AnyArray | None:
    """Coefficients of a value as a polynomial in ``variable``, lowest power first.

    None where it is no polynomial with numbers as coefficients.
    """
    if value is None or depth > _DEEPEST:
        return None
    if value is variable:
        return np.array([0.0, 1.0])
    number = scalar(value)
    if number is not None:
        return np.array([number])
    node = value.producer()
    if node is None or not is_operator(node, "Add", "Sub", "Mul", "Div", "Pow", "Neg"):
        return None
    parts = [polynomial(each, variable, depth + 1) for each in node.inputs]
    if any(part is None for part in parts):
        return None
    return _combine(node.op_type, [part for part in parts if part is not None])


def _combine(operator: str, parts: list[AnyArray]) -> AnyArray | None:
    if operator == "Neg":
        return -parts[0]
    first, second = parts
    if operator == "Add":
        return np.polynomial.polynomial.polyadd(first, second)
    if operator == "Sub":
        return np.polynomial.polynomial.polysub(first, second)
    if operator == "Mul":
        return np.polynomial.polynomial.polymul(first, second)
    if len(second) != 1:
        return None
    if operator == "Div":
        return None if second[0] == 0 else first / second[0]
    power = float(second[0])
    if power not in (1.0, 2.0, 3.0):
        return None
    return np.polynomial.polynomial.polypow(first, int(power))


def is_polynomial(
    value: ir.Value | None, variable: ir.Value, coefficients: list[float]
) -> bool:
    """Whether ``value`` is the polynomial with these coefficients, lowest power first."""
    found = polynomial(value, variable)
    if found is None:
        return False
    size = max(len(found), len(coefficients))
    one = np.pad(found, (0, size - len(found)))
    other = np.pad(np.array(coefficients, np.float64), (0, size - len(coefficients)))
    # Constants were rounded to float32, sometimes typed with seven digits.
    return bool(np.allclose(one, other, rtol=2e-6, atol=1e-9))
