"""Find the parts of normalisations that are written in single operators.

    d = x - Mean(x);  y = d / Sqrt(Mean(d * d) + epsilon)

A square has twice the digits of what it is made of, and the root of a small variance divides by
what is left of them: 256 levels for ``d * d`` leave a channel that varies by a tenth of the
largest one with two or three. LayerNormalization is one float operator for the same reason; so
are these, which it cannot express (other axes, a scale that varies along other dimensions), and
lengths (Sqrt of a sum of squares).
"""

import onnx_ir as ir

from edgecomp.graph.match import is_operator, producer, squared

_SUMS = ("ReduceMean", "ReduceSum", "GlobalAveragePool")
#: What stands between a sum of squares and the division by its root.
_BETWEEN = (
    *("Add", "Sub", "Mul", "Div", "Sqrt", "Pow", "Reciprocal", "Max", "Clip", "Relu"),
    *("Reshape", "Unsqueeze", "Squeeze", "Expand", "Transpose", "Identity"),
)


def normalisation_parts(graph: ir.Graph) -> set[ir.Node]:
    """Nodes from the mean to the division, of every mean or sum of squares that has a root."""
    parts: set[ir.Node] = set()
    for node in graph:
        if not is_operator(node, *_SUMS):
            continue
        value = squared(node.inputs[0])
        if value is None:
            continue
        behind = _behind(node, value)
        if any(each.op_type in ("Sqrt", "Pow") for each in behind):
            parts |= {node, *_before(node, value), *behind}
    return parts


def _before(total: ir.Node, value: ir.Value) -> list[ir.Node]:
    """The square, and the difference to a mean that is squared."""
    found = [total.inputs[0].producer()]  # type: ignore[union-attr]
    difference = producer(value, "Sub")
    if difference is not None:
        mean = producer(difference.inputs[1], *_SUMS, "Reshape", "Unsqueeze")
        found += [difference, mean]
    return [node for node in found if node is not None]


def _behind(total: ir.Node, value: ir.Value) -> set[ir.Node]:
    """What is computed of the sum, up to where it meets what was squared."""
    found: set[ir.Node] = set()
    waiting = [total.outputs[0]]
    while waiting:
        for use in waiting.pop().uses():
            node = use.node
            if node in found or node.graph is not total.graph:
                continue
            if is_operator(node, *_BETWEEN):
                found.add(node)
                if value not in node.inputs:
                    waiting += node.outputs
    return found
