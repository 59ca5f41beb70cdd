"""Graphs inside nodes: the branches of an If, the bodies of Loop and Scan."""

import contextlib
from collections.abc import Iterator

import onnx_ir as ir

from edgecomp.graph.names import free_name

CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})

#: Metadata of an If: the branch that cannot run with the shapes that the model has.
IMPOSSIBLE_KEY = "edgecomp.impossible_branch"


def is_control_flow(node: ir.Node | None) -> bool:
    """Whether a node runs graphs of its own."""
    if node is None or node.domain not in ("", "ai.onnx"):
        return False
    return node.op_type in CONTROL_FLOW


def bodies(node: ir.Node) -> list[ir.Graph]:
    """The graphs that a node has as attributes."""
    return [
        attribute.as_graph()
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.GRAPH
    ]


def possible_bodies(node: ir.Node) -> list[ir.Graph]:
    """The graphs that can run: all but a branch whose shapes do not fit."""
    impossible = node.metadata_props.get(IMPOSSIBLE_KEY)
    return [
        attribute.as_graph()
        for name, attribute in node.attributes.items()
        if attribute.type == ir.AttributeType.GRAPH and name != impossible
    ]


def captured_values(graph: ir.Graph) -> list[ir.Value]:
    """Values from outside that a body, or a body inside it, reads or returns; each once."""
    own: set[ir.Value] = set()
    read: dict[ir.Value, None] = {}
    for inner in (graph, *graph.subgraphs()):
        own.update(inner.inputs)
        own.update(inner.initializers.values())
        for node in inner:
            own.update(node.outputs)
            read.update(dict.fromkeys(value for value in node.inputs if value is not None))
        read.update(dict.fromkeys(inner.outputs))
    return [value for value in read if value not in own]


def discard(graph: ir.Graph) -> None:
    """Let a graph that is not used any more read nothing, so that what it read counts no use."""
    graph.outputs.clear()
    for inner in (graph, *graph.subgraphs()):
        inner.outputs.clear()
        for node in inner:
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)


@contextlib.contextmanager
def closed(graph: ir.Graph, opset_imports: dict[str, int]) -> Iterator[ir.Model]:
    """A body as a model of its own; afterwards it reads the values around it again.

    Within the block what it reads from outside are graph inputs behind its own, constants are
    initializers.

    Args:
        graph: changed in place, by the block too.
        opset_imports: of the model around it.
    """
    own = list(graph.inputs)
    graph.opset_imports.update(opset_imports)
    twins: list[tuple[ir.Value, ir.Value]] = []
    taken = _names(graph)
    for value in captured_values(graph):
        twin = ir.Value(
            name=free_name(value.name or "captured", taken), shape=value.shape, type=value.type
        )
        twins.append((value, twin))
        _replace_inside(graph, value, twin)
        if value.const_value is not None and value.is_initializer():
            twin.const_value = value.const_value
            graph.register_initializer(twin)
        else:
            graph.inputs.append(twin)
    try:
        yield ir.Model(graph, ir_version=10)
    finally:
        for value, twin in twins:
            if twin.is_graph_input():
                graph.inputs.remove(twin)
            _replace_inside(graph, twin, value)
            if graph.initializers.get(twin.name or "") is twin:
                del graph.initializers[twin.name or ""]
        assert list(graph.inputs) == own, "a pass changed the inputs of a body"


def name_inner_values(graph: ir.Graph) -> None:
    """Rename values of bodies whose name something else in the model has: ONNX asks for it."""
    taken = {value.name for value in graph.inputs if value.name}
    taken |= set(graph.initializers)
    taken |= {value.name for node in graph for value in node.outputs if value.name}
    for inner in graph.subgraphs():
        for value in list(inner.initializers.values()):
            del inner.initializers[value.name or ""]
            value.name = free_name(value.name or "constant", taken)
            inner.register_initializer(value)
        for value in (*inner.inputs, *(v for node in inner for v in node.outputs)):
            if value.name and not value.is_initializer():
                value.name = free_name(value.name, taken)


def _names(graph: ir.Graph) -> set[str]:
    """Names of all values of a graph and those inside it."""
    names: set[str] = set()
    for inner in (graph, *graph.subgraphs()):
        values = (*inner.inputs, *inner.initializers.values())
        values += tuple(value for node in inner for value in node.outputs)
        names |= {value.name for value in values if value.name}
    return names


def _replace_inside(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Let a graph and those inside it read another value."""
    for inner in (graph, *graph.subgraphs()):
        for node in inner:
            for index, value in enumerate(node.inputs):
                if value is old:
                    node.replace_input_with(index, new)
        for index, value in enumerate(inner.outputs):
            if value is old:
                inner.outputs[index] = new
