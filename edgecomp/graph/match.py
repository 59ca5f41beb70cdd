"""Small questions that patterns ask about nodes."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, scalar
from edgecomp.graph.shapes import static_shape

#: They hand on the elements in their order, in another shape.
RENAMES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def is_operator(node: ir.Node | None, *operators: str) -> bool:
    """Whether the node exists, is of the standard domain and of one of the types."""
    return node is not None and node.domain == "" and node.op_type in operators


def producer(value: ir.Value | None, *operators: str) -> ir.Node | None:
    """The node that makes the value, if it is of one of the types."""
    node = value.producer() if value is not None else None
    return node if is_operator(node, *operators) else None


def split_constant(node: ir.Node) -> tuple[ir.Value, AnyArray, int] | None:
    """Of a two-input node: the computed operand, the constant one, and the constant's index."""
    if len(node.inputs) != 2 or node.inputs[0] is None or node.inputs[1] is None:
        return None
    for index in (1, 0):
        array = constant_array(node.inputs[index])
        other = node.inputs[1 - index]
        if array is not None and other is not None and constant_array(other) is None:
            return other, array, index
    return None


def with_scalar(node: ir.Node | None, operator: str) -> tuple[ir.Value, float] | None:
    """Operand and number of ``operator(value, number)``; either order for Add and Mul."""
    if node is None or not is_operator(node, operator):
        return None
    found = split_constant(node)
    if found is None or found[1].size != 1:
        return None
    value, array, index = found
    if index == 0 and operator not in ("Add", "Mul", "Max", "Min"):
        return None
    return value, float(array.reshape(()))


def scaled(node: ir.Node | None) -> tuple[ir.Value, float] | None:
    """Operand and factor of ``value * number`` or ``value / number``."""
    found = with_scalar(node, "Mul")
    if found is not None:
        return found
    found = with_scalar(node, "Div")
    return None if found is None or found[1] == 0 else (found[0], 1.0 / found[1])


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Bounds of a Clip or Relu with constant scalar bounds, infinite where absent."""
    if is_operator(node, "Relu"):
        return 0.0, float("inf")
    if not is_operator(node, "Clip"):
        return None
    bounds = [-float("inf"), float("inf")]
    for index in (1, 2):
        value = node.inputs[index] if len(node.inputs) > index else None
        if value is None:
            continue
        number = scalar(value)
        if number is None:
            return None
        bounds[index - 1] = number
    return bounds[0], bounds[1]


def near(value: float, wanted: float) -> bool:
    """Equal as written by an exporter in float16 or better: constants are rounded there."""
    return abs(value - wanted) <= 2e-6 * max(1.0, abs(wanted))


def normalized_axes(axes: AnyArray | list[int], rank: int) -> list[int]:
    """Axes counted from the front, ascending."""
    return sorted(int(axis) % rank for axis in np.asarray(axes).reshape(-1).tolist())


def reduced_axes(node: ir.Node) -> list[int] | None:
    """Axes of a reduction over some, counted from the front; None where they are not known."""
    shape = static_shape(node.inputs[0])
    axes = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    if shape is None or axes is None or axes.size == 0:
        return None
    return normalized_axes(axes, len(shape))


def kept_reduction(value: ir.Value | None, operator: str) -> tuple[ir.Value, list[int]] | None:
    """What the value is a reduction of by ``operator``, and over which axes.

    The value has the shape of that with 1 at the axes, kept by the reduction itself or given back
    by renames behind it.
    """
    kept = static_shape(value)
    while (move := producer(value, *RENAMES)) is not None:
        value = move.inputs[0]
    node = producer(value, operator)
    if node is None or node.inputs[0] is None:
        return None
    x, axes = node.inputs[0], reduced_axes(node)
    shape = static_shape(x)
    if axes is None or shape is None:
        return None
    wanted = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return (x, axes) if kept == wanted else None


def squared(value: ir.Value | None) -> ir.Value | None:
    """Find v of v ** 2 or v * v."""
    power = with_scalar(producer(value, "Pow"), "Pow")
    if power is not None:
        return power[0] if power[1] == 2.0 else None
    product = producer(value, "Mul")
    if product is None or product.inputs[0] is not product.inputs[1]:
        return None
    return product.inputs[0]
