"""Operators that take positions as numbers: which input holds them, and what they may be.

ONNX allows -s .. s - 1 along an axis of s elements (RoiAlign: 0 .. s - 1) and calls anything
else an error. A constant outside is refused; docs/numerics.md says what a compiled model does
with one that comes at run time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.shapes import static_shape

#: Operator -> number of the input with the indices. Input 0 is what they point into.
INDEX_INPUTS = {
    "Gather": 1,
    "GatherElements": 1,
    "GatherND": 1,
    "RoiAlign": 2,
    "ScatterElements": 1,
    "ScatterND": 1,
}


def index_bounds(
    operator: str,
    data: Sequence[int],
    indices: Sequence[int],
    attributes: Mapping[str, Any],
) -> tuple[AnyArray, AnyArray]:
    """Least and greatest index, int64: scalars, or one each for the last axis of the indices.

    Args:
        operator: one of ``INDEX_INPUTS``.
        data: shape of what the indices point into.
        indices: shape of the indices.
        attributes: of the node, by name.
    """
    if operator == "RoiAlign":
        return np.array(0), np.array(data[0] - 1)
    if operator in ("GatherND", "ScatterND"):
        first = attributes.get("batch_dims", 0)
        extents = np.array(data[first : first + indices[-1]], np.int64)
        return -extents, extents - 1
    extent = np.array(data[attributes.get("axis", 0) % len(data)], np.int64)
    return -extent, extent - 1


def misplaced_index(node: ir.Node) -> str:
    """What is wrong with a node's constant indices, "" if nothing or nothing is known."""
    position = INDEX_INPUTS.get(node.op_type)
    if position is None or node.domain != "" or len(node.inputs) <= position:
        return ""
    data, indices = static_shape(node.inputs[0]), constant_array(node.inputs[position])
    if not data or indices is None or not indices.size:
        return ""
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    low, high = index_bounds(node.op_type, data, indices.shape, attributes)
    wrong = (indices < low) | (indices > high)
    if not wrong.any():
        return ""
    extents = np.broadcast_to(high + 1, indices.shape)[wrong]
    return f"it takes index {indices[wrong][0]} of {extents[0]}"
