"""Compute variances from differences to the mean.

    m = Mean(x);  v = Mean(x * x) - m * m        =>    v = Mean((x - m) * (x - m))

the means over the same axes, as ReduceMean or as ReduceSum times (over) the number of elements,
the squares as Mul or Pow; a Relu or Max(.., 0) of v, which is never negative now, goes. The left
form (flax and others write it) subtracts two numbers that are nearly the same where x varies
little beside its mean: in float32 most digits of v are then gone, and what is left depends on the
order of additions, so that two right runtimes differ by percents. A difference x - m that is
there already is used. It does not apply where the squares are of another x or the axes differ.
"""

import dataclasses
import math

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import new_initializer, scalar
from edgecomp.graph.edit import (
    new_node,
    only_reader,
    remove_unused,
    replace_node,
    replace_value,
)
from edgecomp.graph.match import (
    is_operator,
    near,
    producer,
    reduced_axes,
    scaled,
    squared,
)
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.outcome import Numerics, Outcome, finish


@dataclasses.dataclass(frozen=True)
class _Mean:
    """A mean of ``x`` over ``axes``, counted from the front."""

    x: ir.Value
    axes: tuple[int, ...]


class CenterVariancesPass(ir.passes.InPlacePass):
    """Replace mean of squares minus square of the mean by the mean of squared differences.

    Scope: main graph.  Numerics: float-reassociated.
    """

    numerics = Numerics.REASSOCIATED

    def requires(self, model: ir.Model) -> None:
        """Axes are inputs of the reductions since opset 18."""
        if model.opset_imports.get("", 0) < 18:
            raise ir.passes.PreconditionError("CenterVariancesPass needs opset >= 18")

    def call(self, model: ir.Model) -> Outcome:
        """Rewrite behind every Sub of two means."""
        applied = 0
        for node in list(model.graph):
            if node.graph is None or not is_operator(node, "Sub"):
                continue
            mean = _match_variance(node)
            if mean is not None:
                _rewrite(node, mean)
                applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied)


def _match_variance(node: ir.Node) -> _Mean | None:
    """The mean whose square ``node`` subtracts from the mean of squares."""
    squares, mean_value = _mean(node.inputs[0]), squared(node.inputs[1])
    mean = _mean(mean_value)
    if squares is None or mean is None or squares.axes != mean.axes:
        return None
    if squared(squares.x) is not mean.x:
        return None
    if static_shape(mean_value) != static_shape(node.outputs[0]):
        return None
    return mean


def _mean(value: ir.Value | None) -> _Mean | None:
    """What the value is the mean of, written in one operator or as a sum over a number."""
    node = producer(value, "ReduceMean")
    if node is not None:
        return _reduced(node)
    product = scaled(producer(value, "Mul", "Div"))
    node = producer(product[0], "ReduceSum") if product is not None else None
    if product is None or node is None:
        return None
    mean = _reduced(node)
    shape = static_shape(mean.x) if mean is not None else None
    if mean is None or shape is None:
        return None
    count = math.prod(shape[axis] for axis in mean.axes)
    return mean if near(product[1] * count, 1.0) else None


def _reduced(node: ir.Node) -> _Mean | None:
    """Operand and axes of a reduction over some axes."""
    x, axes = node.inputs[0], reduced_axes(node)
    return None if x is None or axes is None else _Mean(x, tuple(axes))


def _rewrite(node: ir.Node, mean: _Mean) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    name = node.outputs[0].name
    axes = new_initializer(graph, f"{name}_axes", np.array(mean.axes, np.int64))
    difference = _difference(node, mean, axes)
    square = new_node(graph, "Mul", [difference, difference], like=node)
    square.name = f"{node.name}_square"
    square.outputs[0].shape = mean.x.shape
    node.prepend(square)
    shape = static_shape(mean.x)
    kept = shape is not None and len(static_shape(node.outputs[0]) or ()) == len(shape)
    variance = new_node(
        graph,
        "ReduceMean",
        [square.outputs[0], axes],
        like=node,
        attributes={"keepdims": int(kept)},
    )
    replace_node(node, variance)
    _remove_lower_bound(variance)


def _difference(node: ir.Node, mean: _Mean, axes: ir.Value) -> ir.Value:
    """``x - mean``, in front of the node and of all that computes it too, whose place it takes."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    centre = new_node(
        graph, "ReduceMean", [mean.x, axes], like=node, attributes={"keepdims": 1}
    )
    shape = static_shape(mean.x)
    assert shape is not None
    kept = [1 if axis in mean.axes else size for axis, size in enumerate(shape)]
    centre.outputs[0].shape = ir.Shape(kept)
    difference = new_node(graph, "Sub", [mean.x, centre.outputs[0]], like=node)
    difference.outputs[0].shape = mean.x.shape
    centre.name, difference.name = f"{node.name}_mean", f"{node.name}_difference"
    others = [
        use.node
        for use in mean.x.uses()
        if use.node.graph is graph and _is_difference(use.node, mean, tuple(kept))
    ]
    first = next(each for each in graph if each is node or each in others)
    first.prepend([centre, difference])
    for other in others:
        replace_value(other.outputs[0], difference.outputs[0])
    return difference.outputs[0]


def _is_difference(node: ir.Node, mean: _Mean, kept: tuple[int, ...]) -> bool:
    """Whether the node is ``x - mean``, the mean perhaps reshaped to keep its dimensions."""
    if not is_operator(node, "Sub") or node.inputs[0] is not mean.x:
        return False
    value = node.inputs[1]
    if static_shape(value) != kept:
        return False
    while (move := producer(value, "Reshape", "Unsqueeze")) is not None:
        value = move.inputs[0]
    return _mean(value) == mean


def _remove_lower_bound(variance: ir.Node) -> None:
    """Remove a Relu or Max with 0 that is all that reads the variance."""
    value = variance.outputs[0]
    reader = only_reader(value)
    if reader is None:
        return
    bounded = is_operator(reader, "Relu")
    if is_operator(reader, "Max") and len(reader.inputs) == 2:
        others = [operand for operand in reader.inputs if operand is not value]
        bounded = len(others) == 1 and scalar(others[0]) == 0.0
        bounded = bounded and static_shape(reader.outputs[0]) == static_shape(value)
    if bounded:
        replace_value(reader.outputs[0], value)
