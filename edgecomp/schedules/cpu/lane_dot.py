"""Inner loop of 8-bit depthwise convolution on aarch64 with dot products: a tile, block by block.

A tile is some columns of one or two rows of the output, eight channels at a time. Rows of x are
interleaved channel by channel, up to four of them, so that one ``sdot`` multiplies all rows of
four channels by a column of the window. Interleaved columns stay in registers until the last
window that meets them, and so do all weights: only x is loaded more than once.

Sums are the bits of a float32. Results that Relu bounds start at 2^23, where one multiply-add,
``sum * m - 2^23 * m``, is the scaled sum: the second product is exact, so that only the
difference is rounded. Sums below zero count half there, which is below zero too. Others start
at 1.5 * 2^23, which is subtracted before the product: reach.py and narrow.py say why.
"""

import dataclasses
import functools
from collections.abc import Iterator

from edgecomp.schedules.cpu.depthwise_dot import RowPlan
from edgecomp.schedules.cpu.issue_order import Instruction, in_issue_order
from edgecomp.schedules.cpu.lane_dot_plan import (
    HALVES,
    LANES,
    MOST_OFFSET,
    REACH,
    X_REGISTERS,
    Narrowing,
    Registers,
    registers_for,
)
from edgecomp.schedules.cpu.lane_loads import VECTOR_BYTES
from edgecomp.schedules.cpu.lane_plan import VECTOR_REGISTERS
from edgecomp.schedules.cpu.llvm_text import llvm_function
from edgecomp.schedules.cpu.windows import Window

#: Bytes of a block's factors before its multipliers.
_FIRST_MULTIPLIER = VECTOR_BYTES * HALVES


@dataclasses.dataclass(frozen=True)
class LaneDot:
    """All channel blocks of one tile.

    Attributes:
        window: of the convolution.
        plan: rows of the tile.
        columns: of the tile.
        blocks: of eight channels.
        x_row, x_column: bytes between rows and between columns of x.
        out_row, out_column: the same of the output.
        narrowing: of the results.
        in_order: whether the core issues instructions in order.
    """

    window: Window
    plan: RowPlan
    columns: int
    blocks: int
    x_row: int
    x_column: int
    out_row: int
    out_column: int
    narrowing: Narrowing
    in_order: bool

    @property
    def name(self) -> str:
        """Of its function: the same for the same code."""
        numbers = [*self.window.size, *self.window.strides, *self.window.dilations]
        numbers += [self.plan.height, self.columns, self.blocks]
        numbers += [self.x_row, self.x_column, self.out_row, self.out_column]
        numbers += [self.narrowing.start, *self.narrowing.constants().values()]
        kind = "lane_dot_in_order" if self.in_order else "lane_dot"
        flags = "".join(name[0] + name[-1] for name in self.narrowing.constants())
        return f"{kind}_{'_'.join(map(str, numbers))}_{flags}"

    @property
    def x_bases(self) -> tuple[int, ...]:
        """Rows of x with a pointer of their own: those that no offset reaches from another.

        In order all of them, since offsets are registers.
        """
        rows = sorted(row for group in self.plan.groups for row in group)
        if self.in_order:
            return tuple(rows)
        return _bases(rows, self.x_row, self.window.span(self.columns) * self.x_column)

    @property
    def out_bases(self) -> tuple[int, ...]:
        """The same of the output."""
        rows = list(range(self.plan.height))
        return _bases(rows, self.out_row, self.columns * self.out_column)

    def llvm(self) -> str:
        """LLVM's text: pointers to rows of x, weights, biases, factors, rows of the output."""
        pointers = [f"x{row}" for row in self.x_bases]
        pointers += ["weights", "bias", "factors", *(f"out{row}" for row in self.out_bases)]
        constants = self.narrowing.constants()
        constraints = ["=&r"] * (len(pointers) + 1) + [str(n) for n in range(len(pointers))]
        constraints += ["w"] * len(constants) + ["r"] * len(self._offsets)
        constraints += [f"~{{v{n}}}" for n in range(VECTOR_REGISTERS - len(constants))]
        arguments = [f"ptr %{pointer}" for pointer in pointers]
        for value in constants.values():
            arguments.append(f"<4 x i32> <{', '.join([f'i32 {value}'] * 4)}>")
        arguments += [f"i64 {offset}" for offset in self._offsets]
        text = "\\0A".join(self.assembly())
        results = ", ".join(["ptr"] * len(pointers) + ["i64"])
        line = (
            f'%r = call {{ {results} }} asm sideeffect "{text}", '
            f'"{",".join([*constraints, "~{cc}", "~{memory}"])}"({", ".join(arguments)})'
        )
        return llvm_function(self.name, ", ".join(f"ptr %{p}" for p in pointers), [line])

    def assembly(self) -> list[str]:
        """Instructions; operands: pointers, a counter, the pointers again, constants, offsets."""
        start = in_issue_order(list(self._start()))
        block = in_issue_order(list(self._block()))
        return [*start, f"mov {self._counter}, #{self.blocks}", "1:", *block, "b.ne 1b"]

    @functools.cached_property
    def _registers(self) -> Registers:
        found = registers_for(self.window, self.plan, len(self.narrowing.constants()))
        assert found is not None
        return found

    @property
    def _first_out(self) -> int:
        return len(self.x_bases) + len(self._tables)

    @property
    def _counter(self) -> str:
        return f"${self._first_out + len(self.out_bases)}"

    def _constant(self, name: str) -> str:
        place = list(self.narrowing.constants()).index(name)
        return f"${self._first_input + place}"

    @property
    def _first_input(self) -> int:
        return 2 * (self._first_out + len(self.out_bases)) + 1

    @functools.cached_property
    def _offsets(self) -> list[int]:
        """What registers hold: offsets, the step to columns out of reach and back to the first.

        In order, a load with such an offset starts beside an instruction on vectors, for LLVM's
        model of Cortex-A55: one with a number has its result a cycle earlier, and would have to
        wait so that results come in order.
        """
        if not self.in_order:
            return []
        reach = min(REACH, self.window.span(self.columns) - 1)
        found = [VECTOR_BYTES, *(n * self.x_column for n in range(1, reach + 1))]
        found += [self._to_next_block] if self._steps else []
        return list(dict.fromkeys(found))

    @property
    def _steps(self) -> int:
        """Steps of the pointers to x in a block."""
        return (self.window.span(self.columns) - 1) // REACH if self.in_order else 0

    @property
    def _to_next_block(self) -> int:
        """What pointers to x move by at a block's end."""
        return LANES - self._steps * REACH * self.x_column

    def _offset(self, offset: int) -> str:
        """An offset in a register."""
        first = self._first_input + len(self.narrowing.constants())
        return f"${first + self._offsets.index(offset)}" if offset else "xzr"

    def _load(self, registers: str, pointer: str, offset: int) -> Instruction:
        """A load; ``registers`` as the instruction names them."""
        names = tuple(f"v{register[1:]}" for register in registers.split(", "))
        load = "ldp" if len(names) > 1 else "ldr"
        place, cycles = f"#{offset}", 3
        if self.in_order and (offset == 0 or offset in self._offsets):
            place, cycles = self._offset(offset), 4
        text = f"{load} {registers}, [{pointer}, {place}]"
        return Instruction(text, names, (pointer,), "load", cycles)

    def _start(self) -> Iterator[Instruction]:
        """Loads that a block starts with: weights, multipliers, columns of the first window."""
        first = self._registers.multipliers
        weights, _, factors = self._tables
        yield from self._load_vectors(range(self._weights), weights, 0)
        yield from self._load_vectors(range(first, first + HALVES), factors, _FIRST_MULTIPLIER)
        for tap in range(self.window.size[1]):
            yield from self._make_column(self._position(0, tap))

    def _block(self) -> Iterator[Instruction]:
        """Eight channels and the start of the next eight, in an order that is right but slow.

        Behind the last block, what is loaded for the next one lies in the slack of values, or in
        a block of weights that no channel has.
        """
        made = {self._position(0, tap) for tap in range(self.window.size[1])}
        biases = self._tables[1]
        for column in range(self.columns):
            for tap in range(self.window.size[1]):
                position = self._position(column, tap)
                if position not in made:
                    made.add(position)
                    yield from self._step_to(position, max(made - {position}))
                    yield from self._make_column(position)
            for row in range(self.plan.height):
                yield from self._load_vectors(self._sums(row), biases, 0)
            yield from self._multiply(column)
            for row in range(self.plan.height):
                yield from self._finish(row, column)
        counter = self._counter
        yield Instruction(
            f"subs {counter}, {counter}, #1", (counter, "flags"), (counter,), "int", 3
        )
        sizes = [self._to_next_block] * len(self.x_bases) + [VECTOR_BYTES * self._weights]
        sizes += [VECTOR_BYTES * HALVES, 2 * VECTOR_BYTES * HALVES]
        for number, size in enumerate(sizes + [LANES] * len(self.out_bases)):
            yield _add(f"${number}", f"#{size}" if size > 0 else self._offset(size))
        yield from self._start()

    def _step_to(self, position: int, last: int) -> Iterator[Instruction]:
        """Move the pointers to x on where a column is out of reach that the last one was in."""
        if self.in_order and position // REACH > last // REACH:
            for number in range(len(self.x_bases)):
                yield _add(f"${number}", self._offset(REACH * self.x_column))

    @property
    def _weights(self) -> int:
        """Registers of them: those before the columns."""
        return self._registers.columns

    @property
    def _tables(self) -> tuple[str, str, str]:
        """Pointers to weights, biases and factors."""
        first = len(self.x_bases)
        return f"${first}", f"${first + 1}", f"${first + 2}"

    def _position(self, column: int, tap: int) -> int:
        """The column of x that a tap of a window meets."""
        return column * self.window.strides[1] + tap * self.window.dilations[1]

    def _load_vectors(
        self, registers: range, pointer: str, offset: int
    ) -> Iterator[Instruction]:
        """Whole registers from memory; in order a load of two would take longer than two loads."""
        most = 1 if self.in_order else 2
        for start in range(0, len(registers), most):
            now = registers[start : start + most]
            names = ", ".join(f"q{n}" for n in now)
            yield self._load(names, pointer, offset + VECTOR_BYTES * start)

    def _make_column(self, position: int) -> Iterator[Instruction]:
        """Load and interleave a column of x, group by group."""
        for number, members in enumerate(self.plan.groups):
            pairs = [members[:2], members[2:]] if len(members) > 2 else [members]
            for place, pair in enumerate(pairs):
                # A row that is not there has weights of zero: any bytes will do.
                rows = [self._x(place), self._x(X_REGISTERS - 1)][: len(pair)]
                for row, register in zip(pair, rows, strict=True):
                    yield self._load_row(register, row, position)
                yield _vector("zip1", rows[0], rows[0], rows[-1], "16b")
            for half in range(HALVES):
                result = self._column(position, number, half)
                first, last = self._x(0), self._x(len(pairs) - 1)
                yield _vector(f"zip{half + 1}", result, first, last, "8h")

    def _x(self, number: int) -> str:
        return f"v{self._registers.x + number}"

    def _load_row(self, register: str, row: int, position: int) -> Instruction:
        """Eight channels of a pixel of x."""
        base = max(base for base in self.x_bases if base <= row)
        if self.in_order:
            position %= REACH
        offset = (row - base) * self.x_row + position * self.x_column
        return self._load(f"d{register[1:]}", f"${self.x_bases.index(base)}", offset)

    def _multiply(self, column: int) -> Iterator[Instruction]:
        """Add all products of a column of the output, the oldest column of x first."""
        for tap in range(self.window.size[1]):
            for number, use in enumerate(self.plan.uses):
                for half, sums in enumerate(self._sums(use.out_row)):
                    x = self._column(self._position(column, tap), use.group, half)
                    weight = f"v{(number * self.window.size[1] + tap) * HALVES + half}"
                    yield Instruction(
                        f"sdot v{sums}.4s, {x}.16b, {weight}.16b",
                        (f"v{sums}",),
                        (f"v{sums}", x, weight),
                        "alu",
                    )

    def _finish(self, row: int, column: int) -> Iterator[Instruction]:
        """Scale, round, narrow, store."""
        magic, held = self._constant("magic"), self._registers.held_results
        first = (column * self.plan.height + row) * HALVES
        results = [f"v{self._registers.results + (first + n) % held}" for n in range(HALVES)]
        for half, (result, number) in enumerate(zip(results, self._sums(row), strict=True)):
            total, multiplier = f"v{number}", f"v{self._registers.multipliers + half}"
            if self.narrowing.fused:
                offset = half * VECTOR_BYTES
                yield self._load(f"q{result[1:]}", self._tables[2], offset)
                text = f"fmla {result}.4s, {total}.4s, {multiplier}.4s"
                yield Instruction(text, (result,), (result, total, multiplier))
            else:
                yield _vector("fsub", result, total, magic, "4s")
                yield _vector("fmul", result, result, multiplier, "4s")
            yield _vector("fadd", result, result, magic, "4s")
        result, other = results
        yield _vector("uzp1", result, result, other, "8h")
        if self.narrowing.zero:
            yield _vector("sqadd", result, result, self._constant("zero"), "8h")
        yield Instruction(f"sqxtn {result}.8b, {result}.8h", (result,), (result,), "alu")
        for name in ("smax", "smin"):
            if name in self.narrowing.constants():
                yield _vector(name, result, result, self._constant(name), "8b")
        base = max(base for base in self.out_bases if base <= row)
        pointer = f"${self._first_out + self.out_bases.index(base)}"
        offset = (row - base) * self.out_row + column * self.out_column
        text = f"str d{result[1:]}, [{pointer}, #{offset}]"
        yield Instruction(text, (), (result, pointer), "store", 1)

    def _sums(self, row: int) -> range:
        """Registers of the sums of an output."""
        first = self._registers.sums + row * HALVES
        return range(first, first + HALVES)

    def _column(self, position: int, group: int, half: int) -> str:
        """The register of an interleaved column of x."""
        place = position % self._registers.held_columns * len(self.plan.groups) + group
        return f"v{self._registers.columns + place * HALVES + half}"


def _bases(rows: list[int], step: int, width: int) -> tuple[int, ...]:
    """Of some rows in order, those from which an offset no longer reaches the next."""
    found: list[int] = []
    for row in rows:
        if not found or (row - found[-1]) * step + width > MOST_OFFSET:
            found.append(row)
    return tuple(found)


def _add(pointer: str, step: str) -> Instruction:
    return Instruction(f"add {pointer}, {pointer}, {step}", (pointer,), (pointer,), "int", 3)


def _vector(name: str, result: str, first: str, second: str, shape: str) -> Instruction:
    """An instruction of two vectors; a constant is no register that anything writes."""
    text = f"{name} {result}.{shape}, {first}.{shape}, {second}.{shape}"
    return Instruction(text, (result,), (first, second), "alu")
