"""int8 by groups of int4 products on ARM, exact in int32: weights are unpacked in registers.

The sum of a group's products is what is multiplied by the group's multiple, not each weight: that is
one ``mla`` for 32 inputs of four outputs and a row, where weights would take eight multiplications
for all rows, and unpacked weights need not be the numbers themselves but may be 16 times them.

A group of 32 inputs of four outputs is four registers of 32 numbers each, as the arithmetic of plain
4-bit weights has them, and one with the four multiples.
"""

import dataclasses
import fractions
from collections.abc import Callable

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    KernelBuilder,
    constant,
    intrinsic,
    load,
    ramp,
    reinterpret,
    splat,
)
from edgecomp.schedules.cpu.arithmetic import LOAD_PRESSURE, Operands, RegisterTile
from edgecomp.schedules.cpu.arithmetic_s4_arm import (
    Int4LaneDot,
    Int4MatrixDot,
    Int4Pairs,
    eight_lanes,
    numbers_of,
    sixteenfold,
)
from edgecomp.schedules.cpu.arithmetic_signed import load_row_words
from edgecomp.schedules.cpu.arithmetic_widened import pairs_of_four
from edgecomp.schedules.cpu.int4_groups import GROUP, divided

#: Bytes of a register; registers of numbers of a group and vector.
_REGISTER, _NUMBERS = 16, 4
#: Weights to a byte, multiples counted.
_PER_BYTE = fractions.Fraction(GROUP * 4, _REGISTER * (_NUMBERS + 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int4GroupLaneDot(Int4LaneDot):
    """dotprod: eight ``sdot`` of weights that are 16 times what they mean, then ``mla``."""

    name: str = "int4_groups_dotprod"
    weights_per_element: int | fractions.Fraction = _PER_BYTE
    group: int = GROUP
    step: int = GROUP

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, x, the weights of a vector, packed ones, a mask, a multiple, a sum.

        Of one vector alone LLVM takes one register of weights after the other for the sums of all
        rows.
        """
        if vectors == 1:
            return 3 * rows + 8 <= registers
        return rows * vectors + 2 * rows + 2 * _NUMBERS + 4 <= registers

    def loop_steps(self, steps: int) -> int:
        """A step is long enough."""
        del steps
        return 1

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Sums that start at 0 and are multiplied; two instructions for a register of numbers."""
        del registers
        operations = 10 * rows * vectors + 2 * _NUMBERS * vectors
        loads = 2 * rows + (_NUMBERS + 1) * vectors
        if self.in_order:
            return operations / self.multiplies_per_cycle + loads
        slowest = max(operations / self.multiplies_per_cycle, loads / self.loads_per_cycle)
        return slowest + LOAD_PRESSURE * loads

    def arrange(self, block: Array) -> Array:
        """[4 registers of numbers, multiples] of every group and vector."""
        return _arranged(block, super().arrange)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Vector after vector: its weights of a group, then all rows."""
        quads = load_row_words(builder, operands, "int32", 8 * groups, 4)
        for group in range(groups):
            for vector in range(tile.vectors):
                at = self.weight_at(tile, operands, group, vector)
                weights = _sixteenfold(builder, operands, at)
                multiple = _multiples(builder, operands, at, self.lanes)
                for row in range(tile.rows):
                    total = constant(0, "int32", 4)
                    for place, weight in enumerate(weights):
                        quad = splat(load(quads[row], 8 * group + place), 4)
                        total = intrinsic(
                            "int32x4",
                            "llvm.aarch64.neon.sdot.v4i32.v16i8",
                            total,
                            weight,
                            reinterpret("int8x16", quad),
                        )
                    tile.set(builder, row, vector, tile.get(row, vector) + total * multiple)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int4GroupMatrixDot(Int4MatrixDot):
    """i8mm: four ``smmla`` of weights that are 16 times what they mean, then ``mla``."""

    name: str = "int4_groups_i8mm"
    weights_per_element: int | fractions.Fraction = _PER_BYTE
    group: int = GROUP
    step: int = GROUP

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators and x of whole row pairs; the weights of a vector, as with ``sdot``."""
        pairs = -(-rows // 2)
        return 2 * pairs * vectors + _NUMBERS * pairs + 2 * _NUMBERS + 4 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Of a pair of rows and a vector two sums, each of four products."""
        del registers
        pairs = -(-rows // 2)
        operations = 2 * pairs * vectors * (_NUMBERS + 2) + 2 * _NUMBERS * vectors
        loads = 2 * _NUMBERS * pairs + (_NUMBERS + 2) * vectors
        slowest = max(operations / self.multiplies_per_cycle, loads / self.loads_per_cycle)
        return slowest + LOAD_PRESSURE * loads

    def arrange(self, block: Array) -> Array:
        """[4 registers of numbers, multiples] of every group and vector."""
        return _arranged(block, super().arrange)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Vector after vector: its weights of a group, then all pairs of rows."""
        for group in range(groups):
            rows = [
                self.row_pairs(builder, tile, operands, _NUMBERS * group + index)
                for index in range(_NUMBERS)
            ]
            for vector in range(tile.vectors):
                at = self.weight_at(tile, operands, group, vector)
                weights = _sixteenfold(builder, operands, at)
                for half in range(2):
                    two = load(operands.weights, at + (_NUMBERS * _REGISTER + 8 * half), 8)
                    both = reinterpret("int32x4", splat(reinterpret("int64", two), 2))
                    multiple = builder.let("multiple", both, "int32x4")
                    for pair, sums in enumerate(tile.sums):
                        total = constant(0, "int32", 4)
                        for index in range(_NUMBERS):
                            total = intrinsic(
                                "int32x4",
                                "llvm.aarch64.neon.smmla.v4i32.v16i8",
                                total,
                                load(rows[index][pair], 0, 16),
                                weights[2 * index + half],
                            )
                        part = 8 * vector + 4 * half
                        sum_ = load(sums, part, 4) + total * multiple
                        builder.store(sums, ramp(part, 4), sum_)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int4GroupPairs(Int4Pairs):
    """Plain NEON: products of a group are added in 16 bits, 16 * 1024 at most, then multiplied.

    Sums of all vectors are in registers beside the accumulators, so that the vectors share what
    brings a pair of x beside all columns.
    """

    name: str = "int4_groups_neon"
    weights_per_element: int | fractions.Fraction = _PER_BYTE
    group: int = GROUP
    step: int = GROUP

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators and sums, x, weights; indices of ``tbl``, or all pairs of x.

        LLVM unpacks the weights of all vectors ahead; on armv7 it finishes one vector after the
        other, and keeps the pairs of x for the next.
        """
        sums = 2 * rows * vectors
        if self.arm32:
            return sums + rows * (8 if vectors > 1 else 2) + 4 <= registers
        return sums + 2 * rows + 2 * vectors + 4 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Sixteen products, a pairwise addition, ``mla``; x; numbers, of which 32 take three."""
        del registers
        copies = 16 if self.arm32 else 8
        operations = rows * (18 * vectors + copies + 2) + vectors * (4 * _NUMBERS + 1)
        return operations / self.multiplies_per_cycle

    def arrange(self, block: Array) -> Array:
        """[4 registers of numbers, multiples] of every group and vector."""
        return _arranged(block, super().arrange)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Register after register of numbers, of all vectors; then the multiples."""
        word = ("int16", 16 * groups, 2) if self.arm32 else ("int32", 8 * groups, 4)
        x = load_row_words(builder, operands, *word)
        for group in range(groups):
            starts = [
                self.weight_at(tile, operands, group, vector) for vector in range(tile.vectors)
            ]
            totals = [
                [builder.array("total", "int16", 8) for _ in starts] for _ in range(tile.rows)
            ]
            for index in range(_NUMBERS):
                places = [8 * group + 2 * index + half for half in range(2)]
                values = [
                    [self._beside_columns(builder, words, place) for place in places]
                    for words in x
                ]
                for vector, start in enumerate(starts):
                    packed = load(operands.weights, start + _REGISTER * index, _REGISTER)
                    weights = numbers_of(builder, packed)
                    for row, total in enumerate(totals):
                        product = self._products(values[row], weights)
                        if index:
                            product = load(total[vector], 0, 8) + product
                        builder.store(total[vector], ramp(0, 8), product)
            for vector, start in enumerate(starts):
                multiple = _multiples(builder, operands, start, self.lanes)
                for row, total in enumerate(totals):
                    added = self._added_pairs(load(total[vector], 0, 8))
                    tile.set(builder, row, vector, tile.get(row, vector) + added * multiple)

    def _beside_columns(self, builder: KernelBuilder, words: Buffer, place: int) -> list[Expr]:
        """Both pairs of four elements of x, each in eight bytes."""
        if self.arm32:
            pairs = [splat(load(words, 2 * place + n), 4) for n in range(2)]
            return [builder.let("x", reinterpret("int8x8", pair), "int8x8") for pair in pairs]
        four = load(words, place - place % 4, 4)
        both = builder.let("x", pairs_of_four(four, place % 4), "int8x16")
        return [eight_lanes(both, first) for first in (0, 8)]

    def _products(self, values: list[list[Expr]], weights: list[Expr]) -> Expr:
        """Eight 16-bit sums of four products each."""
        total: Expr = None
        for value, weight in zip(values, weights, strict=True):
            for pair, first in zip(value, (0, 8), strict=True):
                one = self._multiply(pair, eight_lanes(weight, first))
                total = one if total is None else total + one
        return total

    def _added_pairs(self, total: Expr) -> Expr:
        """Neighbouring 16-bit sums as int32."""
        name = "llvm.arm.neon.vpaddls" if self.arm32 else "llvm.aarch64.neon.saddlp"
        return intrinsic("int32x4", f"{name}.v4i32.v8i16", total)


def _arranged(block: Array, arrange: Callable[[Array], Array]) -> Array:
    """Numbers as the arithmetic of plain 4-bit weights arranges them, and multiples.

    Args:
        block: [runs, groups, columns, 32], whole vectors of columns.
        arrange: of [runs, groups, columns, 8], flat.
    """
    runs, groups, columns, _ = block.shape
    numbers, multiples = divided(block.view(np.int8))
    eights = numbers.reshape(runs, groups, columns, _NUMBERS, 8).transpose(0, 1, 3, 2, 4)
    words = arrange(eights.reshape(runs, groups * _NUMBERS, columns, 8))
    words = words.reshape(runs, groups, _NUMBERS, columns // 4, _REGISTER)
    last = multiples.astype("<i4").reshape(runs, groups, columns // 4, 1, 4).view(np.uint8)
    both = np.concatenate([words.transpose(0, 1, 3, 2, 4), last], axis=3)
    return both.reshape(-1)


def _sixteenfold(builder: KernelBuilder, operands: Operands, start: Expr) -> list[Expr]:
    """The numbers of a group and vector as int8 that are 16 times them: eight registers."""
    return [
        each
        for index in range(_NUMBERS)
        for each in sixteenfold(
            builder, load(operands.weights, start + _REGISTER * index, _REGISTER)
        )
    ]


def _multiples(builder: KernelBuilder, operands: Operands, start: Expr, lanes: int) -> Expr:
    """The multiples of a group and vector."""
    held = load(operands.weights, start + _REGISTER * _NUMBERS, _REGISTER)
    return builder.let("multiple", reinterpret(f"int32x{lanes}", held), f"int32x{lanes}")


def arithmetic_s4_groups_arm(
    target: Target,
) -> Int4GroupLaneDot | Int4GroupMatrixDot | Int4GroupPairs:
    """The arithmetic of an ARM target."""
    per_cycle = 1.0 if target.core.in_order else 2.0
    if target.has("i8mm"):
        return Int4GroupMatrixDot(multiplies_per_cycle=per_cycle)
    if target.has("dotprod"):
        return Int4GroupLaneDot(multiplies_per_cycle=per_cycle, in_order=target.core.in_order)
    return Int4GroupPairs(multiplies_per_cycle=per_cycle, arm32=target.core.isa == "armv7")
