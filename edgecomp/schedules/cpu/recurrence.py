"""Recurrent nets step by step: a product of the state with a matrix, then the cell's equations.

A work item is one sequence in one direction; its steps follow each other. The state and the
gates are in the thread's workspace, each padded to whole vectors, so that nothing has a tail but
what comes in and goes out.
"""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.recurrence import Recurrence
from edgecomp.plan.sizes import Dimension, largest
from edgecomp.plan.values import Array, Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    Kernel,
    KernelBuilder,
    constant,
    load,
    ramp,
    splat,
)
from edgecomp.schedules.cpu import recurrent_cells
from edgecomp.schedules.cpu.epilogue import vector_dtype
from edgecomp.schedules.cpu.functions import refusal
from edgecomp.schedules.cpu.recurrent_cells import Places, State
from edgecomp.schedules.cpu.rows import Row
from edgecomp.schedules.cpu.tiles import Split
from edgecomp.schedules.schedule import Constant, Dynamic, KernelCall

NAME = "recurrence_f32"
#: Accumulators of a block of columns: they hide the latency of a multiply-add.
_BLOCK_VECTORS = 8
#: Elements of the state in one round of the product's loop.
_UNROLL = 4


def match(operation: Operation, target: Target) -> str:
    """float32, the recurrence's matrix perhaps stored in 8 bits."""
    del target
    kind = operation.kind
    if not isinstance(kind, Recurrence):
        return "not a recurrent net"
    reasons = [refusal(activation) for own in kind.activations for activation in own]
    return next((reason for reason in reasons if reason), "")


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    return [RecurrenceKernel(operation, target).call()]


class RecurrenceKernel:
    """Builds the kernel of one operation, whose steps and batch may differ from run to run."""

    def __init__(self, operation: Operation, target: Target) -> None:
        kind = operation.kind
        assert isinstance(kind, Recurrence)
        self.kind = kind
        self.operation = operation
        x, recurrence, *extras = operation.inputs
        self.directions = len(kind.reverse)
        #: Dimensions, and what the kernel takes for them.
        self.extents = x.shape[1::-1] if kind.batch_first else x.shape[:2]
        self.items: Dimension = self.extents[1] * self.directions
        self.lanes = target.lanes(32)
        while kind.padded_hidden % self.lanes:
            self.lanes //= 2
        self.builder = KernelBuilder(target.core.isa)
        self.steps, self.batch = map(self.builder.size, self.extents)
        self.places = Places(kind)
        #: Column ranges, in gates, whose product is computed together.
        self.parts = recurrent_cells.parts(kind)
        #: A constant matrix is packed in reading order; another one is read where it is.
        self.packed = recurrence.constant is not None
        matrix: Value | Constant = recurrence
        if recurrence.constant is not None:
            matrix = Constant(f"{recurrence.name}.packed", self._pack(recurrence.constant))
        self.arguments: list[Value | Constant] = [x, matrix, *extras]
        self.x = self.builder.pointer("x", "float32", largest(x.elements))
        self.matrix = self.builder.pointer(
            "recurrence",
            recurrence.dtype,
            self.directions * kind.hidden * kind.gates * kind.padded_hidden,
        )
        self.extras: dict[str, Buffer] = {
            name: self.builder.pointer(name, *_type_of(argument))
            for name, argument in zip(kind.extras, self.arguments[2:], strict=True)
        }
        self.results: dict[str, Buffer] = {
            name: self.builder.pointer(f"out_{name}", "float32", largest(value.elements))
            for name, value in zip(kind.results, operation.outputs, strict=True)
        }
        self.workspace = self.builder.pointer("workspace", "float32", self.places.elements)

    def call(self) -> KernelCall:
        """The kernel and its call."""
        kernel = self.emit()
        steps, items = largest(self.extents[0]), largest(self.items)
        sizes = self.builder.sizes
        return KernelCall(
            kernel,
            (*self.arguments, *self.operation.outputs),
            work_items=items,
            workspace_bytes=4 * self.places.elements,
            multiply_adds=items * steps * self.kind.gates * self.kind.hidden**2,
            dynamic=Dynamic(self.items, sizes=sizes) if sizes else None,
        )

    def emit(self) -> Kernel:
        """All directions."""
        builder = self.builder
        with builder.loop("item", builder.lo, builder.hi) as item:
            which = builder.let("direction", tirx.floordiv(item, self.batch))
            sequence = builder.let("sequence", tirx.floormod(item, self.batch))
            for direction in range(self.directions):
                alone = self.directions == 1
                with builder.condition(None if alone else tirx.EQ(which, direction)):
                    self._sequence(direction, sequence)
        return builder.finish(f"recurrence_{self.kind.cell}")

    def _sequence(self, direction: int, sequence: Expr) -> None:
        """All steps of one sequence."""
        builder, kind = self.builder, self.kind
        state_at = builder.let("state_at", self._state_index(direction, sequence))
        self._begin("initial_h", self.places.h, state_at)
        if kind.cell == "lstm":
            self._begin("initial_c", self.places.c, state_at)
        length: Expr = self.steps
        if "lengths" in self.extras:
            # Reversed steps count from it: a greater one must not reach other memory.
            given = load(self.extras["lengths"], sequence)
            length = builder.let("length", tirx.Min(given, self.steps))
        with builder.loop("step", 0, self.steps) as step:
            inside = step < length if "lengths" in self.extras else None
            with builder.condition(inside):
                time = length - 1 - step if kind.reverse[direction] else step
                time = builder.let("time", time)
                self._step(direction, sequence, time)
                self._store("y", self.places.h, self._output_index(direction, sequence, time))
            if inside is not None and "y" in self.results:
                with builder.condition(step >= length):
                    self._clear(self._output_index(direction, sequence, step))
        self._store("h", self.places.h, state_at)
        self._store("c", self.places.c, state_at)

    def _step(self, direction: int, sequence: Expr, time: Expr) -> None:
        """Products, then the cell's equations; a GRU may need a product between them."""
        kind = self.kind
        row = (
            sequence * self.steps + time if kind.batch_first else time * self.batch + sequence
        )
        width = kind.gates * kind.padded_hidden
        x_at = self.builder.let("x_at", (row * self.directions + direction) * width)
        state = State(
            self.builder,
            self.workspace,
            kind,
            direction,
            self.places,
            self.lanes,
            self.extras,
        )
        for part in self.parts:
            recurrent_cells.before(state, part)
            self._product(direction, part, x_at)
        recurrent_cells.after(state, self.x, x_at)

    def _product(self, direction: int, part: recurrent_cells.Part, x_at: Expr) -> None:
        """gates[part] = start + state @ matrix[part]."""
        builder, kind, lanes = self.builder, self.kind, self.lanes
        per_gate = kind.padded_hidden // lanes
        first_vector = part.first * per_gate
        split = Split.by_size(part.count * per_gate, _BLOCK_VECTORS)
        matrix_at = (direction * kind.gates * kind.padded_hidden) * kind.hidden
        begin = 0
        for size, count in split.classes():
            with builder.loop("block", 0, count) as block:
                vector = builder.let("vector", first_vector + begin + block * size)
                # Columns before this block: k times as many elements where they are packed.
                before = vector * lanes * (kind.hidden if self.packed else 1)
                self._block(direction, part, size, vector, x_at, matrix_at + before)
            begin += size * count

    def _block(
        self,
        direction: int,
        part: recurrent_cells.Part,
        size: int,
        vector: Expr,
        x_at: Expr,
        matrix_at: Expr,
    ) -> None:
        builder, kind, lanes = self.builder, self.kind, self.lanes
        stride = size * lanes if self.packed else kind.gates * kind.padded_hidden
        sums = builder.array("sums", "float32", size * lanes)
        scaled = "recurrence_scale" in self.extras
        matrix_at = builder.let("matrix_at", matrix_at)
        for index in range(size):
            column = (vector + index) * lanes
            start = (
                load(self.x, x_at + column, lanes)
                if part.adds_inputs and not scaled
                else constant(0.0, "float32", lanes)
            )
            builder.store(sums, ramp(index * lanes, lanes), start)

        def add(k: Expr) -> None:
            element = splat(load(self.workspace, part.source + k), lanes)
            for index in range(size):
                at = matrix_at + k * stride + index * lanes
                weight = load(self.matrix, at, lanes)
                if scaled:
                    weight = tirx.Cast(vector_dtype("float32", lanes), weight)
                product = element * weight
                builder.store(
                    sums,
                    ramp(index * lanes, lanes),
                    load(sums, index * lanes, lanes) + product,
                )

        rounds = kind.hidden // _UNROLL
        with builder.loop("k", 0, rounds) as k:
            for element in range(_UNROLL):
                add(k * _UNROLL + element)
        for element in range(rounds * _UNROLL, kind.hidden):
            add(element)
        for index in range(size):
            column = (vector + index) * lanes
            total = load(sums, index * lanes, lanes)
            if scaled:
                scale_at = direction * kind.gates * kind.padded_hidden + column
                total = total * load(self.extras["recurrence_scale"], scale_at, lanes)
                if part.adds_inputs:
                    total = total + load(self.x, x_at + column, lanes)
            builder.store(self.workspace, ramp(self.places.gates + column, lanes), total)

    def _begin(self, name: str, place: int, at: Expr) -> None:
        """A first state into the workspace; its padding stays zero."""
        builder = self.builder
        with builder.loop("vector", 0, self.kind.padded_hidden // self.lanes) as vector:
            zero = constant(0.0, "float32", self.lanes)
            builder.store(self.workspace, ramp(place + vector * self.lanes, self.lanes), zero)
        if name in self.extras:
            row = self._row()
            row.each(
                lambda i: builder.store(
                    self.workspace,
                    ramp(place + i, row.lanes),
                    load(self.extras[name], at + i, row.lanes),
                )
            )

    def _store(self, name: str, place: int, at: Expr) -> None:
        """A state out of the workspace, where somebody reads it."""
        if name not in self.results:
            return
        at = self.builder.let("to", at)
        row = self._row()
        row.each(
            lambda i: self.builder.store(
                self.results[name],
                ramp(at + i, row.lanes),
                load(self.workspace, place + i, row.lanes),
            )
        )

    def _clear(self, at: Expr) -> None:
        """Y behind the end of a sequence."""
        at = self.builder.let("to", at)
        row = self._row()
        zero = constant(0.0, "float32", row.lanes)
        row.each(
            lambda i: self.builder.store(self.results["y"], ramp(at + i, row.lanes), zero)
        )

    def _row(self) -> Row:
        return Row.of(self.builder, self.kind.hidden, self.lanes)

    def _state_index(self, direction: int, sequence: Expr) -> Expr:
        if self.kind.batch_first:
            return (sequence * self.directions + direction) * self.kind.hidden
        return (direction * self.batch + sequence) * self.kind.hidden

    def _output_index(self, direction: int, sequence: Expr, time: Expr) -> Expr:
        if self.kind.batch_first:
            row = (sequence * self.steps + time) * self.directions + direction
        else:
            row = (time * self.directions + direction) * self.batch + sequence
        return row * self.kind.hidden

    def _pack(self, recurrence: Array) -> Array:
        """[D, hidden, gates, padded] to [direction][block of columns][k][columns of the block].

        Blocks do not cross the parts, and have no tails: gates are padded.
        """
        packed = []
        for direction in recurrence:
            for part in self.parts:
                columns = direction[:, part.first : part.first + part.count]
                columns = columns.reshape(self.kind.hidden, -1)
                split = Split.by_size(columns.shape[1] // self.lanes, _BLOCK_VECTORS)
                packed += [
                    columns[:, start * self.lanes : (start + size) * self.lanes].reshape(-1)
                    for start, size in split.starts()
                ]
        return np.concatenate(packed)


def _type_of(argument: Value | Constant) -> tuple[str, int]:
    if isinstance(argument, Constant):
        return argument.array.dtype.name, argument.array.size
    return argument.dtype, largest(argument.elements)
