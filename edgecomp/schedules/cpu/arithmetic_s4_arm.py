"""int8 by int4 products on ARM, exact in int32: weights are unpacked in registers."""

import dataclasses
import fractions

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
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
from edgecomp.schedules.cpu.arithmetic import Operands, RegisterTile
from edgecomp.schedules.cpu.arithmetic_dot import LaneDot, MatrixDot
from edgecomp.schedules.cpu.arithmetic_signed import load_row_words
from edgecomp.schedules.cpu.arithmetic_widened import WidenedPairs
from edgecomp.schedules.cpu.int4_code import paired


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int4LaneDot(LaneDot):
    """dotprod: ``sdot`` of weights that are 16 times what they mean (int4_code.py).

    A register has eight elements of K for four columns, in its bytes' lower halves the first four.
    """

    name: str = "int4_dotprod"
    weight_dtype: str = "uint8"
    weights_per_element: int | fractions.Fraction = 2
    group: int = 8
    shift: int = 4
    loads_biases: bool = False

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, x, packed and unpacked weights, a mask."""
        return rows * vectors + rows + 2 * vectors + 2 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Two groups of four; a shift and a mask."""
        one = super().step_cycles(rows, vectors, registers)
        return 2 * (one + vectors / self.multiplies_per_cycle)

    def arrange(self, block: Array) -> Array:
        """[column][4 bytes] of every group and vector."""
        return np.ascontiguousarray(paired(block[..., :4], block[..., 4:])).reshape(-1)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Load 16 (or 8) elements of each row, then multiply by element."""
        quads = load_row_words(builder, operands, "int32", 2 * groups, 4)
        for group in range(groups):
            halves = [
                sixteenfold(
                    builder,
                    load(operands.weights, self.weight_at(tile, operands, group, v), 16),
                )
                for v in range(tile.vectors)
            ]
            for half in range(2):
                for vector in range(tile.vectors):
                    for row in range(tile.rows):
                        quad = splat(load(quads[row], 2 * group + half), 4)
                        total = intrinsic(
                            "int32x4",
                            "llvm.aarch64.neon.sdot.v4i32.v16i8",
                            tile.get(row, vector),
                            halves[vector][half],
                            reinterpret("int8x16", quad),
                        )
                        tile.set(builder, row, vector, total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int4MatrixDot(MatrixDot):
    """i8mm: ``smmla`` of weights that are 16 times what they mean.

    A register has four columns of eight elements of K, in its lower halves the first two columns.
    """

    name: str = "int4_i8mm"
    weight_dtype: str = "uint8"
    weights_per_element: int | fractions.Fraction = 2
    shift: int = 4

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """A shift and a mask for each vector of columns."""
        one = super().step_cycles(rows, vectors, registers)
        return one + 2 * vectors / self.multiplies_per_cycle

    def arrange(self, block: Array) -> Array:
        """[2 columns][8 bytes] of every group and vector."""
        runs, groups, columns, _ = block.shape
        split = block.reshape(runs, groups, columns // 4, 2, 2, 8)
        return np.ascontiguousarray(paired(split[:, :, :, 0], split[:, :, :, 1])).reshape(-1)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """One group of eight elements at a time."""
        for group in range(groups):
            columns = []
            for vector in range(tile.vectors):
                at = self.weight_at(tile, operands, group, vector)
                columns += sixteenfold(builder, load(operands.weights, at, 16))
            for both, sums in zip(
                self.row_pairs(builder, tile, operands, group), tile.sums, strict=True
            ):
                for part, weights in enumerate(columns):
                    total = intrinsic(
                        "int32x4",
                        "llvm.aarch64.neon.smmla.v4i32.v16i8",
                        load(sums, part * 4, 4),
                        load(both, 0, 16),
                        weights,
                    )
                    builder.store(sums, ramp(part * 4, 4), total)

    def row_pairs(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, eight: int
    ) -> list[Buffer]:
        """Eight elements of both rows of every pair; a row left alone is its own neighbour."""
        found = []
        for pair in range(len(tile.sums)):
            both = builder.array("x_pair", "int8", 16)
            for place, row in enumerate((2 * pair, min(2 * pair + 1, tile.rows - 1))):
                part = load(operands.x, operands.x_rows[row] + eight * 8, 8)
                builder.store(both, ramp(place * 8, 8), part)
            found.append(both)
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int4Pairs(WidenedPairs):
    """Plain NEON: 16-bit products of a step are added in 16 bits, where 8 bits add two.

    128 * 8 = 1024 is the most, so that the eight of a step fit, and ``sadalp`` is needed once.
    """

    name: str = "int4_neon"
    weight_dtype: str = "uint8"
    weights_per_element: int | fractions.Fraction = 2
    group: int = 8
    step: int = 16

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, the weights of a step and vector, x of every row, a product and a copy."""
        weights = self.step // 2 if registers > 16 else self.step // 4
        return rows * vectors + rows + weights + 2 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Per eight elements: four products, half a pairwise addition, copies of x, unpacking."""
        del registers
        operations = rows * vectors * (4 + 4 + 0.5) + vectors * 4 + rows
        return operations / self.multiplies_per_cycle

    def arrange(self, block: Array) -> Array:
        """[pair of K][column][2 bytes] of every group and vector."""
        runs, groups, columns, _ = block.shape
        split = block.reshape(runs, groups, columns // 4, 4, 2, 2, 2)
        ordered = split.transpose(0, 1, 2, 4, 5, 3, 6)  # half, pair, column, element
        both = paired(
            np.ascontiguousarray(ordered[:, :, :, 0]),
            np.ascontiguousarray(ordered[:, :, :, 1]),
        )
        return both.reshape(-1)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Vector after vector: its weights of the step, then all rows."""
        pairs = load_row_words(builder, operands, "int16", 4 * groups, 2)
        for vector in range(tile.vectors):
            weights = []
            for group in range(groups):
                at = self.weight_at(tile, operands, group, vector)
                for half in numbers_of(builder, load(operands.weights, at, 16)):
                    weights += [eight_lanes(half, first) for first in (0, 8)]
            for row in range(tile.rows):
                total: Expr = None
                for place, weight in enumerate(weights):
                    value = reinterpret("int8x8", splat(load(pairs[row], place), 4))
                    one = self._multiply(value, weight)
                    total = one if total is None else total + one
                tile.set(builder, row, vector, self._add_pairs(tile.get(row, vector), total))


def sixteenfold(builder: KernelBuilder, packed: Expr) -> list[Expr]:
    """Lower and upper halves of 16 bytes as int8 that are 16 times the numbers."""
    packed = builder.let("packed", packed, "uint8x16")
    parts = (packed << constant(4, "uint8", 16), packed & constant(0xF0, "uint8", 16))
    return [builder.let("weight", reinterpret("int8x16", each), "int8x16") for each in parts]


def numbers_of(builder: KernelBuilder, packed: Expr) -> list[Expr]:
    """Lower and upper halves of 16 bytes as int8."""
    four = constant(4, "int8", 16)
    signed = builder.let("packed", reinterpret("int8x16", packed), "int8x16")
    return [
        builder.let("weight", (signed << four) >> four, "int8x16"),
        builder.let("weight", signed >> four, "int8x16"),
    ]


def eight_lanes(vector: Expr, first: int) -> Expr:
    """Eight neighbouring lanes."""
    return tirx.Shuffle([vector], [tirx.const(first + n, "int32") for n in range(8)])


def arithmetic_s4_arm(target: Target) -> Int4LaneDot | Int4MatrixDot | Int4Pairs:
    """The arithmetic of an ARM target."""
    per_cycle = 1.0 if target.core.in_order else 2.0
    if target.has("i8mm"):
        return Int4MatrixDot(multiplies_per_cycle=per_cycle)
    if target.has("dotprod"):
        return Int4LaneDot(multiplies_per_cycle=per_cycle, in_order=target.core.in_order)
    return Int4Pairs(multiplies_per_cycle=per_cycle, arm32=target.core.isa == "armv7")
