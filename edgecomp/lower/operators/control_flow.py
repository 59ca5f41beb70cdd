"""If, Loop and Scan: their bodies become programs inside an operation."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.graph.bodies import IMPOSSIBLE_KEY, captured_values
from edgecomp.graph.constants import is_constant
from edgecomp.graph.loop_form import (
    LoopForm,
    condition_value,
    fixed_rounds,
    is_endless,
    is_passed_on,
    loop_form,
)
from edgecomp.graph.uses import is_used
from edgecomp.lower.reader import Reader, static_type
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.movement import Fill, Gather, Reinterpret, StorePart
from edgecomp.plan.operations import Branch, Loop, Program
from edgecomp.plan.values import Value

#: Rounds of a loop that needs no memory for each.
_UNBOUNDED = 2**63 - 1


class _Body:
    """A body in reading: values around it that it reads get stand-ins inside.

    Attributes:
        reader: of the body.
        stand_ins: inside, one for each of ``read``.
        read: values of the program around it.
    """

    def __init__(self, outer: Reader) -> None:
        self.outer = outer
        self.reader = outer.for_body()
        self.stand_ins: list[Value] = []
        self.read: list[Value] = []
        self._known: dict[Value, Value] = {}

    @property
    def program(self) -> Program:
        """What was read so far."""
        return self.reader.program

    def let_in(self, source: ir.Value) -> Value:
        """The stand-in of a value of the graph around, or the constant that it is."""
        value = self.outer.value(source)
        if value.constant is not None:
            return value
        if value not in self._known:
            inside = self.reader.new_value(value.name, value.shape, value.dtype)
            self._known[value] = inside
            self.stand_ins.append(inside)
            self.read.append(value)
        return self._known[value]

    def capture(self, graph: ir.Graph) -> None:
        """Let in all that a body reads, apart from constants, which it reads itself."""
        for source in captured_values(graph):
            if not is_constant(source):
                self.reader.bind(source, self.let_in(source))


def read_if(reader: Reader, node: ir.Node) -> str:
    """If whose condition is known only at run time."""
    bodies: list[_Body | None] = []
    for name in ("then_branch", "else_branch"):
        if node.metadata_props.get(IMPOSSIBLE_KEY) == name:
            bodies.append(None)
            continue
        graph = node.attributes[name].as_graph()
        body = _Body(reader)
        body.capture(graph)
        reader.read_nodes(body.reader, graph)
        body.program.outputs = [body.reader.value(value) for value in graph.outputs]
        bodies.append(body)
    read = list(dict.fromkeys(value for body in bodies if body for value in body.read))
    then, otherwise = (_with_inputs(body, read) if body else None for body in bodies)
    outputs = [_value(reader, value) for value in node.outputs]
    inputs = [reader.input(node, 0), *read]
    reader.emit(Branch((then, otherwise)), inputs, outputs, [node])
    return ""


def _with_inputs(body: _Body, read: Sequence[Value]) -> Program:
    """The program with one input for each value that one of the branches reads."""
    own = dict(zip(body.read, body.stand_ins, strict=True))
    body.program.inputs = [
        own.get(value) or body.reader.new_value(value.name, value.shape, value.dtype)
        for value in read
    ]
    return body.program


def read_loop(reader: Reader, node: ir.Node) -> str:
    """Loop, or Scan of opset 9 or later, that is not written out."""
    form = loop_form(node)
    if is_endless(form):
        return "nothing in the model ends this loop"
    rounds = _Rounds(reader, form)
    rounds.begin()
    reader.read_nodes(rounds.reader, form.body)
    rounds.end()
    if rounds.outputs:
        reader.emit(rounds.kind(), rounds.inputs(), rounds.outputs, [node])
    return ""


class _Rounds(_Body):
    """The body of a loop in reading.

    Attributes:
        carried: inside, what passes from round to round.
        first: its first contents, outside.
        outputs: of the operation.
    """

    def __init__(self, outer: Reader, form: LoopForm) -> None:
        super().__init__(outer)
        self.form = form
        self.node = form.node
        self.carried: list[Value] = []
        self.first: list[Value] = []
        self.outputs: list[Value] = []
        self._counter: Value | None = None
        self._most_rounds = _UNBOUNDED
        self._count = fixed_rounds(form)
        self._goes_on = self._count is not None or condition_value(form) is True

    def begin(self) -> None:
        """Everything that the body finds when a round begins."""
        self.capture(self.form.body)
        for source, first in zip(self.form.carried, self.form.states, strict=True):
            if is_passed_on(self.form, source):
                self.reader.bind(source, self.let_in(first))
                continue
            inside = self.reader.new_value(source.name or "carried", *static_type(first))
            self.reader.bind(source, inside)
            self.carried.append(inside)
            self.first.append(self.outer.value(first))
        for source, contents in zip(self.form.head, (None, np.bool_(True)), strict=False):
            if is_used(source):
                self._bind_head(source, contents)
        for source, (whole, axis, reverse) in zip(
            self.form.parts, self.form.slices, strict=True
        ):
            part = self.reader.value(source)
            if is_used(source) and part.elements:
                extent = static_type(whole)[0][axis]
                inputs = [self.let_in(whole), self._index(extent, reverse=reverse)]
                self.reader.emit(Gather(axis), inputs, [part], [self.node])

    def end(self) -> None:
        """Everything that a round leaves behind."""
        form, program = self.form, self.program
        if not self._goes_on:
            program.outputs.append(self.reader.value(form.body.outputs[0]))
        results = list(self.node.outputs) + [None] * len(form.body.outputs)
        for index, (before, after) in enumerate(
            zip(form.carried, form.next_states, strict=True)
        ):
            result = results[index]
            if not is_passed_on(form, before):
                program.outputs.append(self.reader.value(after))
                self.outputs.append(_value(self.outer, result, after))
            elif result is not None and is_used(result):
                self.outer.bind(result, self.outer.value(form.states[index]))
        for row, result, (axis, reverse) in zip(
            form.row_values, results[len(form.states) :], form.rows, strict=False
        ):
            if result is not None and is_used(result):
                self._store(row, result, axis, reverse=reverse)
        head = [] if self._counter is None else [self._counter]
        program.inputs = [*head, *self.carried, *self.stand_ins]

    def kind(self) -> Loop:
        """The operation."""
        start = self.form.start
        return Loop(
            self.program,
            len(self.carried),
            has_limit=self._limit() is not None,
            has_start=self._count is None and start is not None and not is_constant(start),
            has_next=not self._goes_on,
            has_counter=self._counter is not None,
            most_rounds=self._most_rounds,
        )

    def inputs(self) -> list[Value]:
        """Of the operation."""
        limit, kind = self._limit(), self.kind()
        start = (
            [self.outer.value(self.form.start)] if kind.has_start and self.form.start else []
        )
        return [*([limit] if limit else []), *start, *self.first, *self.read]

    def _limit(self) -> Value | None:
        if self._count is not None:
            return self.outer.new_constant("rounds", np.array(self._count, np.int64))
        return None if self.form.limit is None else self.outer.value(self.form.limit)

    def _bind_head(self, source: ir.Value, contents: np.bool_ | None) -> None:
        """The number of the round, or the condition, which holds inside."""
        shape, _ = static_type(source)
        if contents is not None:
            constant = self.reader.new_constant("holds", np.full(shape, contents))
            self.reader.bind(source, constant)
            return
        counter = self._round()
        if shape != counter.shape:
            view = self.reader.new_value(f"{counter.name}.view", shape, counter.dtype)
            self.reader.emit(Reinterpret(), [counter], [view], [self.node])
            counter = view
        self.reader.bind(source, counter)

    def _round(self) -> Value:
        if self._counter is None:
            self._counter = self.reader.new_value(f"{self.node.name}.round", (), "int64")
        return self._counter

    def _index(self, extent: int, *, reverse: bool) -> Value:
        """Position of a round's part; the extent bounds the rounds."""
        self._most_rounds = min(self._most_rounds, extent)
        if not reverse:
            return self._round()
        last = self.reader.new_constant("last", np.array(extent - 1, np.int64))
        index = self.reader.new_value(f"{self.node.name}.from_end", (), "int64")
        kind = Elementwise((Step("Sub", (0, 1), "int64"),))
        self.reader.emit(kind, [last, self._round()], [index], [self.node])
        return index

    def _store(self, row: ir.Value, result: ir.Value, axis: int, *, reverse: bool) -> None:
        """A part of a result for each round; parts of rounds that do not run are 0."""
        whole = self.outer.value(result)
        if not whole.elements:
            return
        inside = self.reader.new_value(whole.name, whole.shape, whole.dtype)
        index = self._index(whole.shape[axis], reverse=reverse)
        self.reader.emit(
            StorePart(axis), [self.reader.value(row), index], [inside], [self.node]
        )
        self.program.outputs.append(inside)
        self.outputs.append(whole)
        if self._count is None:
            self.outer.emit(Fill(0), [], [whole], [self.node])


def _value(reader: Reader, result: ir.Value | None, like: ir.Value | None = None) -> Value:
    """The program's value of a result, one of its own where nobody names it."""
    if result is not None and result.name:
        return reader.value(result)
    given = result if like is None else like
    assert given is not None
    return reader.new_value("unused", *static_type(given))


TABLE = {"If": read_if, "Loop": read_loop, "Scan": read_loop}
