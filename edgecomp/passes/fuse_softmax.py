"""Recognise a softmax written in parts.

    e = Exp(x - ReduceMax(x));  y = e / ReduceSum(e)        =>        Softmax(x)

over one axis, the division as Div or as Mul by a Reciprocal, maximum and sum with their dimension
or with a Reshape that gives it back. A bound of -infinity below the maximum (jax writes one) is
gone by then: ``RemoveIdentitiesPass``. It does not apply without the maximum: such an ``Exp``
overflows where Softmax does not, and a model may rely on what it gives then.
"""

import onnx_ir as ir

from edgecomp.graph.edit import remove_unused, replace_node
from edgecomp.graph.match import is_operator, kept_reduction, producer
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
        total = kept_reduction(denominator, "ReduceSum")
        if exponential is None or total is None or total[0] is not numerator:
            continue
        difference = producer(exponential.inputs[0], "Sub")
        if difference is None or difference.inputs[0] is None:
            continue
        x, axes = difference.inputs[0], total[1]
        if len(axes) == 1 and kept_reduction(difference.inputs[1], "ReduceMax") == (x, axes):
            return x, axes[0]
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
