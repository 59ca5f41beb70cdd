"""float32 products with pairs (paired_numbers.py), on cores that add beside they multiply."""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.schedules.builder import KernelBuilder
from edgecomp.schedules.cpu.arithmetic import Arithmetic, Operands, RegisterTile
from edgecomp.schedules.cpu.paired_loop import LANES, SPARE_REGISTERS
from edgecomp.schedules.cpu.paired_rows import row_stride

#: Of an accumulator for an element of K: two thirds of the multiplications take 4 cycles each.
_LATENCY_CYCLES = 2.7
#: Cycles in which a vector of weights comes from the level-2 cache, for each element of K.
_WEIGHT_CYCLES = 0.5
#: Multiplications a cycle of a loop whose x and weights are in the level-1 cache, where plain ones
#: take 1: 1.43 on a Zen 4 (2026-11-23), 1.5 if units that multiply never waited.
_MULTIPLIES_PER_CYCLE = 1.4
#: Cycles to pack a vector of a row and a row: fitted to a Zen 4 (2026-11-23).
_PACK_VECTOR_CYCLES = 6.0
_PACK_ROW_CYCLES = 25.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedFma(Arithmetic):
    """AVX-512: two thirds of K in pairs, whole runs in a loop of its own (paired_loop.py)."""

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators and what the loop takes beside them."""
        return rows * vectors + SPARE_REGISTERS <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Multiplies, and the weights: x is loaded where it is multiplied."""
        del registers
        multiplies = rows * vectors / self.multiplies_per_cycle
        return max(multiplies, self.latency_cycles) + _WEIGHT_CYCLES * vectors

    def row_stride(self, depth: int) -> int:
        """With what a row has beside its elements."""
        return row_stride(depth)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Not taken: the loop computes all of K."""
        raise NotImplementedError


def packing_cycles(rows: int, depth: int) -> float:
    """Modelled cycles to pack rows of K."""
    return rows * (_PACK_VECTOR_CYCLES * -(-depth // LANES) + _PACK_ROW_CYCLES)


def refuse_pairs(target: Target) -> str:
    """Return "" for cores on which pairs take less time than single products, else why not."""
    core = target.core
    if not core.adders_apart:
        return "additions take the units that multiply"
    if target.lanes(32) != LANES or core.turns == 1:
        return f"{core.vector_bits}-bit vectors in {core.turns} turns: not measured"
    return ""


def paired_f32(target: Target) -> Arithmetic:
    """The arithmetic of a core that ``refuse_pairs`` lets pass."""
    return PairedFma(
        name=f"avx{target.core.vector_bits}pairs",
        x_dtype="float32",
        weight_dtype="float32",
        sum_dtype="float32",
        lanes=LANES,
        latency_cycles=_LATENCY_CYCLES,
        multiplies_per_cycle=_MULTIPLIES_PER_CYCLE,
    )
