"""Which Quantize and Dequantize nodes of a graph share one learned scale and zero point.

Those of one value do. Around an operator that moves values, or takes the greatest of them, both
sides do where they are the same now: there stored numbers stay as they are, and MaxPool is
integer only so. Others may have equal numbers by chance, and learn their own.
"""

import dataclasses
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.integer_rules import MAXIMUMS, MOVES
from edgecomp.graph.match import is_operator
from edgecomp.graph.qdq_tensors import dequantize_of
from edgecomp.train.refusal import Unsupported

_KEEPS_NUMBERS = (*MOVES, *MAXIMUMS, "Concat")


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """A QuantizeLinear or DequantizeLinear.

    Attributes:
        node: it.
        scale: float32.
        zero_point: of the stored type, in the shape of the scale.
        dtype: of the stored numbers.
        axis: of several scales, None with one.
        block: numbers along the axis that share a scale, 0 for one scale per index.
    """

    node: ir.Node
    scale: AnyArray
    zero_point: AnyArray
    dtype: ir.DataType
    axis: int | None
    block: int

    def equals(self, other: "Place") -> bool:
        """Whether both map real to stored numbers in the same way."""
        return (
            self.dtype == other.dtype
            and self.axis == other.axis
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


def is_quantize(node: ir.Node) -> bool:
    """Whether the node is one of the two."""
    return is_operator(node, "QuantizeLinear", "DequantizeLinear")


def place_of(node: ir.Node) -> Place:
    """Read the constants of a node.

    Raises:
        Unsupported: they are none, or the stored numbers are no integers.
    """
    scale, stored = constant_array(node.inputs[1]), _stored_type(node)
    zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is None or (zero is None and len(node.inputs) > 2 and node.inputs[2] is not None):
        raise Unsupported("its scale or zero point is not constant")
    if scale.dtype != np.float32:
        raise Unsupported(f"its scale is {scale.dtype}")
    if not stored.is_integer():
        raise Unsupported(f"it stores {stored.name}")
    scale = scale.reshape(()) if scale.size == 1 else scale
    zeros = np.zeros(scale.shape, np.float32)
    if zero is not None:
        zeros = zeros + zero.astype(np.float32).reshape(() if zero.size == 1 else zero.shape)
    axis = None if scale.ndim == 0 else node.attributes.get_int("axis", 1)
    block = node.attributes.get_int("block_size", 0)
    return Place(node, scale, np.asarray(zeros), stored, axis, block if scale.ndim else 0)


def _stored_type(node: ir.Node) -> ir.DataType:
    value = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
    known = None if value is None else value.dtype
    if known is None:
        raise Unsupported("the type of its stored numbers is not known")
    return known


def groups_of(places: list[Place]) -> list[list[Place]]:
    """Places that share what is learned, each in one group."""
    by_node = {place.node: place for place in places}
    parent: dict[ir.Node, ir.Node] = {node: node for node in by_node}

    def root(node: ir.Node) -> ir.Node:
        while parent[node] is not node:
            node = parent[node]
        return node

    def join(nodes: list[ir.Node]) -> None:
        for index, node in enumerate(nodes):
            for other in nodes[:index]:
                if by_node[node].equals(by_node[other]):
                    parent[root(node)] = root(other)

    stored: dict[ir.Value, list[ir.Node]] = {}
    for node in by_node:
        value = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
        assert value is not None
        stored.setdefault(value, []).append(node)
    for nodes in stored.values():
        join(nodes)
    for node in _around(by_node):
        before = (dequantize_of(value) for value in node.inputs)
        after = (use.node for value in node.outputs for use in value.uses())
        join([n for n in (*before, *after) if n is not None and n in by_node])
    found: dict[ir.Node, list[Place]] = {}
    for place in places:
        found.setdefault(root(place.node), []).append(place)
    return list(found.values())


def _around(nodes: dict[ir.Node, Any]) -> list[ir.Node]:
    """Operators behind DequantizeLinear nodes that keep stored numbers."""
    readers = {
        use.node: None
        for node in nodes
        if node.op_type == "DequantizeLinear"
        for use in node.outputs[0].uses()
    }
    return [node for node in readers if is_operator(node, *_KEEPS_NUMBERS)]


def factors_of(node: ir.Node) -> tuple[ir.Node, ir.Node] | None:
    """The DequantizeLinear nodes of activation and weights whose product a bias is added to.

    Args:
        node: DequantizeLinear of the bias.
    """
    for use in node.outputs[0].uses():
        product: ir.Node | None = use.node
        if is_operator(use.node, "Add"):
            other = use.node.inputs[1 - use.idx]
            product = None if other is None else other.producer()
        if not is_operator(product, "Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        assert product is not None
        activation, weight = (dequantize_of(value) for value in product.inputs[:2])
        if activation is not None and weight is not None:
            return activation, weight
    return None
