"""The nodes of a graph put in the place of one node: a branch that is taken, a definition."""

from collections.abc import Sequence

import onnx_ir as ir

from edgecomp.graph.bodies import bodies, discard
from edgecomp.graph.names import free_name
from edgecomp.graph.source import copy_source


def inline_graph(
    node: ir.Node, inner: ir.Graph, inputs: Sequence[ir.Value | None] = ()
) -> list[ir.Node]:
    """Replace a node by the nodes of a graph.

    Args:
        node: goes; its outputs' names stay.
        inner: is emptied; its values get free names.
        inputs: of ``node`` in the order of the graph's inputs, absent ones left out of it.

    Returns:
        The moved nodes, and one Identity per output.
    """
    given = [each for each in inputs if each is not None]
    nodes, results = insert_graph(node, inner, given, names_around(node, inner))
    return nodes + replace_outputs(node, results)


def names_around(node: ir.Node, *without: ir.Graph) -> set[str]:
    """Names of the values of a node's graph and the graphs inside it."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    taken = set(graph.initializers) | {value.name for value in graph.inputs if value.name}
    return taken | {
        value.name
        for each in ir.traversal.RecursiveGraphIterator(graph)
        if each.graph not in without
        for value in each.outputs
        if value.name
    }


def insert_graph(
    node: ir.Node, inner: ir.Graph, inputs: Sequence[ir.Value], taken: set[str]
) -> tuple[list[ir.Node], list[ir.Value]]:
    """Put the nodes of a graph before a node.

    Args:
        node: stays.
        inner: is emptied; its values get free names.
        inputs: of the graph.
        taken: names that are not free; those given are added.

    Returns:
        The moved nodes and the results.
    """
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    for value, given in zip(list(inner.inputs), inputs, strict=True):
        value.replace_all_uses_with(given, replace_graph_outputs=True)
    inner.inputs.clear()
    for value in list(inner.initializers.values()):
        inner.initializers.pop(value.name)  # type: ignore[arg-type]
        value.name = free_name(value.name or "constant", taken)
        graph.register_initializer(value)
    results = list(inner.outputs)
    inner.outputs.clear()
    nodes = list(inner)
    inner.remove(nodes)
    for each in nodes:
        for value in each.outputs:
            if value.name != "":
                value.name = free_name(value.name or "value", taken)
        copy_source(node, each)
    node.prepend(nodes)
    return nodes, results


def replace_outputs(node: ir.Node, results: Sequence[ir.Value]) -> list[ir.Node]:
    """Remove a node whose outputs are other values now.

    Returns:
        Identity nodes named like the node's outputs; a later pass removes those not needed.
    """
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    identities = []
    for old, new in zip(node.outputs, results, strict=False):
        if not old.name:
            continue
        identity = ir.node("Identity", [new], name=f"{node.name}_{old.name}")
        copy_source(node, identity)
        after = identity.outputs[0]
        after.type, after.shape = old.type, old.shape
        name, old_shape_declared = old.name, old.shape
        node.prepend(identity)
        old.replace_all_uses_with(after, replace_graph_outputs=True)
        old.name = None
        after.name = name
        # What the file declares for an If covers both branches: the taken one knows better.
        after.shape = new.shape if new.shape is not None else old_shape_declared
        identities.append(identity)
    for body in bodies(node):
        discard(body)
    graph.remove(node, safe=True)
    return identities
