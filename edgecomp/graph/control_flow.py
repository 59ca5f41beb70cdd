"""Shapes of If, Loop and Scan from their bodies; loops of few rounds become straight code.

    Scan over 3 steps (body)   =>   Gather 0, body, Gather 1, body, Gather 2, body, Concat

A body is swept like the main graph once the shapes of what it reads are known. What a loop
carries from round to round must keep its shape, since a body is compiled once; where it does not,
the loop has to be written out (``unroll``), which needs a known number of rounds.
"""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.bodies import IMPOSSIBLE_KEY, discard, possible_bodies
from edgecomp.graph.constants import new_initializer
from edgecomp.graph.loop_form import LoopForm, condition_of, loop_form, rounds_of
from edgecomp.graph.shapes import merge_shape, merge_type, shape_conflict, static_shape
from edgecomp.graph.unroll import Rounds, unroll

logger = logging.getLogger(__name__)

#: A loop is written out where that makes at most this many nodes: each is a kernel call, but
#: kernels of equal shapes are shared, and slices of constants and first rounds fold away.
UNROLLED_NODES = 192
#: The same for loops whose values change their shapes, which cannot run otherwise.
MOST_UNROLLED_NODES = 4096

_KEEP_SHAPES = (
    "keep the shape of what a loop carries, or make its trip count and its condition constants: "
    "then it is written out"
)
_DECLARE_SHAPE = (
    "make the trip count and the condition constants, or declare the shape of '{}' in the model: "
    "its first dimension bounds the rounds, and rows of rounds that do not run are 0"
)

Sweep = Callable[[ir.Graph], None]
#: Whether the shape that a model declares of a value has to be the true one.
Binds = Callable[[ir.Value], bool]


def settle(node: ir.Node, sweep: Sweep, binds: Binds) -> list[ir.Node] | None:
    """Sweep the bodies of a control-flow node and infer its outputs.

    Args:
        node: If, Loop or Scan in a graph, with the types of what it reads known; an If whose
            condition is not known.
        sweep: infers and folds a graph.
        binds: of the node's outputs, as of ``infer_node``.

    Returns:
        Nodes that took its place and are yet to be swept, None where it stays.

    Raises:
        EdgecompError: SHAPE_CONFLICT.
    """
    if node.op_type == "If":
        _settle_branches(node, sweep, binds)
        return None
    form = loop_form(node)
    _set_input_types(form)
    trial, is_stable = _swept_body(form, sweep)
    goes_on = condition_of(trial) if form.has_condition else True
    rounds = rounds_of(form, goes_on)
    nodes = sum(1 for _ in ir.traversal.RecursiveGraphIterator(trial))
    limit = UNROLLED_NODES if is_stable else MOST_UNROLLED_NODES
    if rounds is not None and (rounds <= 1 or rounds * nodes <= limit):
        body = trial if is_stable else form.body
        discarded = form.body if is_stable else trial
        made = unroll(node, _written_out(form, body, rounds, trial))
        discard(discarded)
        return made
    if is_stable:
        discard(form.body)
        node.attributes["body"] = ir.AttrGraph("body", trial)
        _set_output_types(loop_form(node), rounds, binds)
    else:
        discard(trial)
    return None


def refusal(node: ir.Node) -> tuple[str, str]:
    """Why a control-flow node has results of unknown shape, and what its user can do."""
    if node.op_type == "If":
        branches = possible_bodies(node)
        for a, b, value in zip(
            branches[0].outputs, branches[-1].outputs, node.outputs, strict=False
        ):
            if a.shape != b.shape or static_shape(a) is None:
                return (
                    f"the branches of If give '{value.name}' the shapes {a.shape} and {b.shape}",
                    "pad both to one shape, or make the condition a constant",
                )
        return (
            "a branch of If gives a result of unknown shape",
            "make the condition a constant",
        )
    form = loop_form(node)
    for before, after in zip(form.carried, form.next_states, strict=True):
        if static_shape(after) is None or static_shape(before) != static_shape(after):
            shapes = f"{before.shape or '?'} becomes {after.shape or '?'}"
            return (
                f"'{before.name}' has another shape after a round of {node.op_type}: {shapes}",
                _KEEP_SHAPES,
            )
    row = node.outputs[len(form.states)].name if len(node.outputs) > len(form.states) else ""
    cause = f"the number of rounds of {node.op_type} depends on the data: '{row}' has no known size"
    return cause, _DECLARE_SHAPE.format(row)


def _settle_branches(node: ir.Node, sweep: Sweep, binds: Binds) -> None:
    """Sweep both branches; one that does not fit the shapes is marked and left as it is."""
    for name in ("then_branch", "else_branch"):
        if node.metadata_props.get(IMPOSSIBLE_KEY) != name:
            _settle_branch(node, name, sweep)
    branches = possible_bodies(node)
    for value, a, b in zip(
        node.outputs, branches[0].outputs, branches[-1].outputs, strict=False
    ):
        if a.dtype != b.dtype:
            raise shape_conflict(
                node,
                f"the branches of If give '{value.name}' the types {a.type} and {b.type}",
                "cast the result of one branch",
            )
        merge_type(node, value, a.type)
        if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
            continue
        joined = [x if x == y else None for x, y in zip(a.shape, b.shape, strict=True)]
        _take_shape(node, value, ir.Shape(joined), binds)


def _settle_branch(node: ir.Node, name: str, sweep: Sweep) -> None:
    branch = node.attributes[name].as_graph()
    copy = branch.clone(allow_outer_scope_values=True)
    try:
        sweep(copy)
    except EdgecompError as error:
        discard(copy)
        if error.code is not Code.SHAPE_CONFLICT or IMPOSSIBLE_KEY in node.metadata_props:
            raise
        node.metadata_props[IMPOSSIBLE_KEY] = name
        logger.warning(
            "If '%s': %s cannot run with these shapes, inputs that choose it will be refused: %s",
            node.name,
            name,
            error.cause,
        )
        return
    discard(branch)
    node.attributes[name] = ir.AttrGraph(name, copy)


def _take_shape(node: ir.Node, value: ir.Value, shape: ir.Shape, binds: Binds) -> None:
    """What bodies say counts more than what a file declares without knowing the inputs."""
    if value.shape is not None and len(value.shape) != len(shape):
        value.shape = None
    merge_shape(node, value, shape, binds=binds(value))


def _set_input_types(form: LoopForm) -> None:
    for value, dtype in zip(form.head, (ir.DataType.INT64, ir.DataType.BOOL), strict=False):
        value.type = ir.TensorType(dtype)
        if value.shape is None or not value.shape.is_static():
            value.shape = ir.Shape([])
    for value, given in zip(form.carried, form.states, strict=True):
        value.type, value.shape = given.type, given.shape
    for value, (given, axis, _) in zip(form.parts, form.slices, strict=True):
        value.type = given.type
        value.shape = None
        if given.shape is not None:
            value.shape = ir.Shape([d for k, d in enumerate(given.shape) if k != axis])


def _swept_body(form: LoopForm, sweep: Sweep) -> tuple[ir.Graph, bool]:
    """A swept copy of the body, and whether what is carried keeps its shape.

    Where it does not, the copy is swept again with the dimensions that change unknown.
    """
    copies: list[ir.Graph] = []
    shapes = [value.shape for value in form.carried]
    for _ in range(2):
        copy = form.body.clone(allow_outer_scope_values=True)
        copies.append(copy)
        own = dataclasses.replace(form, body=copy, head=list(copy.inputs)[: len(form.head)])
        for value, shape in zip(own.carried, shapes, strict=True):
            value.shape = shape
        if form.has_condition:
            # A round only begins where the condition holds.
            array = np.ones(own.head[1].shape.numpy(), np.bool_)  # type: ignore[union-attr]
            holds = new_initializer(copy, f"{own.head[1].name}_holds", array)
            own.head[1].replace_all_uses_with(holds, replace_graph_outputs=True)
        _forget_output_shapes(own)
        sweep(copy)
        after = [value.shape for value in own.next_states]
        if [_extents(s) for s in shapes] == [_extents(s) for s in after]:
            break
        shapes = [_common(one, other) for one, other in zip(shapes, after, strict=True)]
    for copy in copies[:-1]:
        discard(copy)
    return copies[-1], len(copies) == 1


def _forget_output_shapes(form: LoopForm) -> None:
    """Declared shapes of what is carried say nothing about the inputs that are given now."""
    for value in form.next_states:
        maker = value.producer()
        if maker is not None and maker.graph is form.body:
            value.shape = None


def _extents(shape: ir.Shape | None) -> list[object] | None:
    if shape is None:
        return None
    return [dim if isinstance(dim, int) else str(dim) for dim in shape]


def _common(one: ir.Shape | None, other: ir.Shape | None) -> ir.Shape | None:
    if one is None or other is None or len(one) != len(other):
        return None
    return ir.Shape([a if a == b else None for a, b in zip(one, other, strict=True)])


def _written_out(form: LoopForm, body: ir.Graph, count: int, trial: ir.Graph) -> Rounds:
    return Rounds(
        body,
        count,
        form.states,
        form.slices,
        head=[tuple(v.shape.numpy()) for v in form.head],  # type: ignore[union-attr]
        first_state=int(form.has_condition),
        rows=form.rows,
        row_types=[
            (v.dtype, static_shape(v))
            for v in list(trial.outputs)[int(form.has_condition) + len(form.states) :]
        ],
    )


def _set_output_types(form: LoopForm, rounds: int | None, binds: Binds) -> None:
    node, states = form.node, len(form.states)
    for value, after in zip(node.outputs[:states], form.next_states, strict=False):
        merge_type(node, value, after.type)
        if after.shape is not None:
            _take_shape(node, value, after.shape, binds)
    for value, row, (axis, _) in zip(
        node.outputs[states:], form.row_values, form.rows, strict=False
    ):
        merge_type(node, value, row.type)
        if row.shape is None:
            continue
        extents: list[Any] = [*row.shape]
        declared = value.shape
        has_bound = rounds is None and declared is not None and len(declared) > len(extents)
        # A bound of the rounds stays where other extents that are declared do not.
        extents.insert(axis, declared[axis] if has_bound and declared is not None else rounds)
        _take_shape(node, value, ir.Shape(extents), binds)
