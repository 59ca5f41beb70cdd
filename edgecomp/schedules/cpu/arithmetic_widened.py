"""int8 by int8 products on plain NEON by products of 16 bits, exact in int32."""

import dataclasses

from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    KernelBuilder,
    intrinsic,
    load,
    reinterpret,
    splat,
)
from edgecomp.schedules.cpu import widened_loop
from edgecomp.schedules.cpu.arithmetic import Operands, RegisterTile
from edgecomp.schedules.cpu.arithmetic_signed import Signed, load_row_words
from edgecomp.schedules.cpu.run_loop import call_run_loop
from edgecomp.schedules.cpu.transpose import deinterleave
from edgecomp.schedules.cpu.widened_loop import WidenedLoop

#: In order: what one vector left costs on top (counted in kernels of 16 and of 20 columns).
_FINISH_ALONE = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class WidenedPairs(Signed):
    """Plain NEON: 16-bit products of element pairs, added in pairs to 32 bits.

    ``smull`` multiplies 4 columns x 2 elements to 16 bits, ``smlal`` adds the next two
    elements, ``sadalp`` adds neighbours to the accumulators: 3 instructions for 16 products.
    Two products fit 16 bits only while no weight is -128: 2 * 128 * 127 = 32512.

    Attributes:
        products: that are added in 16 bits, 1 or 2.
    """

    name: str = "neon"
    group: int = 2
    step: int = 8
    products: int = 2
    arm32: bool = False

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, the weights of all vectors, a copy of x per row, a product.

        With 32 registers LLVM loads the next weights ahead, which then need as many again.
        """
        weights = self.products * vectors * (2 if registers > 16 else 1)
        return rows * vectors + weights + rows + 1 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Per pair: a copy of x per row, the product, its share of the pairwise addition."""
        del registers
        operations = rows * (1 + vectors * (1 + 1 / self.products)) + vectors / 2
        return operations / self.multiplies_per_cycle

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Load the step's elements of each row, then go through their pairs."""
        pairs = load_row_words(builder, operands, "int16", groups, 2)
        for first in range(0, groups, self.products):
            used = range(first, min(groups, first + self.products))
            for row in range(tile.rows):
                for vector in range(tile.vectors):
                    product: Expr = None
                    for group in used:
                        at = self.weight_at(tile, operands, group, vector)
                        value = reinterpret("int8x8", splat(load(pairs[row], group), 4))
                        one = self._multiply(value, load(operands.weights, at, 8))
                        product = one if product is None else product + one
                    total = self._add_pairs(tile.get(row, vector), product)
                    tile.set(builder, row, vector, total)

    def quad_parts(self, quads: Expr) -> list[Expr]:
        """Pairs of K: the lower halves of words, then the upper ones."""
        words = reinterpret(f"int16x{2 * self.lanes}", quads)
        return [
            reinterpret(f"int8x{2 * self.lanes}", part)
            for part in deinterleave(words, self.lanes, 2)
        ]

    def _multiply(self, x: Expr, weights: Expr) -> Expr:
        name = "llvm.arm.neon.vmulls.v8i16" if self.arm32 else "llvm.aarch64.neon.smull.v8i16"
        return intrinsic("int16x8", name, x, weights)

    def _add_pairs(self, total: Expr, product: Expr) -> Expr:
        if self.arm32:
            name = "llvm.arm.neon.vpadals.v4i32.v8i16"
            return intrinsic("int32x4", name, total, product)
        name = "llvm.aarch64.neon.saddlp.v4i32.v8i16"
        return total + intrinsic("int32x4", name, product)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WidenedQuads(Signed):
    """``WidenedPairs`` where K comes in fours: whole registers of weights and of x.

    A register of weights holds two pairs of K for four columns, ``tbl`` brings the same two
    pairs of x beside them, and ``smull`` takes the lower halves, ``smlal2`` the upper ones.
    That halves the copies of x and the loads of weights.
    """

    name: str = "neon"
    group: int = 4
    step: int = 16

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators; this and the next weights; x and its copy; indices of ``tbl``."""
        indices, products = self.step // self.group, 2
        return rows * vectors + 2 * (rows + vectors) + indices + products <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Per four elements: a copy of x per row, two products and their pairwise addition."""
        del registers
        operations = rows * (1.25 + vectors * 3) + vectors / 2
        return operations / self.multiplies_per_cycle

    def arrange(self, block: Array) -> Array:
        """Pairs of K outside the four columns of a register."""
        runs, groups, columns, _ = block.shape
        split = block.reshape(runs, groups, columns // self.lanes, self.lanes, 2, 2)
        return split.transpose(0, 1, 2, 4, 3, 5).reshape(-1)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Load the step's elements of each row, then go through their fours."""
        quads = load_row_words(builder, operands, "int32", groups, 4)
        for group in range(groups):
            weights = [
                builder.let(
                    "weight",
                    load(operands.weights, self.weight_at(tile, operands, group, vector), 16),
                    "int8x16",
                )
                for vector in range(tile.vectors)
            ]
            for row in range(tile.rows):
                x = builder.let("x", self._pairs(quads[row], group, groups), "int8x16")
                for vector, weight in enumerate(weights):
                    product = _widened(x, weight, 0) + _widened(x, weight, 8)
                    total = _with_pairs(tile.get(row, vector), product)
                    tile.set(builder, row, vector, total)

    def _pairs(self, quads: Buffer, group: int, groups: int) -> Expr:
        """Both pairs of a group of x, each four times."""
        if groups < self.step // self.group:
            pairs = reinterpret("int16x2", load(quads, group))
            lanes = [tirx.const(index, "int32") for index in (0, 0, 0, 0, 1, 1, 1, 1)]
            return reinterpret("int8x16", tirx.Shuffle([pairs, pairs, pairs, pairs], lanes))
        return pairs_of_four(load(quads, 0, groups), group)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopQuads(WidenedQuads):
    """``WidenedQuads`` with a run of K in a loop of chosen registers and order (widened_loop.py).

    For cores that issue in order, where each instruction has a cycle of its own.
    """

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Whether the loop finds its registers."""
        del registers
        return widened_loop.fits(rows, vectors)

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Per four elements: loads and copies of x, products, weights. Two at once take two."""
        del registers
        return rows * (1.25 + 3 * vectors) + vectors

    def finish_row_cycles(self, vectors: int) -> float:
        """A vector left alone is finished together with a copy, which nothing hides."""
        return super().finish_row_cycles(vectors) + (_FINISH_ALONE if vectors % 4 == 1 else 0)

    def accumulate_run(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, length: int
    ) -> bool:
        """One call of the loop."""
        groups = length // self.group
        loop = WidenedLoop(tile.rows, tile.vectors, groups, operands.x_shifts)
        call_run_loop(builder, loop, tile, operands)
        return True


def pairs_of_four(fours: Expr, group: int) -> Expr:
    """Both pairs of a word of four words of x, each four times."""
    indices = tirx.Shuffle(
        [
            splat(tirx.const(0x0100 + 0x0202 * (2 * group + pair), "int16"), 4)
            for pair in range(2)
        ],
        [tirx.const(index, "int32") for index in range(8)],
    )
    whole, table = reinterpret("int8x16", fours), reinterpret("int8x16", indices)
    return intrinsic("int8x16", "llvm.aarch64.neon.tbl1.v16i8", whole, table)


def _widened(x: Expr, weight: Expr, first: int) -> Expr:
    """16-bit products of eight neighbouring bytes."""
    lanes = [tirx.const(first + index, "int32") for index in range(8)]
    parts = [tirx.Shuffle([value], lanes) for value in (x, weight)]
    return intrinsic("int16x8", "llvm.aarch64.neon.smull.v8i16", *parts)


def _with_pairs(total: Expr, product: Expr) -> Expr:
    """Neighbouring products added to the totals."""
    return total + intrinsic("int32x4", "llvm.aarch64.neon.saddlp.v4i32.v8i16", product)
