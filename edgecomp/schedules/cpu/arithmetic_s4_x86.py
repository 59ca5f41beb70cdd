"""uint8 by int4 products on x86, exact in int32: weights are unpacked in registers."""

import dataclasses

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules.builder import (
    Expr,
    KernelBuilder,
    constant,
    intrinsic,
    load,
    reinterpret,
)
from edgecomp.schedules.cpu.arithmetic import LOAD_PRESSURE, Arithmetic, Operands, RegisterTile
from edgecomp.schedules.cpu.arithmetic_s8_x86 import broadcast_group
from edgecomp.schedules.cpu.int4_code import paired

#: The upper halves of the bytes of a word, and the lower ones.
_UPPER, _LOWER = -0x0F0F0F10, 0x0F0F0F0F


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Int4(Arithmetic):
    """Eight elements of K are a group: of its bytes the lower halves are the first four."""

    x_dtype: str = "uint8"
    weight_dtype: str = "uint8"
    sum_dtype: str = "int32"
    group: int = 8
    weights_per_element: int = 2

    def arrange(self, block: Array) -> Array:
        """[column][4 bytes] of every group and vector."""
        return paired_in_groups(block)

    def words(
        self,
        builder: KernelBuilder,
        tile: RegisterTile,
        operands: Operands,
        group: int,
        vector: int,
    ) -> Expr:
        """A vector's weights of a group, as they lie."""
        at = self.weight_at(tile, operands, group, vector)
        return builder.let(
            "packed",
            reinterpret(f"int32x{self.lanes}", load(operands.weights, at, 4 * self.lanes)),
            f"int32x{self.lanes}",
        )


def paired_in_groups(block: Array) -> Array:
    """[runs, groups, columns, 8] to bytes of the first and the second four, flat."""
    return np.ascontiguousarray(paired(block[..., :4], block[..., 4:])).reshape(-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int4DotProduct(_Int4):
    """VNNI: ``vpdpbusd`` of weights that are 16 times what they mean (int4_code.py)."""

    step: int = 16
    latency_cycles: float = 5.0
    finish_cycles: float = 4.0
    shift: int = 4

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, the packed and unpacked weights, a mask, one broadcast of x."""
        return rows * vectors + 2 * vectors + 2 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Two groups of four, and three instructions that unpack a vector of both."""
        one = super().step_cycles(rows, vectors, registers)
        return 2 * one + 3 * vectors / self.multiplies_per_cycle

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """The lower halves of all vectors, then the upper ones."""
        lanes, name = self.lanes, f"llvm.x86.avx512.vpdpbusd.{32 * self.lanes}"
        mask = constant(_UPPER, "int32", lanes)
        for group in range(groups):
            packed = [
                self.words(builder, tile, operands, group, vector)
                for vector in range(tile.vectors)
            ]
            for half in range(2):
                words = packed if half else [w << constant(4, "int32", lanes) for w in packed]
                weights = [
                    builder.let("weight", reinterpret(f"int8x{4 * lanes}", w & mask),
                                f"int8x{4 * lanes}")
                    for w in words
                ]  # fmt: skip
                for row in range(tile.rows):
                    at = operands.x_rows[row] + (group * 8 + half * 4)
                    value = broadcast_group(operands.x, at, lanes)
                    for vector, weight in enumerate(weights):
                        total = intrinsic(
                            f"int32x{lanes}",
                            name,
                            tile.get(row, vector),
                            reinterpret(f"int8x{4 * lanes}", value),
                            weight,
                        )
                        tile.set(builder, row, vector, total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int4Pairs(_Int4):
    """AVX2 and AVX-512BW: ``vpmaddubsw``, whose 16-bit sums of pairs 4 bits cannot overflow.

    255 * (8 + 8) = 4080 is the most, so that those of a step's four words are added in 16 bits
    too before ``vpmaddwd`` by ones adds the halves.
    """

    step: int = 16
    finish_cycles: float = 6.0

    def arrange(self, block: Array) -> Array:
        """Numbers from 0 to 15: a weight and 8."""
        return super().arrange(block) ^ np.uint8(0x88)

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, the weights of a step and vector, a sum, x, masks."""
        return rows * vectors + 8 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Half a step: three ports share multiplies, additions and what unpacks."""
        del registers
        operations = max((4.5 * rows * vectors + 5 * vectors) / 3, self.latency_cycles)
        return operations + LOAD_PRESSURE * (2 * rows * vectors + vectors)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Vector after vector: its weights of the step, then all rows."""
        lanes = self.lanes
        bytes_, shorts = f"int8x{4 * lanes}", f"int16x{2 * lanes}"
        pairs = "llvm.x86.avx2.pmadd.ub.sw" if lanes == 8 else "llvm.x86.avx512.pmaddubs.w.512"
        sums = "llvm.x86.avx2.pmadd.wd" if lanes == 8 else "llvm.x86.avx512.pmaddw.d.512"
        for vector in range(tile.vectors):
            weights = [
                each
                for group in range(groups)
                for each in less_eight(
                    builder, self.words(builder, tile, operands, group, vector), lanes
                )
            ]
            for row in range(tile.rows):
                total: Expr = None
                for place, weight in enumerate(weights):
                    value = broadcast_group(
                        operands.x, operands.x_rows[row] + 4 * place, lanes
                    )
                    one = intrinsic(shorts, pairs, reinterpret(bytes_, value), weight)
                    total = one if total is None else total + one
                added = intrinsic(
                    f"int32x{lanes}", sums, total, constant(1, "int16", 2 * lanes)
                )
                tile.set(builder, row, vector, tile.get(row, vector) + added)


def less_eight(builder: KernelBuilder, words: Expr, lanes: int) -> list[Expr]:
    """Lower and upper halves of bytes, less 8: int8."""
    mask, middle = constant(_LOWER, "int32", lanes), constant(8, "int8", 4 * lanes)
    halves = []
    for part in (words, words >> constant(4, "int32", lanes)):
        unsigned = reinterpret(f"int8x{4 * lanes}", part & mask)
        halves.append(builder.let("weight", unsigned - middle, f"int8x{4 * lanes}"))
    return halves


def arithmetic_s4_x86(target: Target) -> Int4DotProduct | Int4Pairs:
    """The arithmetic of an x86 target."""
    lanes = target.lanes(32)
    if target.has("avx512vnni") or target.has("avxvnni"):
        wide = target.has("avx512vnni")
        return Int4DotProduct(
            name=f"int4_{'avx512vnni' if wide else 'avxvnni'}", lanes=lanes if wide else 8
        )
    return Int4Pairs(name=f"int4_{'avx512' if lanes == 16 else 'avx2'}", lanes=lanes)
