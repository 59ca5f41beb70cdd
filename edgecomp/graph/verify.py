"""The structural check that stands between passes: what every later step may rely on."""

import math
from collections.abc import Iterable

import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.bodies import is_control_flow, possible_bodies
from edgecomp.graph.control_flow import refusal
from edgecomp.graph.microsoft.definitions import DOMAIN as MICROSOFT
from edgecomp.graph.source import source_of

#: Kernels count in 32-bit integers.
MOST_ELEMENTS = 2**31 - 1


def verify(model: ir.Model, *, static: bool = True) -> None:
    """Check that a model is well formed.

    Every input is defined before its use, names are unique, initializers have data, and (with
    ``static``) every value has a type and a shape of known extents.

    Raises:
        EdgecompError: MODEL_INVALID naming the first node at fault; with ``static``
            DIMENSION_FREE listing the values without a known shape, TENSOR_TOO_LARGE, or
            OPERATOR_UNSUPPORTED where a branch or loop that depends on the data is the cause.
    """
    _verify_graph(model.graph, outer=set())
    if static:
        _verify_static(model.graph)


def is_whole(graph: ir.Graph) -> bool:
    """Whether every value has a type and a shape of known extents."""
    return all(is_static(value) for value in _values(graph))


def _verify_graph(graph: ir.Graph, outer: set[str]) -> None:
    defined = set(outer)
    for value in graph.inputs:
        _define(value, defined, owner="graph input")
    for name, value in graph.initializers.items():
        if value.const_value is None:
            raise _invalid(f"initializer '{name}' has no data", name)
        if not value.is_graph_input():
            _define(value, defined, owner="initializer")
    names: set[str] = set()
    for node in graph:
        _verify_node(node, defined, names)
    for value in graph.outputs:
        if value.name not in defined:
            raise _invalid(
                f"graph output '{value.name}' is not computed by any node", value.name
            )


def _verify_node(node: ir.Node, defined: set[str], names: set[str]) -> None:
    label = node.name or next((value.name for value in node.outputs if value.name), "")
    for value in node.inputs:
        if value is not None and value.name and value.name not in defined:
            raise _invalid(
                f"{node.op_type} reads '{value.name}', which nothing before it defines",
                label,
                node,
            )
    if node.name:
        if node.name in names:
            raise _invalid(f"two nodes are named '{node.name}'", node.name, node)
        names.add(node.name)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            _verify_graph(attribute.as_graph(), defined)
    for value in node.outputs:
        if value.name:
            _define(value, defined, owner=f"{node.op_type} '{label}'", node=node)


def _define(
    value: ir.Value, defined: set[str], *, owner: str, node: ir.Node | None = None
) -> None:
    if not value.name:
        raise _invalid(f"{owner} without a name", "")
    if value.name in defined:
        raise _invalid(f"'{value.name}' is defined twice, again as {owner}", value.name, node)
    defined.add(value.name)


def _verify_static(graph: ir.Graph) -> None:
    unknown = [value for value in _values(graph) if not is_static(value)]
    if not unknown:
        _verify_sizes(graph)
        return
    value = unknown[0]
    node = value.producer()
    if node is not None and (is_control_flow(node) or node.domain == MICROSOFT):
        cause, hint = refusal(node) if is_control_flow(node) else _unknown_form(node)
        raise EdgecompError(
            Code.OPERATOR_UNSUPPORTED,
            cause,
            node=node.name or "",
            source=source_of(node),
            hint=hint,
        )
    shown = ", ".join(f"{each.name} {each.shape or '?'}" for each in unknown[:8])
    more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    maker = f" (from {node.op_type})" if node is not None else ""
    raise EdgecompError(
        Code.DIMENSION_FREE,
        f"shapes that are not known before the model runs{maker}: {shown}{more}",
        node=(node.name if node is not None else value.name) or "",
        source=source_of(node) if node is not None else "",
        hint="the plan is static: replace what makes the size depend on the data",
    )


def _unknown_form(node: ir.Node) -> tuple[str, str]:
    """What is said of an operator that has a definition, but none of what this node asks for."""
    cause = f"{node.op_type} of {node.domain} has inputs or attributes that are not supported"
    return (
        cause,
        "give the model from before onnxruntime's optimizer, or pack it in another form",
    )


def _verify_sizes(graph: ir.Graph) -> None:
    for value in _values(graph):
        assert value.shape is not None
        count = math.prod(value.shape.numpy())
        if count > MOST_ELEMENTS:
            node = value.producer()
            raise EdgecompError(
                Code.TENSOR_TOO_LARGE,
                f"'{value.name}' {value.shape} has {count} elements, kernels address at most "
                f"{MOST_ELEMENTS}",
                node=(node.name if node is not None else value.name) or "",
                source=source_of(node) if node is not None else "",
                hint="give smaller inputs, or export the model with a smaller batch",
            )


def _values(graph: ir.Graph) -> Iterable[ir.Value]:
    """Values of a graph and of the bodies in it, those that explain others before them."""
    yield from graph.inputs
    for node in graph:
        results = [value for value in node.outputs if value.name]
        if node.op_type != "If":  # a loop that does not settle leaves its body as it was
            yield from results
        for body in possible_bodies(node):
            yield from _values(body)
        if node.op_type == "If":
            yield from results


def is_static(value: ir.Value) -> bool:
    """Whether a value has a type and a shape of known extents."""
    return value.dtype is not None and value.shape is not None and value.shape.is_static()


def _invalid(cause: str, name: str | None, node: ir.Node | None = None) -> EdgecompError:
    return EdgecompError(
        Code.MODEL_INVALID,
        cause,
        node=name or "",
        source=source_of(node) if node is not None else "",
    )
