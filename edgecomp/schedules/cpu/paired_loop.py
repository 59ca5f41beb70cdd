"""A run of K with pairs (paired_numbers.py) in inline assembly for AVX-512.

LLVM computes the sums of all rows before it multiplies them and has then no register left for the
accumulators. Here each product of two sums follows its additions, and the three steps of a turn
(a pair, two single elements, a pair of the other sign) leave both kinds of units as much to do.
"""

import dataclasses
import itertools
from collections.abc import Iterator

from edgecomp.schedules.cpu.llvm_text import tile_function
from edgecomp.schedules.cpu.paired_numbers import Pairing

LANES = 16
#: Elements of K of a turn: two pairs and two single ones.
TURN = 6
#: Registers beside the accumulators: two vectors of weights, and sums in turns. Tiles of 26
#: accumulators, which leave 6, take longer (Zen 4).
SPARE_REGISTERS = 8
_VECTOR_BYTES = 64
_KIND = "<16 x float>"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedLoop:
    """A function of one register tile.

    Attributes:
        rows, vectors: of the tile.
        pairing: of K.
        row_stride: elements of x from one row to the next.
        next_lines: cache lines of the next panel that a turn asks for.
    """

    rows: int
    vectors: int
    pairing: Pairing
    row_stride: int
    next_lines: int

    @property
    def name(self) -> str:
        """The same for the same code."""
        numbers = (
            self.rows,
            self.vectors,
            self.pairing.depth,
            self.pairing.half,
            self.row_stride,
            self.next_lines,
        )
        return "paired_run_" + "_".join(map(str, numbers))

    def llvm(self) -> str:
        """LLVM's text: pointers to the sums of each row, to x, weights and the next panel."""
        return tile_function(
            self.name,
            self._assembly(),
            kind=_KIND,
            tile=(self.rows, self.vectors),
            pointers=["x", "weights", "next"],
            sums_in="v",
            own=[(_KIND, "=&v")] * SPARE_REGISTERS,
            clobbers=["~{flags}"],
        )

    @property
    def _pointers(self) -> int:
        """Number of the first operand that is a pointer: x, weights, next, then the counter."""
        return self.rows * self.vectors

    def _assembly(self) -> list[str]:
        x, weights, ahead, counter = (f"${self._pointers + n}" for n in range(4))
        half = self.pairing.half
        spare = [f"${self._pointers + 4 + n}" for n in range(SPARE_REGISTERS)]
        registers = _Registers(tuple(spare[:2]), itertools.cycle(spare[2:]))
        assembly = [f"movq $${half // 2}, {counter}", "2:"]
        assembly += self._pair(registers, 0, 0, minus=False)
        assembly += self._single(registers, 4, (2 * half, 2 * half + 1))
        assembly += self._pair(registers, 2, 1, minus=True)
        assembly += self._prefetches(ahead)
        assembly.append(f"addq $$8, {x}")
        assembly.append(f"addq $${TURN * self._width}, {weights}")
        assembly += [f"subq $$1, {counter}", "jnz 2b"]
        pairs, single = divmod(self.pairing.rest, 2)
        rest = 2 * half  # x has moved by a third
        if pairs:
            assembly += [f"movq $${pairs}, {counter}", "3:"]
            assembly += self._single(registers, 0, (rest, rest + 1))
            assembly.append(f"addq $$8, {x}")
            assembly.append(f"addq $${2 * self._width}, {weights}")
            assembly += [f"subq $$1, {counter}", "jnz 3b"]
        if single:
            assembly += self._single(registers, 0, (rest,))
        return assembly

    @property
    def _width(self) -> int:
        """Bytes of a row of the panel."""
        return self.vectors * _VECTOR_BYTES

    def _weights(self, step: int, vector: int) -> str:
        offset = step * self._width + vector * _VECTOR_BYTES
        return f"{offset}(${self._pointers + 1})"

    def _x(self, row: int, k: int) -> str:
        return f"{4 * (row * self.row_stride + k)}(${self._pointers}){{1to16}}"

    def _pair(
        self, registers: "_Registers", step: int, k: int, *, minus: bool
    ) -> Iterator[str]:
        """Element k of x and its partner, times rows ``step`` and the next of the panel."""
        partner = k + self.pairing.half
        add, multiply = ("vsubps", "vfnmadd231ps") if minus else ("vaddps", "vfmadd231ps")
        for vector in range(self.vectors):
            low, high = registers.weights
            yield f"vmovups {self._weights(step, vector)}, {low}"
            yield f"vmovups {self._weights(step + 1, vector)}, {high}"
            for row in range(self.rows):
                one, other = next(registers.sums), next(registers.sums)
                yield f"{add} {self._x(row, k)}, {high}, {one}"
                yield f"{add} {self._x(row, partner)}, {low}, {other}"
                yield f"{multiply} {one}, {other}, ${row * self.vectors + vector}"

    def _single(
        self, registers: "_Registers", step: int, elements: tuple[int, ...]
    ) -> Iterator[str]:
        """Up to two elements of x, each times a row of the panel from ``step`` on."""
        for vector in range(self.vectors):
            for number in range(len(elements)):
                yield f"vmovups {self._weights(step + number, vector)}, {registers.weights[number]}"
            for row in range(self.rows):
                for number, k in enumerate(elements):
                    total = f"${row * self.vectors + vector}"
                    yield f"vfmadd231ps {self._x(row, k)}, {registers.weights[number]}, {total}"

    def _prefetches(self, ahead: str) -> Iterator[str]:
        """Some of the next panel."""
        for line in range(self.next_lines):
            yield f"prefetcht1 {_VECTOR_BYTES * line}({ahead})"
        if self.next_lines:
            yield f"addq $${_VECTOR_BYTES * self.next_lines}, {ahead}"


@dataclasses.dataclass(frozen=True)
class _Registers:
    """Operands beside the accumulators: of weights, and of sums in turns."""

    weights: tuple[str, ...]
    sums: Iterator[str]
