"""Names: every node and value has one, unique in the model, so that messages can use it."""

import onnx_ir as ir


def name_everything(model: ir.Model) -> None:
    """Name unnamed nodes and values, make node names unique.

    Graph inputs, outputs and initializers keep theirs.

    Scope: main graph and subgraphs.
    """
    values = _taken_values(model.graph)
    nodes: set[str] = set()
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        for value in node.outputs:
            if value.name is None:
                value.name = free_name(f"{node.op_type.lower()}_out", values)
        wanted = node.name or next((value.name for value in node.outputs if value.name), "")
        node.name = free_name(wanted or node.op_type, nodes)


def unused_name(graph: ir.Graph, name: str) -> str:
    """``name``, or ``name_1``, ``name_2`` ... where it is taken by a value of the graph."""
    return free_name(name, _taken_values(graph))


def _taken_values(graph: ir.Graph) -> set[str]:
    """Names of the values of a graph and its subgraphs."""
    taken = set(graph.initializers)
    for inner in (graph, *graph.subgraphs()):
        taken.update(value.name for value in inner.inputs if value.name)
    for node in ir.traversal.RecursiveGraphIterator(graph):
        taken.update(value.name for value in node.outputs if value.name)
    return taken


def free_name(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken already; is taken from now on."""
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate
