"""Safe edits: replace values and nodes, keep graph output names, types and sources."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.bodies import bodies, discard
from edgecomp.graph.constants import new_initializer
from edgecomp.graph.names import unused_name
from edgecomp.graph.source import copy_source


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Let everything that reads ``old`` read ``new``; the graph output keeps its name.

    Where ``old`` is a graph output, ``new`` takes over its name if it is an unnamed-to-the-user
    value (produced by a node and no output itself); else an Identity carries the name.
    ``old``'s producer stays in the graph: remove it with ``remove_unused``.
    """
    if new.shape is None:
        new.shape = old.shape
    if new.type is None:
        new.type = old.type
    if not old.is_graph_output():
        old.replace_all_uses_with(new)
        return
    graph = old.graph
    assert graph is not None
    name = old.name
    assert name is not None
    movable = new.producer() is not None and not new.is_graph_output() and new.graph is graph
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    old.name = unused_name(graph, f"{name}_replaced")
    if movable:
        new.name = name
        return
    producer = old.producer()
    assert producer is not None
    identity = new_node(graph, "Identity", [new], like=producer, output=name)
    identity.name = f"{producer.name}_identity"
    identity.outputs[0].type, identity.outputs[0].shape = new.type, new.shape
    producer.append(identity)
    for index, output in enumerate(graph.outputs):
        if output is new:
            graph.outputs[index] = identity.outputs[0]
            break


def new_node(
    graph: ir.Graph,
    operator: str,
    inputs: Sequence[ir.Value | None],
    *,
    like: ir.Node,
    origins: Iterable[ir.Node] = (),
    output: str = "",
    attributes: dict[str, object] | None = None,
) -> ir.Node:
    """A node of the standard domain, not yet in the graph.

    Args:
        graph: graph it will be inserted into.
        operator: ONNX operator type.
        inputs: its inputs.
        like: node whose name, first output's type and shape, and source it takes.
        origins: more nodes it stands for, whose sources count after ``like``'s.
        output: name of its output; a free one made from ``like``'s where empty.
        attributes: attribute values, None ones left out.
    """
    given = {key: value for key, value in (attributes or {}).items() if value is not None}
    node = ir.node(
        operator,
        inputs=list(inputs),
        attributes=given,  # type: ignore[arg-type]
        num_outputs=1,
        name=like.name,
    )
    result, model_of = node.outputs[0], like.outputs[0]
    result.name = output or unused_name(graph, f"{model_of.name}_{operator.lower()}")
    result.type, result.shape = model_of.type, model_of.shape
    copy_source([like, *origins], node)
    return node


def replace_node(old: ir.Node, new: ir.Node, *, origins: Iterable[ir.Node] = ()) -> None:
    """Put ``new`` in ``old``'s place: its outputs replace ``old``'s by position.

    Names, types and shapes of the outputs are kept; ``old`` leaves the graph.
    """
    graph = old.graph
    assert isinstance(graph, ir.Graph)
    copy_source([old, *origins], new)
    old.prepend(new)
    for before, after in zip(old.outputs, new.outputs, strict=False):
        name = before.name
        after.type, after.shape = before.type, before.shape
        before.replace_all_uses_with(after, replace_graph_outputs=True)
        before.name = None
        after.name = name
    graph.remove(old, safe=True)


def insert_behind(node: ir.Node, operator: str, operand: ir.Value, *, name: str) -> None:
    """Put ``operator(result, operand)`` behind a node of one output.

    What it gives takes over the result's name, type, shape and readers, the graph's output too.
    """
    graph, result = node.graph, node.outputs[0]
    assert isinstance(graph, ir.Graph)
    new = ir.node(operator, [result, operand], name=name)
    copy_source(node, new)
    after, taken = new.outputs[0], result.name
    after.type, after.shape = result.type, result.shape
    node.append(new)
    result.replace_all_uses_with(after, replace_graph_outputs=True)
    new.replace_input_with(0, result)
    result.name = unused_name(graph, f"{taken}_product")
    after.name = taken


def set_constant_input(
    node: ir.Node, index: int, array: npt.ArrayLike, *, name: str = ""
) -> ir.Value:
    """Give input ``index`` of a node a constant; returns its value.

    An initializer that only this input reads keeps its name; a shared one is left alone.

    Args:
        node: a node of a graph.
        index: of the input; missing inputs before it become absent ones.
        array: the constant, in its final dtype.
        name: for a new initializer where the input has none yet.
    """
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    old = node.inputs[index]
    wanted = name or f"{node.outputs[0].name}_input{index}"
    if old is not None and old.is_initializer() and old.name:
        wanted = old.name
        if len(list(old.uses())) == 1 and not old.is_graph_output():
            node.replace_input_with(index, None)
            del graph.initializers[old.name]
    value = new_initializer(graph, wanted, np.asarray(array))
    node.replace_input_with(index, value)
    return value


def only_reader(value: ir.Value) -> ir.Node | None:
    """The node that reads the value when it is read exactly once and is no graph output.

    A reader inside a branch or loop does not count: it may run never, or often.
    """
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    reader = uses[0].node
    return reader if reader.graph is value.graph else None


def remove_unused(model: ir.Model) -> int:
    """Remove nodes whose results nobody reads and initializers nobody uses; returns how many.

    Scope: main graph and its subgraphs.
    """
    return _remove_unused_in(model.graph)


def _remove_unused_in(graph: ir.Graph) -> int:
    removed = 0
    for node in list(reversed(graph)):
        if any(value.uses() or value.is_graph_output() for value in node.outputs):
            for body in bodies(node):
                removed += _remove_unused_in(body)
            continue
        for body in bodies(node):
            discard(body)
        graph.remove(node, safe=True)
        removed += 1
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            del graph.initializers[name]
            removed += 1
    return removed
