"""The loops of a reduction over one set of outputs, in vectors.

Sums run in several accumulators, which hides the latency of an addition, and in none for much
longer than ``CHUNK_STEPS`` before it is added to a total: the rounding error then grows with
the chunk and with the number of chunks, not with their product.
"""

import dataclasses
import math
from collections.abc import Callable

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, ramp, splat
from edgecomp.schedules.cpu.epilogue import vector_dtype
from edgecomp.schedules.cpu.reduce_steps import Steps
from edgecomp.schedules.cpu.windows import Lanes, lanes_of

#: Additions into one accumulator before its sum is added to the total.
CHUNK_STEPS = 256
#: Accumulators that hide the latency of an addition.
ACCUMULATORS = 8

#: (index of the vector, stored element) -> what is combined.
Element = Callable[[int, Expr], Expr]


@dataclasses.dataclass(frozen=True)
class Run:
    """``size`` steps, ``stride`` elements apart."""

    size: int
    stride: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loops:
    """One pass over the reduced elements.

    Attributes:
        builder: receives the statements.
        x: buffer that is read.
        vectors: read at every step, each into accumulators of its own.
        steps: what is computed.
        element: of it.
    """

    builder: KernelBuilder
    x: Buffer
    vectors: tuple[Lanes, ...]
    steps: Steps
    element: Element

    def run(self, at: Expr, runs: tuple[Run, ...], tail: int = 0) -> list[Expr]:
        """Emit the pass.

        Args:
            at: index of the first element.
            runs: loops, outermost first.
            tail: elements of the first vector that follow the last step of every innermost
                run, fewer than its lanes.

        Returns:
            One result per vector.
        """
        *outer, inner = runs
        # An exponential per step is no chain of additions: one more set is enough.
        accumulators = 2 if self.steps.shifted else ACCUMULATORS
        sets = max(1, min(accumulators // len(self.vectors), inner.size))
        totals = self._start(1)
        flat = math.prod(run.size for run in runs) <= 2 * CHUNK_STEPS * sets
        if flat:
            partial = self._start(sets)
            self._outer(at, outer, lambda row: self._steps(row, inner, partial))
            self._flush(partial, totals)
        else:
            self._outer(at, outer, lambda row: self._chunks(row, inner, sets, totals))
        if tail:
            end = inner.size * inner.stride
            self._outer(at, outer, lambda row: self._tail(row + end, tail, totals[0][0]))
        return [
            load(total, 0, vector.lanes)
            for total, vector in zip(totals[0], self.vectors, strict=True)
        ]

    def _start(self, sets: int) -> list[list[Buffer]]:
        """Accumulators [set][vector] at the identity."""
        accumulators = []
        for _ in range(sets):
            row = []
            for vector in self.vectors:
                buffer = self.builder.array("sum", self.steps.accumulator, vector.lanes)
                self.builder.store(buffer, ramp(0, vector.lanes), self._identity(vector.lanes))
                row.append(buffer)
            accumulators.append(row)
        return accumulators

    def _identity(self, lanes: int) -> Expr:
        return constant(self.steps.identity, self.steps.accumulator, lanes)

    def _outer(self, at: Expr, runs: list[Run], body: Callable[[Expr], None]) -> None:
        if not runs:
            body(at)
            return
        with self.builder.loop("step", 0, runs[0].size) as index:
            row = self.builder.let("row_at", at + index * runs[0].stride)
            self._outer(row, runs[1:], body)

    def _chunks(self, at: Expr, run: Run, sets: int, totals: list[list[Buffer]]) -> None:
        """An innermost run in chunks, each with accumulators of its own."""
        size = CHUNK_STEPS * sets
        count, rest = divmod(run.size, size)

        def chunk(start: Expr, steps: int) -> None:
            partial = self._start(sets)
            self._steps(start, Run(steps, run.stride), partial)
            self._flush(partial, totals)

        if count:
            with self.builder.loop("chunk", 0, count) as index:
                chunk(at + index * (size * run.stride), size)
        if rest:
            chunk(at + count * size * run.stride, rest)

    def _steps(self, at: Expr, run: Run, partial: list[list[Buffer]]) -> None:
        """A run, its steps dealt to the sets of accumulators in turn."""
        sets = len(partial)
        count, rest = divmod(run.size, sets)
        if count:
            with self.builder.loop("step", 0, count) as index:
                start = self.builder.let("step_at", at + index * (sets * run.stride))
                for position, row in enumerate(partial):
                    self._step(start + position * run.stride, row)
        for position in range(rest):
            self._step(at + (count * sets + position) * run.stride, partial[position])

    def _step(self, at: Expr, row: list[Buffer]) -> None:
        for index, (vector, total) in enumerate(zip(self.vectors, row, strict=True)):
            self._combine(total, vector.lanes, self._value(index, at + vector.offset))

    def _tail(self, at: Expr, count: int, total: Buffer) -> None:
        """The last elements of a row: the vector reads on, lanes beyond count nothing."""
        lanes = self.vectors[0].lanes
        inside = ramp(0, lanes) < splat(tirx.const(count, "int32"), lanes)
        value = tirx.Select(inside, self._value(0, at), self._identity(lanes))
        self._combine(total, lanes, value)

    def _value(self, index: int, at: Expr) -> Expr:
        lanes = self.vectors[index].lanes
        stored = self.builder.let(
            "x", load(self.x, at, lanes), vector_dtype(self.x.dtype, lanes)
        )
        return self.element(index, stored)

    def _flush(self, partial: list[list[Buffer]], totals: list[list[Buffer]]) -> None:
        """Combine the sets, neighbours first, and add them to the totals."""
        while len(partial) > 1:
            half = (len(partial) + 1) // 2
            for a, b in zip(partial[: len(partial) - half], partial[half:], strict=True):
                self._merge(a, b)
            partial = partial[:half]
        self._merge(totals[0], partial[0])

    def _merge(self, into: list[Buffer], other: list[Buffer]) -> None:
        for a, b, vector in zip(into, other, self.vectors, strict=True):
            self._combine(a, vector.lanes, load(b, 0, vector.lanes))

    def _combine(self, total: Buffer, lanes: int, value: Expr) -> None:
        combined = self.steps.combine(load(total, 0, lanes), value)
        self.builder.store(total, ramp(0, lanes), combined)


def fold_lanes(builder: KernelBuilder, steps: Steps, value: Expr, lanes: int) -> Expr:
    """Combine the lanes of a vector into a scalar."""
    while lanes > 1:
        value = builder.let("folded", value, vector_dtype(steps.accumulator, lanes))
        lanes //= 2
        value = steps.combine(lanes_of(value, 0, lanes), lanes_of(value, lanes, lanes))
    return value
