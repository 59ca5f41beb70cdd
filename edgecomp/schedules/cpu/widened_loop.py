"""Inner loop of int8 products on aarch64 without ``sdot``, for cores that issue in order.

Eight products of 16 bits, their neighbours in K added, then both added to a sum of 32 bits: three
instructions that each wait for the one before. So three products are on their way at a time, and
whatever a register is needed for next is loaded right behind its last use. A *unit* is one row,
one vector of columns and four elements of K; in the slot of unit u stand

    smull  product u      = lower halves of weights and x
    smlal2 product u - 1 += upper halves           then the load of the weights' successors
    sadalp sum of unit u - 2 += pairs of its product
    tbl    x of the next row, behind the first unit of each      then the load of its successor

in the order K, row, vector. ``tbl`` brings the same four bytes of x beside every column.
"""

import dataclasses
import functools
from collections.abc import Iterator

from edgecomp.schedules.cpu.lane_loads import GROUP, VECTOR_BYTES, groups, load
from edgecomp.schedules.cpu.lane_plan import VECTOR_REGISTERS
from edgecomp.schedules.cpu.run_loop import RunLoop

#: Registers that hold x beside every column: this row's and the next one's.
_COPIES = 2
#: Slots of a turn that stand ahead of the loop, so that the last ones of the turn before are in it.
_SKEW = 2
#: Multiplies and additions in the body of a loop at most: code size.
_BODY_MULTIPLIES = 360
#: Turns that are worth a body twice as long.
_LEAST_TURNS = 4
#: Greatest offset of a load of two registers, in registers.
_PAIR_LIMIT = 63


def products_of(rows: int, vectors: int) -> int:
    """Registers of products: a turn of four elements of K has a multiple of them."""
    return 3 if rows * vectors % 3 == 0 else 4


def weights_of(vectors: int) -> int:
    """Registers of weights: those of four elements of K, and of the next ones for one vector."""
    return max(vectors, 2)


def fits(rows: int, vectors: int) -> bool:
    """Whether sums, x, its copies, indices of ``tbl``, weights and products find room."""
    held = rows * vectors + rows + _COPIES + GROUP + weights_of(vectors)
    return held + products_of(rows, vectors) <= VECTOR_REGISTERS


@dataclasses.dataclass(frozen=True)
class WidenedLoop(RunLoop):
    """One run of K of one tile; an element of K is four bytes, called a group here."""

    @functools.cached_property
    def period(self) -> int:
        """Groups of K in the loop's body."""
        twice = 2 * GROUP
        short = 3 * twice * self.rows * self.vectors <= _BODY_MULTIPLIES
        return twice if short and (self.length - GROUP) // twice >= _LEAST_TURNS else GROUP

    @property
    def iterations(self) -> int:
        """Of the loop; 0 for none. Four groups and more are left behind it."""
        found = (self.length - GROUP) // self.period
        return found if found > 1 else 0

    @property
    def name(self) -> str:
        """Of its function: the same for the same code."""
        size = f"{self.rows}x{self.vectors}x{self.length}"
        return f"widened_loop_{size}__{self.name_of_shifts}"

    def llvm(self) -> str:
        """LLVM's text of the function: pointers to the sums of each row, to x, to weights."""
        indices = [_indices(g) for g in range(GROUP)]
        return self.function(self.assembly(), "<4 x i32>", self._first_register, indices)

    def assembly(self) -> list[str]:
        """Instructions; constants are the indices of ``tbl``."""
        units = self.rows * self.vectors
        first = list(self._first_loads())
        if not self.iterations:
            slots = range(self.length * units + _SKEW)
            return [*first, *self._slots(slots, self.length)]
        left = self.length - self.iterations * self.period
        turn = range(_SKEW, self.period * units + _SKEW)
        return [
            *first,
            *self._slots(range(_SKEW), None),
            f"mov {self.counter}, #{self.iterations}",
            "1:",
            *self._slots(turn, None),
            *self._step(),
            "b.ne 1b",
            *self._slots(range(_SKEW, left * units + _SKEW), left),
        ]

    def _first_loads(self) -> Iterator[str]:
        """What the first slots read."""
        size = GROUP if self.iterations else next(groups(self.length))
        for row in range(self.rows):
            yield self._load_x(row, 0, size)
        for weight in range(min(weights_of(self.vectors), self.length * self.vectors)):
            yield from self._load_weights(weight, self.length)
        yield self._copy(0, 0)
        if self.rows == 1 and size == 1 and self.length > 1:
            yield self._load_x(0, 1, list(groups(self.length))[1])

    def _slots(self, slots: range, length: int | None) -> Iterator[str]:
        """Some slots of a run that ends after ``length`` groups, or goes on."""
        units = self.rows * self.vectors
        end = None if length is None else length * units
        for slot in slots:
            if end is None or slot < end:
                yield self._multiply(slot)
            if slot >= 1 and (end is None or slot <= end):
                yield self._multiply_again(slot - 1)
                group, unit = divmod(slot - 1, units)
                row, vector = divmod(unit, self.vectors)
                if row + 1 == self.rows:
                    used = group * self.vectors + vector
                    yield from self._load_weights(used + weights_of(self.vectors), length)
            if slot >= _SKEW:
                yield self._add_pairs(slot - _SKEW)
            if (end is None or slot < end) and slot % self.vectors == 0:
                yield from self._next_row(slot // self.vectors + 1, length)

    def _next_row(self, row: int, length: int | None) -> Iterator[str]:
        """The copy of a row's four bytes, rows counted through groups; then what follows them."""
        group, own = divmod(row, self.rows)
        if not _goes_on(group, length):
            return
        start, size = _piece(group, length)
        yield self._copy(row, group - start)
        after = start + size
        if group + 1 == after and _goes_on(after, length):
            yield self._load_x(own, after, _piece(after, length)[1])

    def _multiply(self, unit: int) -> str:
        row, vector = divmod(unit, self.vectors)
        used = row // self.rows * self.vectors + vector
        x, weight = self._copy_register(row), self._weight(used)
        return f"smull v{self._product(unit)}.8h, v{weight}.8b, v{x}.8b"

    def _multiply_again(self, unit: int) -> str:
        row, vector = divmod(unit, self.vectors)
        used = row // self.rows * self.vectors + vector
        x, weight = self._copy_register(row), self._weight(used)
        return f"smlal2 v{self._product(unit)}.8h, v{weight}.16b, v{x}.16b"

    def _add_pairs(self, unit: int) -> str:
        total = unit % (self.rows * self.vectors)
        return f"sadalp ${total}.4s, v{self._product(unit)}.8h"

    def _copy(self, row: int, place: int) -> str:
        """Bytes ``4 * place`` and on of a row's register, beside every column."""
        own = self._first_register + row % self.rows
        index = self.constant(place)
        return f"tbl v{self._copy_register(row)}.16b, {{v{own}.16b}}, {index}.16b"

    def _load_x(self, row: int, group: int, size: int) -> str:
        return self.load_row(row, group, size, self._first_register + row)

    def _load_weights(self, last: int, length: int | None) -> Iterator[str]:
        """Weights up to number ``last``, whose register is free: two at once, or the last alone."""
        group, vector = divmod(last, self.vectors)
        if not _goes_on(group, length):
            return
        offset = last * VECTOR_BYTES
        # Of two vectors the first register is used again too soon.
        pairs = self.vectors > 2
        if pairs and vector % 2 == 0 and vector + 1 < self.vectors:
            return
        before = offset - VECTOR_BYTES
        if pairs and vector % 2 and before <= _PAIR_LIMIT * VECTOR_BYTES:
            names = f"q{self._weight(last - 1)}, q{self._weight(last)}"
            yield f"ldp {names}, [{self.weights}, #{before}]"
            return
        if pairs and vector % 2:
            yield load(f"q{self._weight(last - 1)}", self.weights, before, VECTOR_BYTES)
        yield load(f"q{self._weight(last)}", self.weights, offset, VECTOR_BYTES)

    def _step(self) -> Iterator[str]:
        """Pointers and counter to the next turn."""
        yield from self.step_rows(self.period)
        size = self.period * self.vectors * VECTOR_BYTES
        yield f"add {self.weights}, {self.weights}, #{size}"
        yield f"subs {self.counter}, {self.counter}, #1"

    @property
    def _first_register(self) -> int:
        """Of those chosen here: x, its copies, weights, products."""
        products = products_of(self.rows, self.vectors)
        return VECTOR_REGISTERS - products - weights_of(self.vectors) - _COPIES - self.rows

    def _copy_register(self, row: int) -> int:
        return self._first_register + self.rows + row % _COPIES

    def _weight(self, number: int) -> int:
        place = number % weights_of(self.vectors)
        return self._first_register + self.rows + _COPIES + place

    def _product(self, unit: int) -> int:
        count = products_of(self.rows, self.vectors)
        return VECTOR_REGISTERS - count + unit % count


def _goes_on(group: int, length: int | None) -> bool:
    return length is None or group < length


def _piece(group: int, length: int | None) -> tuple[int, int]:
    """(first group, size) of the load that brings a group of x."""
    if length is None:
        return group - group % GROUP, GROUP
    start = 0
    for size in groups(length):
        if group < start + size:
            return start, size
        start += size
    raise ValueError(f"group {group} of {length}")


def _indices(group: int) -> str:
    """LLVM's text of what ``tbl`` takes: the first two bytes four times, then the others."""
    first = 0x0100 + 0x0404 * group
    words = ", ".join(f"i16 {first + 0x0202 * (n // 4)}" for n in range(8))
    return f"<8 x i16> <{words}>"
