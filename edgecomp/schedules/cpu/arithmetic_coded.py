"""float32 products whose weights lie in memory as another type and are widened in registers.

A vector of weights is widened once for all rows of a tile. With one row it takes as many bytes
fewer from memory as its type is narrower, which is what such a product waits for; with many rows
widening is a small part of the multiplies.
"""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.schedules.builder import Expr, KernelBuilder, load, splat
from edgecomp.schedules.cpu.arithmetic import Arithmetic, Operands, RegisterTile
from edgecomp.schedules.cpu.arithmetic_f32 import BroadcastFma, LaneFma, arithmetic_f32
from edgecomp.schedules.cpu.arithmetic_log2 import log2_f32
from edgecomp.schedules.cpu.vectors import named
from edgecomp.schedules.cpu.weight_codes import WeightCode


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Coded(Arithmetic):
    """What the instruction sets share.

    Attributes:
        code: of the weights.
    """

    code: WeightCode

    def widened(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, k: int
    ) -> list[Expr]:
        """float32 vectors of one element of K."""
        vectors = []
        for vector in range(tile.vectors):
            at = self.weight_at(tile, operands, k, vector)
            bits = load(operands.weights, at, tile.lanes)
            vectors.append(named(builder, "weight", self.code.widen(bits)))
        return vectors

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Widening takes slots of the units that multiply."""
        own = vectors * self.code.instructions / self.multiplies_per_cycle
        return super().step_cycles(rows, vectors, registers) + own


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodedBroadcastFma(_Coded, BroadcastFma):
    """x86: weights first, then one element of x after the other in all lanes."""

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """One element of K at a time."""
        for k in range(groups):
            weights = self.widened(builder, tile, operands, k)
            for row in range(tile.rows):
                at = operands.x_rows[row] + k * operands.x_stride
                value = splat(load(operands.x, at), self.lanes)
                for vector, weight in enumerate(weights):
                    total = tile.get(row, vector) + value * weight
                    tile.set(builder, row, vector, total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodedLaneFma(_Coded, LaneFma):
    """NEON: four elements of x in a register, multiplied by element."""

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """One register more, in which a weight lies before it is widened."""
        return rows * vectors + rows + 3 <= registers and super().fits(
            rows, vectors, registers
        )

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Four elements of K: a vector load of x per row, then by element."""
        elements = self.x_elements(builder, tile, operands, groups)
        for k in range(groups):
            for vector, weight in enumerate(self.widened(builder, tile, operands, k)):
                for row in range(tile.rows):
                    value = splat(load(elements[row], k), self.lanes)
                    total = tile.get(row, vector) + value * weight
                    tile.set(builder, row, vector, total)


def coded_f32(target: Target, code: WeightCode) -> Arithmetic:
    """The float32 arithmetic of products with weights of a code."""
    if code.packs:
        return log2_f32(target)
    plain = arithmetic_f32(target)
    facts = {f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)}
    facts |= {
        "name": f"{code.dtype}_{plain.name}",
        "weight_dtype": code.memory_dtype,
        "code": code,
    }
    kind = CodedBroadcastFma if isinstance(plain, BroadcastFma) else CodedLaneFma
    return kind(**facts)
