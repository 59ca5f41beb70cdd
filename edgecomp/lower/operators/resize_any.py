"""Resize over any dimensions in any mode: one product or one gather per resized dimension.

Image sizes in linear or nearest mode have a kernel of their own (resize.py); this is for cubic
filters, antialiasing, crops, and dimensions other than height and width.
"""

import dataclasses

import numpy as np
import onnx_ir as ir

from edgecomp.lower.operators.interpolation import Filter, Positions, interpolation_matrix
from edgecomp.lower.operators.movement import copy
from edgecomp.lower.reader import Reader
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.movement import Gather
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.values import Value

#: A matrix of more elements would cost more than its image.
MOST_ELEMENTS = 1 << 22


@dataclasses.dataclass(frozen=True)
class Axis:
    """One resized dimension.

    Attributes:
        dimension: number.
        positions: source position of every result.
        scale: results per source element.
        nearest: rounded positions in nearest mode, else None.
    """

    dimension: int
    positions: Positions
    scale: float
    nearest: Positions | None = None


def emit_by_axis(
    reader: Reader,
    node: ir.Node,
    ends: tuple[Value, Value],
    axes: list[Axis],
    form: Filter,
    outside: float | None,
) -> str:
    """Resize dimension after dimension; what lies outside of a crop is ``outside``."""
    x, output = ends
    for axis in axes:
        if (
            axis.nearest is None
            and x.shape[axis.dimension] * len(axis.positions) > MOST_ELEMENTS
        ):
            return "more source than a matrix of weights covers"
    beyond = _beyond(x, output, axes) if outside is not None else None
    value = x
    order = list(range(len(x.shape)))
    for axis in axes:
        if axis.nearest is None:
            value = _product(reader, node, value, axis, order, form)
        else:
            value = _taken(reader, node, value, axis, order.index(axis.dimension))
    back = [order.index(d) for d in range(len(order))]
    if beyond is None or not beyond.any():
        copy(reader, node, value, output, permutation=_follow(back))
        return ""
    moved = reader.new_value(f"{output.name}.inside", output.shape, value.dtype)
    copy(reader, node, value, moved, permutation=_follow(back))
    fill = reader.new_constant(f"{output.name}.outside", np.asarray(outside, output.dtype))
    mask = reader.new_constant(f"{output.name}.mask", beyond)
    step = Step("Where", (0, 1, 2), output.dtype)
    reader.emit(Elementwise((step,)), [mask, fill, moved], [output], [node])
    return ""


def _product(
    reader: Reader, node: ir.Node, x: Value, axis: Axis, order: list[int], form: Filter
) -> Value:
    """Bring the dimension to the end and multiply; ``order`` is changed with it."""
    at = order.index(axis.dimension)
    if at != len(order) - 1:
        turn = [d for d in range(len(order)) if d != at] + [at]
        shape = [x.shape[d] for d in turn]
        turned = reader.new_value(f"{x.name}.turned", shape, x.dtype)
        copy(reader, node, x, turned, permutation=_follow(turn))
        order[:] = [order[d] for d in turn]
        x = turned
    matrix = interpolation_matrix(axis.positions, x.shape[-1], axis.scale, form)
    bias = np.zeros(matrix.shape[1], np.float32)
    constants = [
        reader.new_constant(f"{node.name}.weights", matrix),
        reader.new_constant(f"{node.name}.bias", bias),
    ]
    shape = [*x.shape[:-1], matrix.shape[1]]
    result = reader.new_value(f"{node.name}.resized", shape, x.dtype)
    reader.emit(MatrixMultiply(), [x, *constants], [result], [node])
    return result


def _taken(reader: Reader, node: ir.Node, x: Value, axis: Axis, at: int) -> Value:
    assert axis.nearest is not None
    indices = np.clip(axis.nearest, 0, x.shape[at] - 1).astype(np.int32)
    shape = [*x.shape[:at], len(indices), *x.shape[at + 1 :]]
    result = reader.new_value(f"{node.name}.taken", shape, x.dtype)
    places = reader.new_constant(f"{node.name}.indices", indices)
    reader.emit(Gather(at), [x, places], [result], [node])
    return result


def _follow(order: list[int]) -> list[int]:
    """Dimension d of the source goes where ``order`` names it."""
    return [order.index(d) for d in range(len(order))]


def _beyond(x: Value, output: Value, axes: list[Axis]) -> np.ndarray:
    """bool, of the output's shape but for dimensions that are not resized: outside of the source."""
    rank = len(output.shape)
    mask = np.zeros((1,) * rank, np.bool_)
    for axis in axes:
        out = (axis.positions < 0) | (axis.positions > x.shape[axis.dimension] - 1)
        shape = [-1 if d == axis.dimension else 1 for d in range(rank)]
        mask = mask | out.reshape(shape)
    return mask
