"""int16 by int8 products in int32, whose sums are known to fit (graph/weight_parts.py).

Weights lie in memory as bytes and are widened once for all rows of a tile.
"""

import dataclasses

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    KernelBuilder,
    intrinsic,
    load,
    ramp,
    reinterpret,
    splat,
)
from edgecomp.schedules.cpu.arithmetic import LOAD_PRESSURE, Arithmetic, Operands, RegisterTile
from edgecomp.schedules.cpu.epilogue import vector_dtype
from edgecomp.schedules.cpu.narrow import pick

_PAIRS = {
    4: "llvm.x86.sse2.pmadd.wd",
    8: "llvm.x86.avx2.pmadd.wd",
    16: "llvm.x86.avx512.pmaddw.d.512",
}


def add_pairs(total: Expr, x: Expr, weights: Expr, lanes: int, *, fuses: bool) -> Expr:
    """x86: a total plus the two products of 16 bits in each 32-bit lane."""
    dtype = vector_dtype("int32", lanes)
    if fuses:
        name = f"llvm.x86.avx512.vpdpwssd.{32 * lanes}"
        return intrinsic(dtype, name, total, x, weights)
    return total + intrinsic(dtype, _PAIRS[lanes], x, weights)


def fuses_pairs(target: Target) -> bool:
    """Whether a product of pairs and its sum are one instruction on x86."""
    if target.has("avx512vnni"):
        return True
    return target.has("avxvnni") and not target.has("avx512")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SixteenBitPairs(Arithmetic):
    """x86: ``vpmaddwd`` and an addition, one instruction (``vpdpwssd``) with VNNI.

    Attributes:
        fuses: whether it is one instruction.
    """

    x_dtype: str = "int16"
    weight_dtype: str = "int8"
    sum_dtype: str = "int32"
    group: int = 2
    step: int = 8
    finish_cycles: float = 6.0
    fuses: bool

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, the weights of one group, a pair of x, maybe a product."""
        return rows * vectors + vectors + (1 if self.fuses else 2) <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Products, and the weights' widening, which takes a unit that multiplies."""
        del registers
        each = 1 if self.fuses else 2
        operations = (each * rows * vectors + vectors) / self.multiplies_per_cycle
        loads = (rows + vectors) / self.loads_per_cycle
        return max(operations, loads, self.latency_cycles) + LOAD_PRESSURE * (rows + vectors)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Widen the weights of a group, multiply them by each row's pair in all lanes."""
        lanes, wide = self.lanes, vector_dtype("int16", 2 * self.lanes)
        for group in range(groups):
            weights = []
            for vector in range(tile.vectors):
                at = self.weight_at(tile, operands, group, vector)
                bytes_ = load(operands.weights, at, 2 * lanes)
                weights.append(builder.let("weight", bytes_.astype(wide), wide))
            for row in range(tile.rows):
                at = operands.x_rows[row] + group * 2
                both = reinterpret("int32", load(operands.x, at, 2))
                x = builder.let("x", reinterpret(wide, splat(both, lanes)), wide)
                for vector, weight in enumerate(weights):
                    before = tile.get(row, vector)
                    total = add_pairs(before, x, weight, lanes, fuses=self.fuses)
                    tile.set(builder, row, vector, total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SixteenBitLanes(Arithmetic):
    """NEON: ``smlal`` by element of x; four columns of two elements of K are a register."""

    name: str = "neon"
    x_dtype: str = "int16"
    weight_dtype: str = "int8"
    sum_dtype: str = "int32"
    lanes: int = 4
    group: int = 2
    step: int = 8
    arm32: bool = False

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, a register of x per row, widened weights of one and the next vector."""
        return rows * vectors + rows + 4 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Per pair: two products, a quarter of a load per row, a load and its widening."""
        del registers
        operations = 2 * rows * vectors + vectors
        loads = (rows / 4 + vectors) / self.loads_per_cycle
        return max(operations / self.multiplies_per_cycle, loads, self.latency_cycles)

    def arrange(self, block: Array) -> Array:
        """Elements of K outside the four columns of a register."""
        runs, groups, columns, _ = block.shape
        split = block.reshape(runs, groups, columns // self.lanes, self.lanes, 2)
        return np.ascontiguousarray(split.transpose(0, 1, 2, 4, 3)).reshape(-1)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Load the step's elements of each row, then multiply by element."""
        rows = [self._row(builder, operands, index, groups) for index in operands.x_rows]
        for group in range(groups):
            for vector in range(tile.vectors):
                at = self.weight_at(tile, operands, group, vector)
                bytes_ = load(operands.weights, at, 8)
                weight = builder.let("weight", bytes_.astype("int16x8"), "int16x8")
                halves = [pick([weight], np.arange(4 * k, 4 * k + 4)) for k in (0, 1)]
                for row, elements in enumerate(rows):
                    total = tile.get(row, vector)
                    for k, half in enumerate(halves):
                        x = splat(load(elements, 2 * group + k), 4)
                        total = total + self._multiply(half, x)
                    tile.set(builder, row, vector, total)

    def _row(
        self, builder: KernelBuilder, operands: Operands, index: Expr, groups: int
    ) -> Buffer:
        """A row's elements of the step, in registers."""
        elements = builder.array("x_row", "int16", 2 * groups)
        at = 0
        while at < 2 * groups:
            piece = 1 << (2 * groups - at).bit_length() - 1
            builder.store(elements, ramp(at, piece), load(operands.x, index + at, piece))
            at += piece
        return elements

    def _multiply(self, weight: Expr, x: Expr) -> Expr:
        name = "llvm.arm.neon.vmulls.v4i32" if self.arm32 else "llvm.aarch64.neon.smull.v4i32"
        return intrinsic("int32x4", name, weight, x)


def arithmetic_s16(target: Target) -> Arithmetic:
    """The arithmetic of int16 by int8 products."""
    if target.core.isa != "x86_64":
        per_cycle = 1.0 if target.core.in_order else 2.0
        return SixteenBitLanes(
            arm32=target.core.isa == "armv7", multiplies_per_cycle=per_cycle
        )
    lanes = target.lanes(32)
    fuses = fuses_pairs(target)
    return SixteenBitPairs(
        name=f"{'avx512' if lanes == 16 else 'avx2'}{'vnni' if fuses else ''}",
        lanes=lanes,
        fuses=fuses,
    )
