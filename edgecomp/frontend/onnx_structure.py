"""Structural faults of an ONNX protobuf, found before anything is built from it."""

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.node_rules import node_label
from edgecomp.frontend.onnx_functions import check_functions
from edgecomp.graph.microsoft.definitions import MISPLACED, is_known

# Data of these domains is defined by onnx itself.
_KNOWN_DOMAINS = (
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.training",
    "ai.onnx.preview",
    "ai.onnx.preview.training",
)


def check_structure(proto: onnx.ModelProto) -> None:
    """Operators known, names unique, values defined, no cycle; sorts an unsorted graph.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED listing every unknown operator, or MODEL_INVALID
            naming the node.
    """
    _check_text(proto)
    _check_operators(proto)
    check_functions(proto)
    for function in proto.functions:
        _check_function(function)
    _check_ports(proto.graph)
    _check_graph(proto.graph, outer=set())


def _check_text(message: Message, owner: str = "") -> None:
    """Names must be text that C can hold: damaged files have bytes in them that are none."""
    owner = getattr(message, "name", "") or owner
    for field, value in message.ListFields():
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        for each in value if _is_repeated(value) else [value]:
            if field.type == field.TYPE_MESSAGE:
                _check_text(each, owner if isinstance(owner, str) else "")
            elif not isinstance(each, str) or "\0" in each:
                raise EdgecompError(
                    Code.MODEL_INVALID,
                    f"the file is damaged: {field.name} {each!r} is no text",
                    node=owner if isinstance(owner, str) and owner else "?",
                    hint="compare its size and checksum with the original's",
                )


def _is_repeated(value: object) -> bool:
    return not isinstance(value, (str, bytes, Message))


def _check_operators(proto: onnx.ModelProto) -> None:
    functions = {(each.domain, each.name) for each in proto.functions}
    unknown: dict[str, str] = {}
    versions = {each.domain: each.version for each in proto.opset_import}
    for node in _all_nodes(proto):
        domain = "" if node.domain == "ai.onnx" else node.domain
        if (node.domain, node.op_type) in functions or _is_microsoft(node):
            continue
        version = versions.get(domain, versions.get("ai.onnx", 1))
        if domain in _KNOWN_DOMAINS and onnx.defs.has(
            node.op_type, max_inclusive_version=version, domain=domain
        ):
            continue
        unknown.setdefault(f"{node.domain or 'ai.onnx'}.{node.op_type}", node_label(node))
    if unknown:
        listed = ", ".join(f"{operator} (node '{at}')" for operator, at in unknown.items())
        vendor = any(operator.startswith("com.microsoft") for operator in unknown)
        raise EdgecompError(
            Code.OPERATOR_UNSUPPORTED,
            f"operators that ONNX does not define: {listed}",
            node=next(iter(unknown.values())),
            hint="these com.microsoft operators come from onnxruntime's optimizer: give the model "
            "from before it"
            if vendor
            else "export without custom operators, or give them as functions in the model",
        )


def _is_microsoft(node: onnx.NodeProto) -> bool:
    """Whether the node is one of onnxruntime's that are known, wherever it puts it."""
    misplaced = node.domain in ("", "ai.onnx") and node.op_type in MISPLACED
    return misplaced or is_known(node.domain, node.op_type)


def _all_nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    found = _nodes_within(proto.graph.node)
    for function in proto.functions:
        found += _nodes_within(function.node)
    return found


def _nodes_within(nodes: "list[onnx.NodeProto]") -> list[onnx.NodeProto]:
    found = []
    for node in nodes:
        found.append(node)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += _nodes_within(attribute.g.node)
    return found


def _check_function(function: onnx.FunctionProto) -> None:
    """A function's body obeys the rules of a graph."""
    body = onnx.GraphProto(node=function.node, name=function.name)
    for name in function.input:
        body.input.add(name=name)
    for name in function.output:
        body.output.add(name=name)
    try:
        _check_graph(body, outer=set())
    except EdgecompError as error:
        error.cause = f"function '{function.name}': {error.cause}"
        raise


def _check_ports(graph: onnx.GraphProto) -> None:
    """A model has outputs, each once, and inputs of types that exist."""
    names = [value.name for value in graph.output]
    if not names:
        raise EdgecompError(
            Code.MODEL_INVALID,
            "the graph has no outputs",
            node=graph.name,
            hint="the file is cut off or was edited: export it again",
        )
    for name in names:
        if names.count(name) > 1:
            raise EdgecompError(
                Code.MODEL_INVALID,
                f"graph output '{name}' is listed twice",
                node=name,
                hint="give each output a name of its own, with Identity where needed",
            )
    for value in (*graph.input, *graph.output, *graph.value_info):
        element = value.type.tensor_type.elem_type
        if (
            value.type.HasField("tensor_type")
            and element not in onnx.TensorProto.DataType.values()
        ):
            raise EdgecompError(
                Code.MODEL_INVALID,
                f"'{value.name}' has element type {element}, which ONNX does not define",
                node=value.name,
                hint="the file is damaged or newer than the installed onnx package",
            )
    for node in _nodes_within(graph.node):
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                raise EdgecompError(
                    Code.MODEL_INVALID,
                    f"attribute '{attribute.name}' refers to '{attribute.ref_attr_name}' of a "
                    "function, but the node is in none",
                    node=node_label(node),
                    hint="export it again",
                )


def _check_graph(graph: onnx.GraphProto, outer: set[str]) -> None:
    defined = set(outer)
    inputs = [value.name for value in graph.input]
    for name in inputs:
        _define(name, defined, f"graph input '{name}'")
    for tensor in graph.initializer:
        _check_tensor(tensor)
        if tensor.name not in inputs:
            _define(tensor.name, defined, f"initializer '{tensor.name}'")
    for sparse in graph.sparse_initializer:
        raise EdgecompError(
            Code.OPERATOR_UNSUPPORTED,
            "sparse initializers are not supported",
            node=sparse.values.name,
            hint="store the weights densely",
        )
    _check_producers(graph, defined)
    order = _sort(graph)
    if order is not None:
        nodes = [graph.node[index] for index in order]
        copies = []
        for node in nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copies.append(copy)
        del graph.node[:]
        graph.node.extend(copies)
    produced = defined | {name for node in graph.node for name in node.output}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _check_graph(attribute.g, produced)
            if attribute.HasField("t"):
                _check_tensor(attribute.t, node_label(node))
    for value in graph.output:
        if value.name not in produced:
            raise EdgecompError(
                Code.MODEL_INVALID,
                f"graph output '{value.name}' is not computed by any node",
                node=value.name,
                hint="the file is cut off or was edited: export it again",
            )


def _check_producers(graph: onnx.GraphProto, defined: set[str]) -> None:
    """Each name defined once, each read name defined somewhere."""
    produced: dict[str, str] = {}
    for node in graph.node:
        for name in node.output:
            if not name:
                continue
            if name in produced or name in defined:
                by = (
                    f"node '{produced[name]}'"
                    if name in produced
                    else "an input or initializer"
                )
                raise EdgecompError(
                    Code.MODEL_INVALID,
                    f"'{name}' is defined twice: by {by} and by {node.op_type}",
                    node=node_label(node),
                    hint="value names must be unique in a graph",
                )
            produced[name] = node_label(node)
    for node in graph.node:
        for name in node.input:
            if name and name not in produced and name not in defined:
                raise EdgecompError(
                    Code.MODEL_INVALID,
                    f"{node.op_type} reads '{name}', which is no input, no initializer and no "
                    "node's output",
                    node=node_label(node),
                    hint="an initializer is missing: export again, with the parameters",
                )


def _sort(graph: onnx.GraphProto) -> list[int] | None:
    """Indices in execution order, None where the order is right already.

    Raises:
        EdgecompError: MODEL_INVALID with the nodes of a cycle.
    """
    position = {name: at for at, node in enumerate(graph.node) for name in node.output if name}
    needs = [
        {position[name] for name in _reads(node) if name in position} for node in graph.node
    ]
    if all(before < at for at, group in enumerate(needs) for before in group):
        return None
    order: list[int] = []
    waiting = {at: set(group) for at, group in enumerate(needs)}
    while waiting:
        ready = [at for at, group in waiting.items() if not group & waiting.keys()]
        if not ready:
            raise _cycle(graph, waiting)
        order += ready
        for at in ready:
            del waiting[at]
    return order


def _reads(node: onnx.NodeProto) -> set[str]:
    """Names a node reads from its graph, those that its subgraphs read included."""
    names = set(node.input)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            inner = attribute.g
            own = {value.name for value in (*inner.input, *inner.initializer)}
            own.update(name for each in inner.node for name in each.output)
            names.update(value.name for value in inner.output if value.name not in own)
            for each in inner.node:
                names |= _reads(each) - own
    return names


def _cycle(graph: onnx.GraphProto, waiting: dict[int, set[int]]) -> EdgecompError:
    at = next(iter(waiting))
    path: list[int] = []
    while at not in path:
        path.append(at)
        at = next(each for each in sorted(waiting[at]) if each in waiting)
    loop = [*path[path.index(at) :], at]
    names = " <- ".join(node_label(graph.node[each]) for each in loop)
    return EdgecompError(
        Code.MODEL_INVALID,
        f"the graph has a cycle: {names}",
        node=node_label(graph.node[at]),
        hint="a node may only read what earlier nodes compute",
    )


def _check_tensor(tensor: onnx.TensorProto, node: str = "") -> None:
    """The data of an initializer, or of a node's attribute, must fill its shape."""
    what = f"the constant of '{node}'" if node else f"initializer '{tensor.name}'"
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # numpy, onnx and struct raise different types here
        raise EdgecompError(
            Code.MODEL_INVALID,
            f"{what} has no data that fills its shape {list(tensor.dims)}",
            node=node or tensor.name,
            hint="the file is cut off or was edited: export it again",
        ) from error
    if any(extent < 0 for extent in tensor.dims) or list(array.shape) != list(tensor.dims):
        raise EdgecompError(
            Code.MODEL_INVALID,
            f"{what} declares shape {list(tensor.dims)}",
            node=node or tensor.name,
            hint="the file was edited: export it again",
        )


def _define(name: str, defined: set[str], what: str) -> None:
    if name in defined:
        raise EdgecompError(
            Code.MODEL_INVALID,
            f"{what} has a name that is taken",
            node=name,
            hint="value names must be unique in a graph",
        )
    defined.add(name)
