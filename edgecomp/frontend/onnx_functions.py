"""Faults of an ONNX model's own functions, found before they are inlined."""

from collections.abc import Iterator, Sequence

import onnx

from edgecomp.errors import Code, EdgecompError

#: Nodes a model may have after inlining. The largest exported networks have some ten thousand;
#: functions that call others twice, forty deep, have 10**12.
MOST_NODES = 1_000_000

_Key = tuple[str, str, str]


def check_functions(proto: onnx.ModelProto) -> None:
    """Every function once, none that calls itself, and a result of bounded size.

    Raises:
        EdgecompError: MODEL_INVALID naming the function.
    """
    functions: dict[_Key, onnx.FunctionProto] = {}
    for function in proto.functions:
        key = (function.domain, function.name, function.overload)
        if key in functions:
            raise _invalid(function.name, f"function '{_label(key)}' is defined twice")
        functions[key] = function
    sizes: dict[_Key, int] = {}
    for key in functions:
        _measure(key, functions, sizes)
    total = sum(sizes.get(call, 1) for call in _calls(proto.graph.node))
    if total > MOST_NODES:
        raise EdgecompError(
            Code.MODEL_INVALID,
            f"the functions expand to {total:.3g} nodes, at most {MOST_NODES} can be compiled",
            hint="functions that call each other grow with every level: export without them",
        )


def _measure(
    start: _Key, functions: dict[_Key, onnx.FunctionProto], sizes: dict[_Key, int]
) -> None:
    """Nodes of a function with all its calls expanded; no recursion, calls may be deep."""
    path: list[_Key] = []
    waiting = [start]
    while waiting:
        key = waiting[-1]
        if key in sizes:
            waiting.pop()
            continue
        called = [call for call in _calls(functions[key].node) if call in functions]
        if path and path[-1] == key:  # everything it calls is measured
            path.pop()
            waiting.pop()
            plain = sum(1 for call in _calls(functions[key].node) if call not in functions)
            sizes[key] = plain + sum(sizes[call] for call in called)
            continue
        path.append(key)
        for call in called:
            if call in path:
                loop = [*path[path.index(call) :], call]
                names = " -> ".join(_label(each) for each in loop)
                raise _invalid(call[1], f"functions call themselves: {names}")
        waiting += [call for call in called if call not in sizes]


def _calls(nodes: Sequence[onnx.NodeProto]) -> Iterator[_Key]:
    """What each node would call if it is a function, those of subgraphs included."""
    for node in nodes:
        yield node.domain, node.op_type, node.overload
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _calls(attribute.g.node)


def _label(key: _Key) -> str:
    return ".".join(part for part in key if part)


def _invalid(name: str, cause: str) -> EdgecompError:
    return EdgecompError(
        Code.MODEL_INVALID, cause, node=name, hint="export the model without local functions"
    )
