"""Fold chains of operators that only rename or reorder dimensions.

    Unsqueeze -> Reshape -> Flatten          =>   Reshape
    Transpose(p) -> Transpose(q)             =>   Transpose(p[q])

A Reshape, Flatten, Squeeze or Unsqueeze of a row-major value moves nothing, so that only the last
shape counts. Refused silently: an inner value that is read elsewhere (it has to exist anyway).
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array, new_initializer
from edgecomp.graph.counts import open_values
from edgecomp.graph.edit import only_reader, remove_unused, replace_node
from edgecomp.graph.match import RENAMES, is_operator
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import copy_source
from edgecomp.passes.outcome import Numerics, Outcome, finish


class FoldMovesPass(ir.passes.InPlacePass):
    """Fold consecutive reshapes and consecutive transposes.

    Scope: main graph.  Numerics: exact.
    """

    numerics = Numerics.EXACT

    def call(self, model: ir.Model) -> Outcome:
        """Fold in graph order, so that long chains end as one node."""
        applied, open_ones = 0, open_values(model)
        for node in list(model.graph):
            inner = _inner(node)
            if inner is None:
                continue
            if is_operator(node, "Transpose"):
                applied += _fold_transposes(node, inner)
            elif not open_ones.reads(node):  # else its shape is not that of every run
                applied += _fold_reshapes(node, inner)
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied)


def _inner(node: ir.Node) -> ir.Node | None:
    """The node of the same kind before ``node`` that only ``node`` reads."""
    if not is_operator(node, "Transpose", *RENAMES) or node.inputs[0] is None:
        return None
    value = node.inputs[0]
    kinds = ("Transpose",) if is_operator(node, "Transpose") else RENAMES
    before = value.producer()
    if before is None or not is_operator(before, *kinds) or only_reader(value) is not node:
        return None
    return before


def _fold_transposes(node: ir.Node, inner: ir.Node) -> int:
    shape = static_shape(inner.inputs[0])
    if shape is None:
        return 0
    default = list(reversed(range(len(shape))))
    first = list(inner.attributes.get_ints("perm", default))
    second = list(node.attributes.get_ints("perm", default))
    node.attributes["perm"] = ir.AttrInt64s("perm", [first[axis] for axis in second])
    node.replace_input_with(0, inner.inputs[0])
    copy_source(inner, node)
    return 1


def _fold_reshapes(node: ir.Node, inner: ir.Node) -> int:
    graph, shape = node.graph, static_shape(node.outputs[0])
    assert isinstance(graph, ir.Graph)
    if shape is None or 0 in shape:
        return 0
    if is_operator(node, "Reshape") and _is_written_out(node, shape):
        node.replace_input_with(0, inner.inputs[0])
        copy_source(inner, node)
        return 1
    wanted = new_initializer(graph, f"{node.outputs[0].name}_shape", np.array(shape, np.int64))
    reshape = ir.node("Reshape", [inner.inputs[0], wanted], name=node.name)
    replace_node(node, reshape, origins=[inner])
    return 1


def _is_written_out(node: ir.Node, shape: tuple[int, ...]) -> bool:
    """Whether the shape input holds the numbers themselves, no 0 (copy) or -1 (rest)."""
    array = constant_array(node.inputs[1])
    return array is not None and tuple(array.reshape(-1).tolist()) == shape
