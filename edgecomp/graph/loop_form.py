"""Loop and Scan read in one form, and what is known about their rounds."""

import dataclasses

import onnx_ir as ir

from edgecomp.graph.constants import constant_array
from edgecomp.graph.shapes import static_shape


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
    return rounds_of(form, condition_value(form))


def is_endless(form: LoopForm) -> bool:
    """Whether nothing in the model ends a loop."""
    start = None if form.start is None else constant_array(form.start)
    begins = form.start is None or (start is not None and bool(start.reshape(-1)[0]))
    return (
        form.has_condition
        and form.limit is None
        and begins
        and condition_of(form.body) is True
    )


def may_not_end(model: ir.Model) -> bool:
    """Whether a loop's number of rounds depends on the data, so that random data may not end it."""
    return any(
        node.op_type == "Loop" and fixed_rounds(loop_form(node)) is None
        for node in ir.traversal.RecursiveGraphIterator(model.graph)
        if node.domain == ""
    )


def condition_value(form: LoopForm) -> bool | None:
    """What a body says about the next round if it always says the same, else None."""
    return condition_of(form.body) if form.has_condition else True


def is_passed_on(form: LoopForm, value: ir.Value) -> bool:
    """Whether a carried input of the body comes out as it went in."""
    after: ir.Value | None = form.next_states[form.carried.index(value)]
    while after is not None and after is not value:
        node = after.producer()
        after = node.inputs[0] if node is not None and node.op_type == "Identity" else None
    return after is value


def _listed(node: ir.Node, name: str, index: int) -> int:
    attribute = node.attributes.get(name)
    return 0 if attribute is None else int(attribute.as_ints()[index])


def condition_of(body: ir.Graph) -> bool | None:
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


def rounds_of(form: LoopForm, goes_on: bool | None) -> int | None:
    """The number of rounds, None where it depends on the data.

    Args:
        form: the loop.
        goes_on: what its body says about the next round if that is always the same.
    """
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
