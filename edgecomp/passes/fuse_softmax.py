"""Recognise a softmax written in parts.

    e = Exp(x - ReduceMax(x));  y = e / ReduceSum(e)        =>        Softmax(x)

over one axis, the division as Div or as Mul by a Reciprocal, maximum and sum with their dimension
or with a Reshape that gives it back. A bound of -infinity below the maximum (jax writes one) does
nothing and goes. It does not apply without the maximum: such an ``Exp`` overflows where Softmax
does not, and a model may rely on what it gives then.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array
from edgecomp.graph.edit import remove_unused, replace_node
from edgecomp.graph.match import is_operator, producer, reduced_axes
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import copy_source
from edgecomp.passes.outcome import Numerics, Outcome, finish


class FuseSoftmaxPass(ir.passes.InPlacePass):
    """Replace the parts of a softmax by Softmax.

    Scope: main graph.  Numerics: float-reassociated.
    """

    numerics = Numerics.REASSOCIATED

    def requires(self, model: ir.Model) -> None:
        """Axes are inputs of all reductions since opset 18."""
        if model.opset_imports.get("", 0) < 18:
            raise ir.passes.PreconditionError("FuseSoftmaxPass needs opset >= 18")

    def call(self, model: ir.Model) -> Outcome:
        """Fuse at every division."""
        applied = 0
        for node in list(model.graph):
            if node.graph is None or not is_operator(node, "Div", "Mul"):
                continue
            found = _match_softmax(node)
            if found is None:
                continue
            x, axis = found
            fused = ir.node("Softmax", [x], attributes={"axis": axis}, name=node.name)
            copy_source([node], fused)
            replace_node(node, fused)
            applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied)


def _match_softmax(node: ir.Node) -> tuple[ir.Value, int] | None:
    """Argument and axis of the softmax whose result ``node`` is."""
    for numerator, denominator in _divisions(node):
        exponential = producer(numerator, "Exp")
        total = _reduced(denominator, "ReduceSum")
        if exponential is None or total is None or total[0] is not numerator:
            continue
        difference = producer(exponential.inputs[0], "Sub")
        if difference is None or difference.inputs[0] is None:
            continue
        x, axis = difference.inputs[0], total[1]
        if _reduced(difference.inputs[1], "ReduceMax") == (x, axis):
            return x, axis
    return None


def _divisions(node: ir.Node) -> list[tuple[ir.Value | None, ir.Value | None]]:
    """Numerators and denominators that the node may be read as."""
    first, second = node.inputs[0], node.inputs[1]
    if is_operator(node, "Div"):
        return [(first, second)]
    found = []
    for one, other in ((first, second), (second, first)):
        inverse = producer(other, "Reciprocal")
        if inverse is not None:
            found.append((one, inverse.inputs[0]))
    return found


def _reduced(value: ir.Value | None, operator: str) -> tuple[ir.Value, int] | None:
    """What the value is a reduction of over one axis, which it has with one element."""
    kept = static_shape(value)
    while (inner := _unbounded(value)) is not None:
        value = inner
    node = producer(value, operator)
    axes = reduced_axes(node) if node is not None else None
    if node is None or node.inputs[0] is None or axes is None or len(axes) != 1:
        return None
    shape = static_shape(node.inputs[0]) or ()
    wanted = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return (node.inputs[0], axes[0]) if kept == wanted else None


def _unbounded(value: ir.Value | None) -> ir.Value | None:
    """What stands in front of a Reshape, or of a maximum with -infinity; else None."""
    move = producer(value, "Reshape", "Unsqueeze")
    if move is not None:
        return move.inputs[0]
    bound = producer(value, "Max")
    if bound is None or len(bound.inputs) != 2:
        return None
    first, second = bound.inputs
    for one, other in ((first, second), (second, first)):
        same = static_shape(one) == static_shape(bound.outputs[0])
        if same and _is_no_bound(other):
            return one
    return None


def _is_no_bound(value: ir.Value | None) -> bool:
    """Whether a constant is -infinity throughout."""
    array = constant_array(value)
    return array is not None and bool((array == -np.inf).all())
