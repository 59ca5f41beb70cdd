"""uint8 by groups of int4 products on x86: weights are unpacked in registers.

A group of 32 inputs of 16 (or 8) outputs is four words of eight numbers each, stored 8 more than
they are, and a word with the multiple m in both of its halves.
"""

import dataclasses
import fractions

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
from edgecomp.schedules.cpu.arithmetic_s4_x86 import less_eight
from edgecomp.schedules.cpu.arithmetic_s8_x86 import broadcast_group
from edgecomp.schedules.cpu.int4_code import paired
from edgecomp.schedules.cpu.int4_groups import GROUP, divided

_LOWER = 0x0F0F0F0F
#: Words of a group: numbers, eight to a word, and the multiple.
_WORDS = GROUP // 8 + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Int4Groups(Arithmetic):
    """How weights lie."""

    x_dtype: str = "uint8"
    weight_dtype: str = "uint8"
    sum_dtype: str = "int32"
    group: int = GROUP
    step: int = GROUP
    weights_per_element: fractions.Fraction = fractions.Fraction(GROUP, 4 * _WORDS)

    def arrange(self, block: Array) -> Array:
        """[words][column][4 bytes] of every group and vector."""
        runs, groups, columns, _ = block.shape
        numbers, multiples = divided(block.view(np.int8))
        vectors = (runs, groups, columns // self.lanes, self.lanes)
        raised = (numbers + np.int8(8)).reshape(*vectors, _WORDS - 1, 2, 4)
        words = paired(raised[..., 0, :], raised[..., 1, :])
        places = np.array([1, 0, 1, 0], np.uint8)
        last = multiples.reshape(*vectors, 1, 1) * places
        both = np.concatenate([words, last], axis=4)
        return np.ascontiguousarray(both.transpose(0, 1, 2, 4, 3, 5)).reshape(-1)

    def word(
        self, builder: KernelBuilder, operands: Operands, start: Expr, index: int
    ) -> Expr:
        """One word of every lane of a vector."""
        lanes = self.lanes
        held = load(operands.weights, start + 4 * lanes * index, 4 * lanes)
        return builder.let("packed", reinterpret(f"int32x{lanes}", held), f"int32x{lanes}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int4GroupDot(_Int4Groups):
    """VNNI: ``vpdpbusd`` of weights that are multiplied first.

    With u from 0 to 15 and m to 15 a product stays below 256, so that one multiplication of 16-bit
    lanes gives both of their bytes: ``m u``, less ``8 m``, is the weight.
    """

    latency_cycles: float = 5.0
    finish_cycles: float = 4.0

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators; of each vector both forms of the multiple and weights; x, a mask."""
        return rows * vectors + 3 * vectors + 3 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Eight groups of four, and what unpacks them: seven instructions for two."""
        one = super().step_cycles(rows, vectors, registers)
        return 8 * one + 4 * 7 * vectors / self.multiplies_per_cycle

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Word after word of all vectors."""
        lanes = self.lanes
        bytes_, shorts, longs = f"int8x{4 * lanes}", f"int16x{2 * lanes}", f"int32x{lanes}"
        name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
        mask, four = constant(_LOWER, "int32", lanes), constant(4, "int32", lanes)
        for group in range(groups):
            starts = [
                self.weight_at(tile, operands, group, vector) for vector in range(tile.vectors)
            ]

            multiples, offsets = [], []
            for vector in range(tile.vectors):
                multiple = self.word(builder, operands, starts[vector], _WORDS - 1)
                multiples.append(
                    builder.let("multiple", reinterpret(shorts, multiple), shorts)
                )
                offset = multiple << constant(3, "int32", lanes)
                offset = offset | multiple << constant(11, "int32", lanes)
                offsets.append(builder.let("offset", reinterpret(bytes_, offset), bytes_))
            for index in range(_WORDS - 1):
                packed = [self.word(builder, operands, start, index) for start in starts]
                for half in range(2):
                    weights = []
                    for vector in range(tile.vectors):
                        part = packed[vector] >> four if half else packed[vector]
                        product = reinterpret(shorts, part & mask) * multiples[vector]
                        weight = reinterpret(bytes_, product) - offsets[vector]
                        weights.append(builder.let("weight", weight, bytes_))
                    for row in range(tile.rows):
                        at = operands.x_rows[row] + (group * GROUP + index * 8 + half * 4)
                        value = reinterpret(bytes_, broadcast_group(operands.x, at, lanes))
                        for vector, weight in enumerate(weights):
                            total = intrinsic(
                                longs, name, tile.get(row, vector), value, weight
                            )
                            tile.set(builder, row, vector, total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int4GroupPairs(_Int4Groups):
    """AVX2 and AVX-512BW: sums of a group in 16 bits, by ``vpmaddubsw``, are what is multiplied.

    Eight words add 8 * 255 * (8 + 8) = 32640 at most. ``vpmaddwd`` by the multiple in both halves
    of a lane then adds and scales in one.
    """

    finish_cycles: float = 6.0

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, the weights of a group and vector, a sum, x.

        LLVM keeps the words of x for further vectors, and unpacks weights where they are used.
        """
        words = GROUP // 4
        held = words if vectors == 1 else rows * words + 3
        return rows * vectors + held + 2 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Three ports share multiplies, additions and what unpacks."""
        del registers
        operations = max((17 * rows * vectors + 20 * vectors) / 3, self.latency_cycles)
        return operations + LOAD_PRESSURE * (8 * rows * vectors + _WORDS * vectors)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Vector after vector: its weights of a group, then all rows."""
        lanes = self.lanes
        bytes_, shorts = f"int8x{4 * lanes}", f"int16x{2 * lanes}"
        pairs = "llvm.x86.avx2.pmadd.ub.sw" if lanes == 8 else "llvm.x86.avx512.pmaddubs.w.512"
        sums = "llvm.x86.avx2.pmadd.wd" if lanes == 8 else "llvm.x86.avx512.pmaddw.d.512"
        for group in range(groups):
            for vector in range(tile.vectors):
                start = self.weight_at(tile, operands, group, vector)
                weights = [
                    each
                    for index in range(_WORDS - 1)
                    for each in less_eight(
                        builder, self.word(builder, operands, start, index), lanes
                    )
                ]
                multiple = reinterpret(shorts, self.word(builder, operands, start, _WORDS - 1))
                for row in range(tile.rows):
                    total: Expr = None
                    for place, weight in enumerate(weights):
                        at = operands.x_rows[row] + (group * GROUP + 4 * place)
                        value = reinterpret(bytes_, broadcast_group(operands.x, at, lanes))
                        one = intrinsic(shorts, pairs, value, weight)
                        total = one if total is None else total + one
                    scaled = intrinsic(f"int32x{lanes}", sums, total, multiple)
                    tile.set(builder, row, vector, tile.get(row, vector) + scaled)


def arithmetic_s4_groups_x86(target: Target) -> Int4GroupDot | Int4GroupPairs:
    """The arithmetic of an x86 target."""
    lanes = target.lanes(32)
    if target.has("avx512vnni"):
        return Int4GroupDot(name="int4_groups_avx512vnni", lanes=lanes)
    if target.has("avxvnni"):
        return Int4GroupDot(name="int4_groups_avxvnni", lanes=8)
    return Int4GroupPairs(
        name=f"int4_groups_{'avx512' if lanes == 16 else 'avx2'}", lanes=lanes
    )
