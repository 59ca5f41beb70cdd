"""float32 products whose weights are powers of two in four bits (log2_code.py).

A register of codes holds several elements of K of one vector of columns; they become floats
together, once for all rows of a tile. x is not read behind the end of a run, where it may be
infinite.
"""

import dataclasses

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, load, ramp, splat
from edgecomp.schedules.cpu.arithmetic import Arithmetic, Operands, RegisterTile
from edgecomp.schedules.cpu.log2_code import (
    REGISTER_BYTES,
    floats_of_bytes,
    floats_of_words,
    looks_up_floats,
)

#: Codes of a byte.
_CODES = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Log2Fma(Arithmetic):
    """Multiply-adds of looked up weights.

    Attributes:
        isa: of the target.
        word_codes: whether codes become 32-bit words, which index a register of floats.
        instructions: that make one vector of weights of its codes.
    """

    x_dtype: str = "float32"
    weight_dtype: str = "uint8"
    sum_dtype: str = "float32"
    weights_per_element: int = _CODES
    ragged: bool = True
    isa: str
    word_codes: bool
    instructions: float

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, codes and the weights they become; x by element where NEON has that."""
        weights = 2 * vectors + 2 if self.isa == "x86_64" else rows + 5
        return rows * vectors + weights <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Those of a group: multiplies of its elements, and what makes the weights."""
        one = super().step_cycles(rows, vectors, registers)
        own = vectors * self.instructions / self.multiplies_per_cycle
        return self.group * (one + own)

    def arrange(self, block: Array) -> Array:
        """The low codes of a vector are the first half of a group, the high ones the second."""
        runs, groups, columns, group = block.shape
        split = block.reshape(
            runs, groups, columns // self.lanes, self.lanes, _CODES, group // _CODES
        )
        low, high = np.moveaxis(split, 4, 0)
        return np.ascontiguousarray((low | high << 4).swapaxes(3, 4)).reshape(-1)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """A group after the other, its elements in turns."""
        elements = operands.elements or groups * self.group
        for group in range(groups):
            first = group * self.group
            used = min(self.group, elements - first)
            vectors = [
                self._weights(builder, operands, self.weight_at(tile, operands, group, vector))
                for vector in range(tile.vectors)
            ]
            x = self._elements(builder, operands, tile.rows, first, used)
            for k in range(used):
                for row in range(tile.rows):
                    value = splat(x[row][k], self.lanes)
                    for vector, weights in enumerate(vectors):
                        total = tile.get(row, vector) + value * weights[k]
                        tile.set(builder, row, vector, total)

    def _weights(self, builder: KernelBuilder, operands: Operands, at: Expr) -> list[Expr]:
        """Vectors of weights of a group's elements."""
        codes = load(operands.weights, at, REGISTER_BYTES)
        if self.word_codes:
            return floats_of_words(builder, codes)
        wide = floats_of_bytes(builder, codes, self.isa)
        if self.lanes == _WIDE:
            return wide
        return [
            tirx.Shuffle([each], [tirx.const(first + n, "int32") for n in range(self.lanes)])
            for each in wide
            for first in range(0, _WIDE, self.lanes)
        ]

    def _elements(
        self, builder: KernelBuilder, operands: Operands, rows: int, first: int, count: int
    ) -> list[list[Expr]]:
        """Elements of x, by row and element: NEON loads four together."""
        found = []
        for index in operands.x_rows[:rows]:
            if self.isa == "x86_64":
                found.append([load(operands.x, index + first + k) for k in range(count)])
                continue
            values = builder.array("x_row", "float32", self.group)
            for k in range(0, count, self.lanes):
                piece = self.lanes if k + self.lanes <= count else 1
                for n in range(k, min(k + self.lanes, count), piece):
                    part = load(operands.x, index + first + n, piece)
                    builder.store(values, ramp(n, piece), part)
            found.append([load(values, k) for k in range(count)])
        return found


#: Lanes of what floats_of_bytes gives.
_WIDE = 8


def log2_f32(target: Target) -> Log2Fma:
    """The arithmetic of a target."""
    lanes, words = target.lanes(32), looks_up_floats(target)
    group = _CODES if words else _CODES * REGISTER_BYTES // lanes
    return Log2Fma(
        name=f"log2_{'avx512' if words else 'avx2' if lanes == _WIDE else 'neon'}",
        lanes=lanes,
        group=group,
        step=max(4, group),
        isa=target.core.isa,
        word_codes=words,
        instructions=2.0 if words else 3.5,
        multiplies_per_cycle=1.0 if target.core.in_order else 2.0,
    )
