"""Passes over one row of memory: folds to a scalar and vector-by-vector maps.

A row that is not a multiple of the vector ends with a vector that overlaps the one before; in
sums its first lanes, which were counted already, are replaced by a neutral value.
"""

import dataclasses
from collections.abc import Callable

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, ramp
from edgecomp.schedules.cpu.iteration import power_of_two_below
from edgecomp.schedules.cpu.vectors import lanes_of, pinned

#: Partial results that hide the latency of an addition.
_PARTIALS = 4

Combine = Callable[[Expr, Expr], Expr]


@dataclasses.dataclass(frozen=True)
class Row:
    """Positions 0 .. size-1, walked in vectors of ``lanes``."""

    builder: KernelBuilder
    size: int
    lanes: int

    @staticmethod
    def of(builder: KernelBuilder, size: int, lanes: int) -> "Row":
        """A row whose vectors fit into it."""
        return Row(builder, size, min(lanes, power_of_two_below(size)))

    def each(self, body: Callable[[Expr], None]) -> None:
        """``body(position)`` for vectors that cover the row; the last may repeat positions."""
        count = self.size // self.lanes
        if count == 1:
            body(0)
        else:
            with self.builder.loop("vector", 0, count) as vector:
                body(vector * self.lanes)
        if self.size % self.lanes:
            body(self.size - self.lanes)

    def map(self, y: Buffer, base: Expr, vector_at: Callable[[Expr], Expr]) -> None:
        """Store ``vector_at(position)`` over the row that begins at ``base``."""
        self.each(lambda at: self.builder.store(y, ramp(base + at, self.lanes), vector_at(at)))

    def fold(
        self, neutral: float, combine: Combine, vector_at: Callable[[Expr], Expr]
    ) -> Expr:
        """Combine ``vector_at(position)`` over the row; return a float32 scalar."""
        builder, lanes = self.builder, self.lanes
        count = self.size // lanes
        partials = min(_PARTIALS, count)
        sums = [builder.array("partial", "float32", lanes) for _ in range(partials)]
        for partial in sums:
            builder.store(partial, ramp(0, lanes), constant(neutral, "float32", lanes))

        def add(which: int, vector: Expr) -> None:
            total = combine(load(sums[which], 0, lanes), vector)
            builder.store(sums[which], ramp(0, lanes), total)

        groups = count // partials
        with builder.loop("group", 0, groups) as group:
            for which in range(partials):
                add(which, vector_at((group * partials + which) * lanes))
        for index in range(groups * partials, count):
            add(index % partials, vector_at(index * lanes))
        rest = self.size % lanes
        if rest:
            vector = vector_at(self.size - lanes)
            fresh = tirx.Ramp(0, 1, lanes) >= constant(lanes - rest, "int32", lanes)
            add(0, tirx.Select(fresh, vector, constant(neutral, "float32", lanes)))
        total = load(sums[0], 0, lanes)
        for partial in sums[1:]:
            total = combine(total, load(partial, 0, lanes))
        return pinned(builder, "total", fold_lanes(builder, total, combine))


def fold_lanes(builder: KernelBuilder, vector: Expr, combine: Combine) -> Expr:
    """Combine all lanes of a vector, halving it until one is left."""
    lanes = lanes_of(vector)
    while lanes > 1:
        vector = pinned(builder, "vector", vector)
        half = lanes // 2
        low = tirx.Shuffle([vector], list(range(half)))
        high = tirx.Shuffle([vector], list(range(half, lanes)))
        vector, lanes = combine(low, high), half
    return vector
