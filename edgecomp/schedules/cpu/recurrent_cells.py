"""The equations of LSTM, GRU and RNN cells, vector by vector over a step's gates.

Source: ONNX operators LSTM, GRU and RNN, whose letters f, g, h the activations have here.
"""

import dataclasses
from collections.abc import Callable

from edgecomp.plan.recurrence import Recurrence
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, ramp
from edgecomp.schedules.cpu.bounds import clamp
from edgecomp.schedules.cpu.functions import apply
from edgecomp.schedules.cpu.vectors import pinned


@dataclasses.dataclass(frozen=True)
class Part:
    """Gates whose product with a state is computed together.

    Attributes:
        first: gate.
        count: gates.
        source: place of the state in the workspace.
        adds_inputs: whether sums begin with what the inputs contribute, else with zero.
    """

    first: int
    count: int
    source: int
    adds_inputs: bool


class Places:
    """Where things are in a thread's workspace, in float32 elements."""

    def __init__(self, kind: Recurrence) -> None:
        padded = kind.padded_hidden
        self.h = 0
        self.c = padded
        self.reset_h = 2 * padded
        self.gates = 3 * padded
        self.elements = (3 + kind.gates) * padded


@dataclasses.dataclass(frozen=True)
class State:
    """What the equations work on.

    Attributes:
        builder: of the kernel.
        workspace: of the thread.
        kind: the operation.
        direction: which one.
        places: in the workspace.
        lanes: of a vector.
        extras: constants of the cell, padded as the gates.
    """

    builder: KernelBuilder
    workspace: Buffer
    kind: Recurrence
    direction: int
    places: Places
    lanes: int
    extras: dict[str, Buffer]

    def at(self, place: int, element: Expr) -> Expr:
        """A vector of the workspace."""
        return load(self.workspace, place + element, self.lanes)

    def gate(self, gate: int, element: Expr) -> Expr:
        """A vector of a gate's sums."""
        return self.at(self.places.gates + gate * self.kind.padded_hidden, element)

    def put(self, place: int, element: Expr, value: Expr) -> None:
        """Store a vector into the workspace."""
        self.builder.store(self.workspace, ramp(place + element, self.lanes), value)

    def cell_constant(self, name: str, row: int, rows: int, element: Expr) -> Expr:
        """A vector of a constant [D, rows, padded]."""
        begin = (self.direction * rows + row) * self.kind.padded_hidden
        return load(self.extras[name], begin + element, self.lanes)

    def number(self, value: float) -> Expr:
        """A literal in every lane."""
        return constant(value, "float32", self.lanes)

    def activate(self, which: int, x: Expr) -> Expr:
        """f, g or h (0, 1, 2) of a gate's sum, which is bounded first."""
        if self.kind.clip is not None:
            x = clamp(x, -self.kind.clip, self.kind.clip, self.builder.isa)
        return self.function(which, x)

    def function(self, which: int, x: Expr) -> Expr:
        """f, g or h (0, 1, 2)."""
        value = apply(self.builder, self.kind.activations[self.direction][which], x)
        return pinned(self.builder, "activated", value)


def parts(kind: Recurrence) -> tuple[Part, ...]:
    """The products of a step, in order."""
    places = Places(kind)
    if kind.cell != "gru":
        return (Part(0, kind.gates, places.h, adds_inputs=True),)
    gates = Part(0, 2, places.h, adds_inputs=True)
    if kind.linear_before_reset:
        return (gates, Part(2, 1, places.h, adds_inputs=False))
    return (gates, Part(2, 1, places.reset_h, adds_inputs=True))


def before(state: State, part: Part) -> None:
    """What a product needs first: the state times the reset gate of a GRU."""
    if part.source != state.places.reset_h:
        return

    def reset(element: Expr) -> None:
        gate = state.activate(0, state.gate(1, element))
        state.put(part.source, element, gate * state.at(state.places.h, element))

    _each(state, reset)


def after(state: State, x: Buffer, x_at: Expr) -> None:
    """New states from the gates.

    Args:
        state: gates and old states.
        x: what the inputs contribute.
        x_at: its first element of this step and direction.
    """
    kind = state.kind
    if kind.cell == "lstm":
        _each(state, lambda element: _lstm(state, element))
    elif kind.cell == "gru":
        _each(state, lambda element: _gru(state, element, x, x_at))
    else:
        _each(
            state,
            lambda element: state.put(
                state.places.h, element, state.activate(0, state.gate(0, element))
            ),
        )


def _each(state: State, body: Callable[[Expr], None]) -> None:
    with state.builder.loop("vector", 0, state.kind.padded_hidden // state.lanes) as vector:
        body(vector * state.lanes)


def _lstm(state: State, element: Expr) -> None:
    kind, places = state.kind, state.places
    peepholes = "peepholes" in kind.extras
    c = pinned(state.builder, "c", state.at(places.c, element))
    entry, forget = state.gate(0, element), state.gate(2, element)
    if peepholes:
        entry = entry + state.cell_constant("peepholes", 0, 3, element) * c
        forget = forget + state.cell_constant("peepholes", 2, 3, element) * c
    entry = state.activate(0, entry)
    forget = state.number(1.0) - entry if kind.input_forget else state.activate(0, forget)
    candidate = state.activate(1, state.gate(3, element))
    c = pinned(state.builder, "c", forget * c + entry * candidate)
    state.put(places.c, element, c)
    leave = state.gate(1, element)
    if peepholes:
        leave = leave + state.cell_constant("peepholes", 1, 3, element) * c
    leave = state.activate(0, leave)
    state.put(places.h, element, leave * state.function(2, c))


def _gru(state: State, element: Expr, x: Buffer, x_at: Expr) -> None:
    kind, places = state.kind, state.places
    candidate = state.gate(2, element)
    if kind.linear_before_reset:
        reset = state.activate(0, state.gate(1, element))
        own = load(x, x_at + 2 * kind.padded_hidden + element, state.lanes)
        bias = state.cell_constant("candidate_bias", 0, 1, element)
        candidate = own + reset * (candidate + bias)
    update = state.activate(0, state.gate(0, element))
    candidate = state.activate(1, candidate)
    h = state.at(places.h, element)
    state.put(places.h, element, (state.number(1.0) - update) * candidate + update * h)
