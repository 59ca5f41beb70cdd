"""Shapes of If, Loop and Scan from their bodies; loops of few rounds become straight code.

    Scan over 3 steps (body)   =>   Gather 0, body, Gather 1, body, Gather 2, body, Concat

A body is swept like the main graph once the shapes of what it reads are known. What a loop
carries from round to round must keep its shape, since a body is compiled once; where it does not,
the loop has to be written out (``unroll``), which needs a known number of rounds.
"""

import dataclasses
import logging
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.bodies import IMPOSSIBLE_KEY, discard, possible_bodies
from edgecomp.graph.constants import constant_array, new_initializer
from edgecomp.graph.shapes import merge_shape, merge_type, shape_conflict, static_shape
from edgecomp.graph.unroll import Rounds, unroll

logger = logging.getLogger(__name__)

#: A loop is written out where that makes at most this many nodes: each is a kernel call, but
#: kernels of equal shapes are shared, and slices of constants and first rounds fold away.
UNROLLED_NODES = 192
#: The same for loops whose values change their shapes, which cannot run otherwise.
MOST_UNROLLED_NODES = 4096

Sweep = Callable[[ir.Graph], None]


def settle(node: ir.Node, sweep: Sweep) -> list[ir.Node] | None:
    """Sweep the bodies of a control-flow node and infer its outputs.

    Args:
        node: If, Loop or Scan in a graph, with the types of what it reads known; an If whose
            condition is not known.
        sweep: infers and folds a graph.

    Returns:
        Nodes that took its place and are yet to be swept, None where it stays.

    Raises:
        EdgecompError: SHAPE_CONFLICT.
    """
    if node.op_type == "If":
        _settle_branches(node, sweep)
        return None
    form = loop_form(node)
    _set_input_types(form)
    trial, is_stable = _swept_body(form, sweep)
    goes_on = _goes_on(trial) if form.has_condition else True
    rounds = _rounds(form, goes_on)
    nodes = sum(1 for _ in ir.traversal.RecursiveGraphIterator(trial))
    limit = UNROLLED_NODES if is_stable else MOST_UNROLLED_NODES
    if rounds is not None and (rounds <= 1 or rounds * nodes <= limit):
        body = trial if is_stable else form.body
        discarded = form.body if is_stable else trial
        made = unroll(node, _rounds_of(form, body, rounds, trial))
        discard(discarded)
        return made
    if is_stable:
        discard(form.body)
        node.attributes["body"] = ir.AttrGraph("body", trial)
        _set_output_types(loop_form(node), rounds)
    else:
        discard(trial)
    return None


@dataclasses.dataclass(frozen=True)
class LoopForm:
    """Loop and Scan in one form.

    Attributes:
        node: the node.
        body: its graph.
        limit: input with the number of rounds at most, or None.
        start: input with the first condition, or None.
        states: inputs with the first contents of what is carried.
        slices: inputs of which each round reads one part; their axes and whether from the end.
        head: inputs of the body before what is carried: number of the round and condition.
        has_condition: whether the first output of the body decides about the next round.
        rows: (axis, whether from the end) for each output that gets a part in each round.
    """

    node: ir.Node
    body: ir.Graph
    limit: ir.Value | None
    start: ir.Value | None
    states: list[ir.Value]
    slices: list[tuple[ir.Value, int, bool]]
    head: list[ir.Value]
    has_condition: bool
    rows: list[tuple[int, bool]]

    @property
    def carried(self) -> list[ir.Value]:
        """Inputs of the body with what is carried."""
        first = len(self.head)
        return list(self.body.inputs)[first : first + len(self.states)]

    @property
    def parts(self) -> list[ir.Value]:
        """Inputs of the body with the parts of ``slices``."""
        return list(self.body.inputs)[len(self.head) + len(self.states) :]

    @property
    def next_states(self) -> list[ir.Value]:
        """Outputs of the body with what is carried on."""
        first = int(self.has_condition)
        return list(self.body.outputs)[first : first + len(self.states)]

    @property
    def row_values(self) -> list[ir.Value]:
        """Outputs of the body for ``rows``."""
        return list(self.body.outputs)[int(self.has_condition) + len(self.states) :]


def loop_form(node: ir.Node) -> LoopForm:
    """Read a Loop, or a Scan of opset 9 or later."""
    body = node.attributes["body"].as_graph()
    if node.op_type == "Loop":
        states = [value for value in node.inputs[2:] if value is not None]
        rows = len(body.outputs) - 1 - len(states)
        head = list(body.inputs)[:2]
        return LoopForm(
            node, body, node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None,
            states, [], head, True, [(0, False)] * rows,
        )  # fmt: skip
    parts = node.attributes["num_scan_inputs"].as_int()
    given = [value for value in node.inputs if value is not None]
    states, scanned = given[: len(given) - parts], given[len(given) - parts :]
    rows = len(body.outputs) - len(states)
    slices = []
    for index, value in enumerate(scanned):
        rank = len(value.shape) if value.shape is not None else 1
        axis = _listed(node, "scan_input_axes", index)
        reverse = bool(_listed(node, "scan_input_directions", index))
        slices.append((value, axis % rank, reverse))
    kept = []
    for index in range(rows):
        value = body.outputs[len(states) + index]
        rank = len(value.shape) + 1 if value.shape is not None else 1
        axis = _listed(node, "scan_output_axes", index)
        kept.append((axis % rank, bool(_listed(node, "scan_output_directions", index))))
    return LoopForm(node, body, None, None, states, slices, [], False, kept)


def scanned_rounds(form: LoopForm) -> int | None:
    """How many parts the slices of a Scan have, None where that is not known."""
    for value, axis, _ in form.slices:
        shape = static_shape(value)
        if shape is not None:
            return shape[axis]
    return None


def fixed_rounds(form: LoopForm) -> int | None:
    """The number of rounds, None where it depends on the data."""
    goes_on = _goes_on(form.body) if form.has_condition else True
    return _rounds(form, goes_on)


def is_endless(form: LoopForm) -> bool:
    """Whether nothing in the model ends a loop."""
    start = None if form.start is None else constant_array(form.start)
    begins = form.start is None or (start is not None and bool(start.reshape(-1)[0]))
    return form.has_condition and form.limit is None and begins and _goes_on(form.body) is True


def may_not_end(model: ir.Model) -> bool:
    """Whether a loop's number of rounds depends on the data, so that random data may not end it."""
    return any(
        node.op_type == "Loop" and fixed_rounds(loop_form(node)) is None
        for node in ir.traversal.RecursiveGraphIterator(model.graph)
        if node.domain == ""
    )


def condition_value(form: LoopForm) -> bool | None:
    """What a body says about the next round if it always says the same, else None."""
    return _goes_on(form.body) if form.has_condition else True


def is_passed_on(form: LoopForm, value: ir.Value) -> bool:
    """Whether a carried input of the body comes out as it went in."""
    after: ir.Value | None = form.next_states[form.carried.index(value)]
    while after is not None and after is not value:
        node = after.producer()
        after = node.inputs[0] if node is not None and node.op_type == "Identity" else None
    return after is value


def refusal(node: ir.Node) -> tuple[str, str]:
    """Why a control-flow node has results of unknown shape, and what its user can do."""
    if node.op_type == "If":
        branches = possible_bodies(node)
        for a, b, value in zip(branches[0].outputs, branches[-1].outputs, node.outputs):
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
            return (
                f"'{before.name}' has another shape after a round of {node.op_type}: "
                f"{before.shape or '?'} becomes {after.shape or '?'}",
                "keep the shape of what a loop carries, or make its trip count and its "
                "condition constants: then it is written out",
            )
    row = node.outputs[len(form.states)].name if len(node.outputs) > len(form.states) else ""
    return (
        f"the number of rounds of {node.op_type} depends on the data, so that '{row}' has no "
        "known size",
        f"make the trip count and the condition constants, or declare the shape of '{row}' in "
        "the model: its first dimension bounds the rounds, and rows of rounds that do not run "
        "are 0",
    )


def _listed(node: ir.Node, name: str, index: int) -> int:
    attribute = node.attributes.get(name)
    return 0 if attribute is None else int(attribute.as_ints()[index])


def _settle_branches(node: ir.Node, sweep: Sweep) -> None:
    """Sweep both branches; one that does not fit the shapes is marked and left as it is."""
    for name in ("then_branch", "else_branch"):
        if node.metadata_props.get(IMPOSSIBLE_KEY) != name:
            _settle_branch(node, name, sweep)
    branches = possible_bodies(node)
    for value, a, b in zip(node.outputs, branches[0].outputs, branches[-1].outputs):
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
        _take_shape(node, value, ir.Shape(joined))


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


def _take_shape(node: ir.Node, value: ir.Value, shape: ir.Shape) -> None:
    """What bodies say counts more than what a file declares without knowing the inputs."""
    if value.shape is not None and len(value.shape) != len(shape):
        value.shape = None
    merge_shape(node, value, shape)


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
        if value.producer() is not None and value.producer().graph is form.body:  # type: ignore[union-attr]
            value.shape = None


def _extents(shape: ir.Shape | None) -> list[object] | None:
    if shape is None:
        return None
    return [dim if isinstance(dim, int) else str(dim) for dim in shape]


def _common(one: ir.Shape | None, other: ir.Shape | None) -> ir.Shape | None:
    if one is None or other is None or len(one) != len(other):
        return None
    return ir.Shape([a if a == b else None for a, b in zip(one, other, strict=True)])


def _goes_on(body: ir.Graph) -> bool | None:
    """The condition that a body returns if it is always the same, else None."""
    value = body.outputs[0]
    while True:
        array = constant_array(value)
        if array is not None:
            return bool(array.reshape(-1)[0])
        node = value.producer()
        if node is None or node.op_type != "Identity" or node.inputs[0] is None:
            return None
        value = node.inputs[0]


def _rounds(form: LoopForm, goes_on: bool | None) -> int | None:
    if not form.has_condition:
        return scanned_rounds(form)
    start = constant_array(form.start)
    if start is not None and not start.reshape(-1)[0]:
        return 0
    limit = constant_array(form.limit)
    most = None if limit is None else max(0, int(limit.reshape(-1)[0]))
    if most == 0:
        return 0
    if form.start is not None and start is None:
        return None
    if goes_on is False:
        return None if form.limit is not None and limit is None else 1
    return most if goes_on is True else None


def _rounds_of(form: LoopForm, body: ir.Graph, count: int, trial: ir.Graph) -> Rounds:
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


def _set_output_types(form: LoopForm, rounds: int | None) -> None:
    node, states = form.node, len(form.states)
    for value, after in zip(node.outputs[:states], form.next_states, strict=False):
        merge_type(node, value, after.type)
        if after.shape is not None:
            _take_shape(node, value, after.shape)
    for value, row, (axis, _) in zip(
        node.outputs[states:], form.row_values, form.rows, strict=False
    ):
        merge_type(node, value, row.type)
        if row.shape is None:
            continue
        extents = [*row.shape]
        extents.insert(axis, rounds)  # type: ignore[arg-type]
        _take_shape(node, value, ir.Shape(extents))
