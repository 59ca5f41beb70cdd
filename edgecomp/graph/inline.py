"""The nodes of a graph put in the place of one node: a branch that is taken, a definition."""

from collections.abc import Sequence

import onnx_ir as ir

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
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    for value, given in zip(
        list(inner.inputs), [each for each in inputs if each is not None], strict=True
    ):
        value.replace_all_uses_with(given, replace_graph_outputs=True)
    inner.inputs.clear()
    taken = set(graph.initializers) | {value.name for value in graph.inputs if value.name}
    taken |= {
        value.name
        for each in ir.traversal.RecursiveGraphIterator(graph)
        if each.graph is not inner
        for value in each.outputs
        if value.name
    }
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
    moved = _connect(node, results)
    graph.remove(node, safe=True)
    return nodes + moved


def _connect(node: ir.Node, results: list[ir.Value]) -> list[ir.Node]:
    """Identity nodes named like the node's outputs; a later pass removes those not needed."""
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
    return identities
