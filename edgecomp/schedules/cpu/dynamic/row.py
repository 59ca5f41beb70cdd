"""Passes over one row of memory whose length is known only when the model runs."""

import dataclasses
from collections.abc import Callable

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, ramp
from edgecomp.schedules.cpu.rows import Combine, fold_lanes
from edgecomp.schedules.cpu.vectors import named, pinned

#: Partial results that hide the latency of an addition.
_PARTIALS = 4


@dataclasses.dataclass(frozen=True)
class DynamicRow:
    """Positions 0 .. size-1 in vectors of ``lanes``, the last of which may go on behind.

    Behind every value there are enough readable bytes for that.
    """

    builder: KernelBuilder
    size: Expr
    lanes: int

    def fold(
        self,
        neutral: float,
        combine: Combine,
        vector_at: Callable[[Expr], Expr],
    ) -> Expr:
        """Combine ``vector_at(position)`` over the row; return a float32 scalar.

        Args:
            neutral: changes no result.
            combine: of two vectors.
            vector_at: the vector at a position.
        """
        builder, lanes = self.builder, self.lanes
        sums = [builder.array("partial", "float32", lanes) for _ in range(_PARTIALS)]
        for partial in sums:
            builder.store(partial, ramp(0, lanes), constant(neutral, "float32", lanes))

        def add(which: int, vector: Expr) -> None:
            total = combine(load(sums[which], 0, lanes), vector)
            builder.store(sums[which], ramp(0, lanes), total)

        def step(which: int, at: Expr) -> None:
            add(which, named(builder, "element", vector_at(at)))

        count = builder.let("count", tirx.truncdiv(self.size, lanes))
        groups = builder.let("groups", tirx.truncdiv(count, _PARTIALS))
        with builder.loop("group", 0, groups) as group:
            for which in range(_PARTIALS):
                step(which, (group * _PARTIALS + which) * lanes)
        with builder.loop("vector", groups * _PARTIALS, count) as vector:
            step(0, vector * lanes)
        rest, at = self._rest()
        with builder.condition(rest > 0):
            vector = named(builder, "element", vector_at(at))
            inside = tirx.Ramp(0, 1, lanes) < tirx.Broadcast(rest, lanes)
            add(0, tirx.Select(inside, vector, constant(neutral, "float32", lanes)))
        total = load(sums[0], 0, lanes)
        for partial in sums[1:]:
            total = combine(total, load(partial, 0, lanes))
        return pinned(builder, "total", fold_lanes(builder, total, combine))

    def map(self, y: Buffer, base: Expr, vector_at: Callable[[Expr], Expr]) -> None:
        """Store ``vector_at(position)`` over the row that begins at ``base``."""
        builder, lanes = self.builder, self.lanes
        with builder.loop("vector", 0, tirx.truncdiv(self.size, lanes)) as vector:
            at = vector * lanes
            store_part(builder, y, base + at, vector_at(at), lanes, None)
        rest, at = self._rest()
        with builder.condition(rest > 0):
            store_part(builder, y, base + at, vector_at(at), lanes, rest)

    def _rest(self) -> tuple[Expr, Expr]:
        """Elements behind the whole vectors, and where they begin."""
        rest = self.builder.let("rest", self.size & (self.lanes - 1))
        return rest, self.builder.let("tail", self.size - rest)


def store_part(
    builder: KernelBuilder, y: Buffer, at: Expr, vector: Expr, lanes: int, count: Expr | None
) -> None:
    """Store a vector, or where ``count`` is given its first ``count`` elements."""
    if count is None:
        builder.store(y, ramp(at, lanes), vector)
        return
    kept = builder.array("kept", y.dtype, lanes)
    builder.store(kept, ramp(0, lanes), vector)
    width = lanes // 2
    while width:
        with builder.condition(tirx.NE(count & width, 0)):
            first = builder.let("first", count & -(2 * width))
            builder.store(y, ramp(at + first, width), load(kept, first, width))
        width //= 2
