"""Which parts of a QDQ model are computed in integers: docs/numerics.md, "Integer operators".

    DequantizeLinear -> operator -> [Relu | Clip] -> QuantizeLinear

is one integer operator where the arithmetic allows it; everything else stays float between the
Quantize and Dequantize nodes. The reference interpreter and the lowering share this decision.
"""

import dataclasses
from collections.abc import Collection

import onnx_ir as ir

from edgecomp.graph.fold import settled
from edgecomp.graph.integer_operators import IntegerOperator, ValueProduct
from edgecomp.graph.integer_rules import integer_refusal
from edgecomp.graph.qdq_elementwise import BUILDERS as ELEMENTWISE_BUILDERS
from edgecomp.graph.qdq_moves import BUILDERS as MOVE_BUILDERS
from edgecomp.graph.qdq_moves import change_scale
from edgecomp.graph.qdq_products import BUILDERS as PRODUCT_BUILDERS
from edgecomp.graph.qdq_tensors import Refusal

_BUILDERS = {**PRODUCT_BUILDERS, **ELEMENTWISE_BUILDERS, **MOVE_BUILDERS}


@dataclasses.dataclass(frozen=True)
class Recognition:
    """A graph as integer operators and remaining nodes.

    Attributes:
        steps: in execution order. A remaining QuantizeLinear or DequantizeLinear is an edge
            between float and integer; DequantizeLinear nodes that only integer operators read
            are left out.
        refusals: name of a node that reads a DequantizeLinear -> why it is not computed in
            integers.
    """

    steps: tuple[IntegerOperator | ir.Node, ...]
    refusals: dict[str, str]


def is_quantized(model: ir.Model) -> bool:
    """Whether the model has Quantize or Dequantize nodes, which fix its numbers."""
    return any(
        node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for node in ir.traversal.RecursiveGraphIterator(model.graph)
    )


def rounds_to_integers(model: ir.Model) -> bool:
    """Whether any number is quantized, by scales of the model or of the moment."""
    return is_quantized(model) or any(
        node.op_type == "DynamicQuantizeLinear" for node in model.graph
    )


def recognize(
    graph: ir.Graph, *, value_products: Collection[str] | None = None
) -> Recognition:
    """Find the integer operators of a topologically sorted graph.

    Scope: the graph itself, not subgraphs of its nodes, which run in float.

    Args:
        graph: of static shapes.
        value_products: names of the products of two values that may be integers; None for all. Of a
            model with dynamic dimensions, those of the largest sizes: a shorter sum is one of
            integers wherever a longer one is, but the program is the same at every size.
    """
    groups: dict[ir.Node, IntegerOperator] = {}
    taken: set[ir.Node] = set()
    refusals: dict[str, str] = {}
    for node in graph:
        if node in taken or not _reads_dequantized(node):
            continue
        try:
            group = _build(node, value_products)
        except (Refusal, OverflowError) as refusal:
            refusals[node.name or ""] = str(refusal)
            continue
        groups[node] = group
        taken.update(group.nodes)
    steps = [
        groups.get(node, node)
        for node in graph
        if node in groups or not (node in taken or _is_unread(node, taken))
    ]
    return Recognition(tuple(steps), refusals)


def value_products(model: ir.Model) -> frozenset[str]:
    """Names of the products of two values that are computed in integers."""
    steps = recognize(settled(model).graph).steps
    return frozenset(step.node.name or "" for step in steps if isinstance(step, ValueProduct))


def _build(node: ir.Node, value_products: Collection[str] | None) -> IntegerOperator:
    if node.domain == "" and node.op_type == "QuantizeLinear":
        return change_scale(node)
    reason = integer_refusal(node)
    if reason:
        raise Refusal(reason)
    group = _BUILDERS[node.op_type](node)
    if isinstance(group, ValueProduct) and not (
        value_products is None or node.name in value_products
    ):
        raise Refusal("at the largest sizes it is no product of integers")
    return group


def _reads_dequantized(node: ir.Node) -> bool:
    if node.op_type == "DequantizeLinear":
        return False
    producers = (value.producer() for value in node.inputs if value is not None)
    return any(p is not None and p.op_type == "DequantizeLinear" for p in producers)


def _is_unread(node: ir.Node, taken: set[ir.Node]) -> bool:
    """Whether a DequantizeLinear is read by nodes of integer operators alone."""
    if node.op_type != "DequantizeLinear" or node.outputs[0].is_graph_output():
        return False
    return all(use.node in taken for use in node.outputs[0].uses())
