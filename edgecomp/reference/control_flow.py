"""If, Loop and Scan: their bodies evaluated node by node, as often as the data say."""

import collections
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.bodies import IMPOSSIBLE_KEY
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.loop_form import LoopForm, loop_form, scanned_rounds
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import source_of

#: A loop without a trip count that has not ended by then is taken for endless.
_MOST_ROUNDS = 100_000

Arrays = Mapping[ir.Value, AnyArray]
#: Evaluates a node with the contents of all values that it and its bodies read.
Evaluate = Callable[[ir.Node, Arrays], list[AnyArray]]


def run_control_flow(node: ir.Node, arrays: Arrays, evaluate: Evaluate) -> list[AnyArray]:
    """Outputs of an If, Loop or Scan.

    Raises:
        EdgecompError: INPUT_MISMATCH where the data choose what the model was not built for: a
            branch that does not fit its shapes, more rounds than its results have room for.
    """
    if node.op_type == "If":
        name = "then_branch" if _scalar(node.inputs[0], arrays) else "else_branch"
        if node.metadata_props.get(IMPOSSIBLE_KEY) == name:
            raise _mismatch(node, f"the data choose the {name}, which does not fit the shapes")
        return _run_graph(node.attributes[name].as_graph(), arrays, evaluate)
    return _run_rounds(loop_form(node), arrays, evaluate)


def _run_graph(graph: ir.Graph, arrays: Arrays, evaluate: Evaluate) -> list[AnyArray]:
    inside: collections.ChainMap[ir.Value, AnyArray] = collections.ChainMap({}, arrays)  # type: ignore[arg-type]
    for node in graph:
        inside.update(zip(node.outputs, evaluate(node, inside), strict=True))
    return [_contents(value, inside) for value in graph.outputs]


def _run_rounds(form: LoopForm, arrays: Arrays, evaluate: Evaluate) -> list[AnyArray]:
    states = [_contents(value, arrays) for value in form.states]
    rows: list[list[AnyArray]] = [[] for _ in form.rows]
    limit = scanned_rounds(form)
    if form.limit is not None:
        limit = int(_scalar(form.limit, arrays))
    goes_on = form.start is None or bool(_scalar(form.start, arrays))
    done = 0
    while goes_on and (limit is None or done < limit):
        if limit is None and done == _MOST_ROUNDS:
            raise _mismatch(form.node, f"the loop did not end after {done} rounds")
        bound: dict[ir.Value, AnyArray] = dict(zip(form.carried, states, strict=True))
        for value, contents in zip(form.head, (np.int64(done), np.bool_(True)), strict=False):
            bound[value] = np.full(static_shape(value) or (), contents)
        for part, (value, axis, reverse) in zip(form.parts, form.slices, strict=True):
            whole = _contents(value, arrays)
            at = whole.shape[axis] - 1 - done if reverse else done
            bound[part] = np.take(whole, at, axis)
        found = _run_graph(form.body, collections.ChainMap(bound, arrays), evaluate)  # type: ignore[arg-type]
        if form.has_condition:
            goes_on = bool(found.pop(0).reshape(-1)[0])
        states, done = found[: len(states)], done + 1
        for row, array in zip(rows, found[len(states) :], strict=True):
            row.append(array)
    joined = [_joined(form, number, row) for number, row in enumerate(rows)]
    results = [*states, *joined]
    return [
        array if value.name else np.zeros(0)
        for value, array in zip(form.node.outputs, results, strict=False)
    ]


def _joined(form: LoopForm, number: int, rows: list[AnyArray]) -> AnyArray:
    """The parts as one array, 0 where the shape of the result has more."""
    axis, reverse = form.rows[number]
    index = len(form.states) + number
    result = form.node.outputs[index] if index < len(form.node.outputs) else None
    shape = static_shape(result)
    if shape is None:
        return np.stack(rows[::-1] if reverse else rows, axis) if rows else np.zeros(0)
    if len(rows) > shape[axis]:
        raise _mismatch(form.node, f"the data ask for {len(rows)} rounds, not {shape[axis]}")
    dtype: Any = result.dtype.numpy() if result is not None and result.dtype else np.float32
    whole = np.zeros(shape, dtype)
    parts = np.moveaxis(whole, axis, 0)
    for at, row in enumerate(rows):
        parts[len(parts) - 1 - at if reverse else at] = row
    return whole


def _contents(value: ir.Value, arrays: Arrays) -> AnyArray:
    array = arrays.get(value)
    if array is None:
        array = constant_array(value)
    assert array is not None, f"{value.name} is computed by no node"
    return array


def _scalar(value: ir.Value | None, arrays: Arrays) -> Any:
    assert value is not None
    return _contents(value, arrays).reshape(-1)[0]


def _mismatch(node: ir.Node, cause: str) -> EdgecompError:
    return EdgecompError(
        Code.INPUT_MISMATCH, cause, node=node.name or "", source=source_of(node)
    )
