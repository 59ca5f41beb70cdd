"""Tensors instead of sequences whose parts are known.

    SplitToSequence(x) -> SequenceAt(.., 1)          =>   Slice(x)
    SequenceConstruct(a, b) -> SequenceAt(.., 1)     =>   Identity(b)
    SequenceConstruct(a, b) -> ConcatFromSequence    =>   Concat(a, b)

torch exports ``x.chunk(2)`` and ``torch.split`` in the first form. It is the reader that is
replaced, so that a sequence which something else reads as well may stay.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array, new_initializer
from edgecomp.graph.edit import new_node, replace_node
from edgecomp.graph.match import producer
from edgecomp.graph.shapes import static_shape


def replace_sequence_reader(node: ir.Node) -> list[ir.Node] | None:
    """Replace a node that reads a sequence; returns what took its place, None for nothing.

    Args:
        node: in a graph, with the types and shapes of what comes before it known.
    """
    if node.domain != "":
        return None
    if node.op_type == "SequenceAt":
        return _replace_position(node)
    if node.op_type == "ConcatFromSequence":
        return _replace_join(node)
    return None


def _replace_position(node: ir.Node) -> list[ir.Node] | None:
    position = constant_array(node.inputs[1])
    if position is None:
        return None
    at = int(position.reshape(-1)[0])
    built = producer(node.inputs[0], "SequenceConstruct")
    if built is not None:
        if not -len(built.inputs) <= at < len(built.inputs):
            return None
        return _replace(node, _node(node, "Identity", [built.inputs[at]]))
    split = producer(node.inputs[0], "SplitToSequence")
    if split is None:
        return None
    bounds = _bounds(split)
    if bounds is None or not -len(bounds) <= at < len(bounds):
        return None
    return _replace(node, _part(node, split, bounds[at]))


def _replace_join(node: ir.Node) -> list[ir.Node] | None:
    built = producer(node.inputs[0], "SequenceConstruct")
    if built is None:
        return None
    axis = node.attributes.get_int("axis")
    if not node.attributes.get_int("new_axis", 0):
        return _replace(node, _node(node, "Concat", built.inputs, axis=axis))
    shapes = [static_shape(value) for value in built.inputs]
    parts: list[ir.Node] = []
    for value, shape in zip(built.inputs, shapes, strict=True):
        if shape is None:
            return None
        at = axis % (len(shape) + 1)
        wanted = _numbers(node, "shape", [*shape[:at], 1, *shape[at:]])
        part = _node(node, "Reshape", [value, wanted])
        part.name = f"{node.name}_part{len(parts)}"
        node.prepend(part)
        parts.append(part)
    join = _node(node, "Concat", [part.outputs[0] for part in parts], axis=axis)
    return [*parts, *_replace(node, join)]


def _bounds(split: ir.Node) -> list[tuple[int, int]] | None:
    """First and last-but-one index of each part of a SplitToSequence along its axis."""
    shape = static_shape(split.inputs[0])
    if shape is None:
        return None
    extent = shape[split.attributes.get_int("axis", 0)]
    sizes: list[int] = [1] * extent
    if _is_given(split):
        wanted = constant_array(split.inputs[1])
        if wanted is None:
            return None
        size = int(wanted) if wanted.ndim == 0 else 0
        if wanted.ndim:
            sizes = [int(each) for each in wanted]
            if min(sizes, default=0) < 0:
                return None
        else:
            sizes = [min(size, extent - begin) for begin in range(0, extent, size)]
    ends = np.cumsum(sizes)
    return [(int(end) - size, int(end)) for end, size in zip(ends, sizes, strict=True)]


def _is_given(split: ir.Node) -> bool:
    """Whether the sizes are an input; without them parts have one element."""
    return len(split.inputs) > 1 and split.inputs[1] is not None


def _part(node: ir.Node, split: ir.Node, bounds: tuple[int, int]) -> ir.Node:
    """The elements of a part; a single element may lose its dimension."""
    x, axis = split.inputs[0], split.attributes.get_int("axis", 0)
    begin, end = bounds
    if not _is_given(split) and not split.attributes.get_int("keepdims", 1):
        index = new_initializer(_graph(node), f"{node.name}_index", np.array(begin, np.int64))
        return _node(node, "Gather", [x, index], axis=axis)
    lists = zip(("starts", "ends", "axes"), (begin, end, axis), strict=True)
    return _node(node, "Slice", [x, *(_numbers(node, name, [value]) for name, value in lists)])


def _numbers(node: ir.Node, name: str, numbers: list[int]) -> ir.Value:
    return new_initializer(_graph(node), f"{node.name}_{name}", np.array(numbers, np.int64))


def _node(like: ir.Node, operator: str, inputs: object, **attributes: int) -> ir.Node:
    """A node whose type and shape are yet to be inferred."""
    node = new_node(
        _graph(like),
        operator,
        list(inputs),  # type: ignore[call-overload]
        like=like,
        attributes=dict(attributes),
    )
    node.outputs[0].shape = None
    return node


def _replace(node: ir.Node, by: ir.Node) -> list[ir.Node]:
    replace_node(node, by)
    return [by]


def _graph(node: ir.Node) -> ir.Graph:
    assert isinstance(node.graph, ir.Graph)
    return node.graph
