"""Recognise Gelu written in parts.

    0.5 * x * (1 + Erf(x / sqrt(2)))                                  =>   Gelu(x)
    0.5 * x * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))      =>   Gelu(x), tanh

In any order of factors, with x ** 3 as a power or as products, or as x * (1 + 0.044715 * x ** 2).
Not applied where the opset has no Gelu (below 20) or an inner value is read elsewhere.
"""

import math

import onnx_ir as ir

from edgecomp.graph.edit import only_reader, remove_unused, replace_node
from edgecomp.graph.match import is_operator, with_scalar
from edgecomp.graph.source import copy_source
from edgecomp.passes.expressions import is_polynomial, product_roots
from edgecomp.passes.outcome import Numerics, Outcome, finish

_TANH_FACTOR = math.sqrt(2 / math.pi)
_INNER = {
    "Erf": [0.0, math.sqrt(0.5)],
    "Tanh": [0.0, _TANH_FACTOR, 0.0, _TANH_FACTOR * 0.044715],
}


class FuseGeluPass(ir.passes.InPlacePass):
    """Replace the parts of a Gelu by one node.

    Scope: main graph.  Numerics: float-reassociated.
    """

    numerics = Numerics.REASSOCIATED

    def requires(self, model: ir.Model) -> None:
        """Gelu is in the standard since opset 20."""
        if model.opset_imports.get("", 0) < 20:
            raise ir.passes.PreconditionError("FuseGeluPass needs opset >= 20")

    def call(self, model: ir.Model) -> Outcome:
        """Fuse around every Erf and Tanh."""
        applied = 0
        for node in list(model.graph):
            if node.graph is not None and is_operator(node, "Erf", "Tanh"):
                applied += _fuse(node)
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied)


def _fuse(node: ir.Node) -> int:
    plus_one = only_reader(node.outputs[0])
    found = with_scalar(plus_one, "Add")
    if plus_one is None or found is None or found[1] != 1.0:
        return 0
    for root, x in product_roots(plus_one.outputs[0], 0.5):
        if not is_polynomial(node.inputs[0], x, _INNER[node.op_type]):
            continue
        kind = "tanh" if node.op_type == "Tanh" else "none"
        gelu = ir.node("Gelu", [x], attributes={"approximate": kind}, name=root.name)
        copy_source([root, node], gelu)
        replace_node(root, gelu)
        return 1
    return 0
