"""A loop written out: the body once for each round.

Loop (3, body)   =>   body, body, body, and for each row output Unsqueeze and Concat
"""

import dataclasses

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import new_initializer
from edgecomp.graph.inline import insert_graph, names_around, replace_outputs
from edgecomp.graph.names import unused_name
from edgecomp.graph.source import copy_source


@dataclasses.dataclass(frozen=True)
class Rounds:
    """What is run how often.

    Attributes:
        body: graph of one round; is left empty.
        count: of rounds.
        states: first contents of what is carried.
        slices: (value, axis, whether from the end): each round gets one part.
        head: shapes of the body's first inputs, number of the round and condition; may be empty.
        first_state: index of the first carried output of the body.
        rows: (axis, whether from the end) for each output that joins parts.
        row_types: their dtype and shape, None where it is not known.
    """

    body: ir.Graph
    count: int
    states: list[ir.Value]
    slices: list[tuple[ir.Value, int, bool]]
    head: list[tuple[int, ...]]
    first_state: int
    rows: list[tuple[int, bool]]
    row_types: list[tuple[ir.DataType | None, tuple[int, ...] | None]]


def unroll(node: ir.Node, rounds: Rounds) -> list[ir.Node]:
    """Replace a loop by its rounds; returns the new nodes in order, unswept."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    taken = names_around(node, rounds.body)
    made: list[ir.Node] = []
    states = list(rounds.states)
    rows: list[list[ir.Value]] = [[] for _ in rounds.rows]
    for index in range(rounds.count):
        last = index == rounds.count - 1
        copy = rounds.body if last else rounds.body.clone(allow_outer_scope_values=True)
        given = [*_head(graph, node, rounds, index), *states]
        for number, (value, axis, reverse) in enumerate(rounds.slices):
            at = rounds.count - 1 - index if reverse else index
            given.append(_part(node, value, axis, at, f"in{number}_{index}", made))
        for each in copy:
            each.name = f"{node.name}_{index}_{each.name}"
        nodes, results = insert_graph(node, copy, given, taken)
        made += nodes
        states = results[rounds.first_state : rounds.first_state + len(states)]
        for row, value in zip(rows, results[rounds.first_state + len(states) :], strict=True):
            row.append(value)
    joined = [_joined(node, rounds, number, row, made) for number, row in enumerate(rows)]
    return made + replace_outputs(node, [*states, *joined])


def _head(graph: ir.Graph, node: ir.Node, rounds: Rounds, index: int) -> list[ir.Value]:
    contents = (np.int64(index), np.bool_(True))
    return [
        new_initializer(graph, f"{node.name}_head{number}_{index}", np.full(shape, content))
        for number, (shape, content) in enumerate(zip(rounds.head, contents, strict=False))
    ]


def _part(
    node: ir.Node, value: ir.Value, axis: int, at: int, name: str, made: list[ir.Node]
) -> ir.Value:
    assert isinstance(node.graph, ir.Graph)
    index = new_initializer(node.graph, f"{node.name}_{name}_at", np.array(at, np.int64))
    return _add(node, "Gather", [value, index], name, made, axis=axis)


def _joined(
    node: ir.Node, rounds: Rounds, number: int, row: list[ir.Value], made: list[ir.Node]
) -> ir.Value:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    axis, reverse = rounds.rows[number]
    if not row:
        dtype, shape = rounds.row_types[number]
        assert dtype is not None
        empty = [*(shape or ())]
        empty.insert(axis, 0)
        return new_initializer(graph, f"{node.name}_empty", np.empty(empty, dtype.numpy()))
    axes = new_initializer(graph, f"{node.name}_axis", np.array([axis], np.int64))
    parts = [
        _add(node, "Unsqueeze", [value, axes], f"row{number}_{index}", made)
        for index, value in enumerate(row)
    ]
    ordered = parts[::-1] if reverse else parts
    return _add(node, "Concat", ordered, f"rows{number}", made, axis=axis)


def _add(
    node: ir.Node,
    operator: str,
    inputs: list[ir.Value],
    name: str,
    made: list[ir.Node],
    **attributes: int,
) -> ir.Value:
    """A node before the loop; its type is inferred later."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    new = ir.node(operator, inputs, attributes=attributes, name=f"{node.name}_{name}")
    new.outputs[0].name = unused_name(graph, f"{node.name}_{name}")
    copy_source(node, new)
    node.prepend(new)
    made.append(new)
    return new.outputs[0]
