"""Inner loops of products on aarch64, with registers and order of instructions chosen.

LLVM's scheduler moves the loads of a tile that fills the registers to where they stall a core
that issues in order, and joins at most two of them. So a run of K is inline assembly:
accumulators are its operands, x and a ring of weights have registers of their own, and what a
register held is loaded anew right behind its last use, a turn of the ring ahead.

    ld1 {v24.4s, v25.4s, v26.4s, v27.4s}, [weights], #64    a chunk of the ring
    ldr q18, [x, #shift of the row]                         four elements of K of a row
    fmla vN.4s, v24.4s, v18.s[0]                            in the order K, vector, row

An element of K is what a lane of 32 bits holds: a float32, or four bytes that ``sdot`` multiplies
at once.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator

from edgecomp.schedules.cpu.lane_loads import GROUP, VECTOR_BYTES, groups, load
from edgecomp.schedules.cpu.lane_plan import (
    BODY_MULTIPLIES,
    LEAST_TURNS,
    VECTOR_REGISTERS,
    Plan,
)
from edgecomp.schedules.cpu.run_loop import RunLoop

#: Greatest number that an addition can hold.
_GREATEST_ADDEND = 4095


@dataclasses.dataclass(frozen=True)
class Multiply:
    """The instruction that multiplies by an element of K.

    Attributes:
        name: of it.
        weights: arrangement of a register of them.
        element: the same of an element of x.
        sums: LLVM's type of a register of sums.
    """

    name: str
    weights: str
    element: str
    sums: str


FMLA = Multiply("fmla", "4s", "s", "<4 x float>")
SDOT = Multiply("sdot", "16b", "4b", "<4 x i32>")


@dataclasses.dataclass(frozen=True)
class _Part:
    """Multiply-adds [begin, end) of a run, counted from where its pointers stand.

    Attributes:
        begin, end: numbers of multiply-adds.
        length: elements of K until the run ends; None where it goes on.
        steps_at: multiply-add before which the pointers step; None for never.
        step: by how many elements of K.
    """

    begin: int
    end: int
    length: int | None = None
    steps_at: int | None = None
    step: int = 0


@dataclasses.dataclass(frozen=True)
class LaneLoop(RunLoop):
    """One run of K of one tile.

    Attributes:
        plan: its registers.
        multiply: its instruction.
    """

    plan: Plan
    multiply: Multiply = FMLA

    @functools.cached_property
    def period(self) -> int:
        """Elements of K in the loop's body."""
        period = self.plan.period
        most = min(
            BODY_MULTIPLIES // (self.rows * self.vectors),
            _GREATEST_ADDEND // (VECTOR_BYTES * self.vectors),
        )
        while 2 * period <= most and self._turns(2 * period) >= LEAST_TURNS:
            period *= 2
        return period

    @functools.cached_property
    def iterations(self) -> int:
        """Of the loop; 0 for none."""
        found = self._turns(self.period)
        return found if found > 1 else 0

    def _turns(self, period: int) -> int:
        """What is left behind them has a whole group of K and a turn of weights."""
        least = max(GROUP, -(-self.plan.ring.size // self.vectors))
        return (self.length - least) // period

    @property
    def name(self) -> str:
        """Of its function: the same for the same code."""
        ring, kind = self.plan.ring, "loop" if self.multiply == FMLA else self.multiply.name
        return (
            f"lane_{kind}_{self.rows}x{self.vectors}x{self.length}"
            f"_{ring.chunk}x{ring.chunks}_{self.period}_{self.plan.skew}__{self.name_of_shifts}"
        )

    def llvm(self) -> str:
        """LLVM's text of the function: pointers to the sums of each row, to x, to weights."""
        return self.function(self.assembly(), self.multiply.sums, self._first_x)

    def assembly(self) -> list[str]:
        """Instructions."""
        plan, per_element = self.plan, self.rows * self.vectors
        if not self.iterations:
            whole = _Part(0, self.length * per_element, self.length)
            return [*self._first_loads(self.length, plan.ring.size), *self._part(whole)]
        skew, count = plan.skew, self.period * per_element
        # Far enough before the loop's end that the branch finds the counter's flags.
        steps_at = max(skew, count - self.rows - plan.ahead)
        body = _Part(skew, count + skew, None, steps_at, self.period)
        left = self.length - self.iterations * self.period
        return [
            *self._first_loads(plan.period, plan.ring.size - self._late_weights),
            *self._part(_Part(0, skew)),
            f"mov {self.counter}, #{self.iterations}",
            "1:",
            *self._part(body),
            "b.ne 1b",
            *self._part(_Part(skew, left * per_element, left)),
        ]

    @property
    def _late_weights(self) -> int:
        """Weights whose load belongs to the turn before but comes behind the branch."""
        return self.plan.ring.chunk if self.plan.late else 0

    @property
    def _first_x(self) -> int:
        return VECTOR_REGISTERS - self.plan.ring.size - self.rows

    def _first_loads(self, length: int, ring: int) -> Iterator[str]:
        """Loads of x for the first elements of K and ``ring`` vectors of weights."""
        chunk, weights = self.plan.ring.chunk, length * self.vectors
        for row in range(self.rows):
            yield self._load_x(row, 0, next(groups(length)))
        for start in range(0, min(ring, weights), chunk):
            yield self._load_weights(start, start, min(chunk, weights - start))

    def _part(self, part: _Part) -> Iterator[str]:
        """Multiply-adds, and behind each the loads that its registers are free for."""
        per_element = self.rows * self.vectors
        most = part.length or -(-part.end // per_element) + GROUP
        sizes = list(groups(most))
        starts = list(itertools.accumulate(sizes, initial=0))
        group_of = [g for g, size in enumerate(sizes) for _ in range(size)]
        for n in range(part.begin, part.end):
            if n == part.steps_at:
                yield from self._step(part.step)
            moved = part.step if part.steps_at is not None and n >= part.steps_at else 0
            k, rest = divmod(n, per_element)
            vector, row = divmod(rest, self.rows)
            group = group_of[k]
            yield (
                f"{self.multiply.name} ${row * self.vectors + vector}.4s, "
                f"v{self._ring_register(k * self.vectors + vector)}.{self.multiply.weights}, "
                f"v{self._first_x + row}.{self.multiply.element}[{k - starts[group]}]"
            )
            if k + 1 == starts[group + 1] and vector + 1 == self.vectors and k + 1 < most:
                yield self._load_x(row, k + 1 - moved, sizes[group + 1])
            yield from self._weights_behind(n, set(starts), part, moved)

    def _weights_behind(
        self, n: int, starts: set[int], part: _Part, moved: int
    ) -> Iterator[str]:
        """Loads of the chunks whose last use, or what comes late behind it, is number ``n``."""
        ring = self.plan.ring
        for late in sorted({0, self.plan.late}):
            used, row = divmod(n - late + 1, self.rows)
            if row or used % ring.chunk or used < 0 or (used == 0 and not part.begin):
                continue
            k, vector = divmod(used, self.vectors)
            if late != (self.plan.late if vector == 0 and k in starts else 0):
                continue
            start = used - ring.chunk + ring.size
            left = math.inf if part.length is None else part.length * self.vectors - start
            if left > 0:
                offset = start - moved * self.vectors
                yield self._load_weights(start, offset, int(min(ring.chunk, left)))

    def _ring_register(self, weight: int) -> int:
        ring = self.plan.ring.size
        return VECTOR_REGISTERS - ring + weight % ring

    def _load_x(self, row: int, k: int, size: int) -> str:
        """``size`` elements of a row, from element ``k`` on."""
        return self.load_row(row, k, size, self._first_x + row)

    def _load_weights(self, start: int, offset: int, count: int) -> str:
        """``count`` vectors of the panel.

        Args:
            start: number of the first, for its register.
            offset: the same from where the pointer stands, if it does not move with each load.
            count: how many.
        """
        first = self._ring_register(start)
        if self.plan.ring.chunk == 1:
            return load(f"q{first}", self.weights, offset * VECTOR_BYTES, VECTOR_BYTES)
        names = ", ".join(f"v{first + n}.4s" for n in range(count))
        return f"ld1 {{{names}}}, [{self.weights}], #{count * VECTOR_BYTES}"

    def _step(self, elements: int) -> Iterator[str]:
        """Pointers and counter to the next turn of the loop."""
        yield from self.step_rows(elements)
        if self.plan.ring.chunk == 1:
            size = elements * self.vectors * VECTOR_BYTES
            yield f"add {self.weights}, {self.weights}, #{size}"
        yield f"subs {self.counter}, {self.counter}, #1"
