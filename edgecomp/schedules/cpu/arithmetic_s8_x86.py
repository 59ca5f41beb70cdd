"""uint8 by int8 products on x86, exact in int32.

``vpmaddubsw`` is not here: it saturates when 255 * (|w0| + |w1|) exceeds 32767.
"""

import dataclasses

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
    reinterpret,
    splat,
)
from edgecomp.schedules.cpu.arithmetic import LOAD_PRESSURE, Arithmetic, Operands, RegisterTile


@dataclasses.dataclass(frozen=True, kw_only=True)
class DotProduct(Arithmetic):
    """VNNI: ``vpdpbusd`` adds four products per lane."""

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, the weights of one group, one broadcast of x; one to spare."""
        return rows * vectors + vectors + 2 <= registers

    def quad_parts(self, quads: Expr) -> list[Expr]:
        """They are as the instruction reads them."""
        return [reinterpret(f"int8x{4 * self.lanes}", quads)]

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Broadcast four bytes of x to all lanes, multiply each vector of weights by them."""
        bits = 32 * self.lanes
        name = f"llvm.x86.avx512.vpdpbusd.{bits}"
        for group in range(groups):
            for row in range(tile.rows):
                value = broadcast_group(
                    operands.x, operands.x_rows[row] + group * 4, self.lanes
                )
                for vector in range(tile.vectors):
                    at = self.weight_at(tile, operands, group, vector)
                    total = intrinsic(
                        f"int32x{self.lanes}",
                        name,
                        tile.get(row, vector),
                        reinterpret(f"int8x{4 * self.lanes}", value),
                        load(operands.weights, at, 4 * self.lanes),
                    )
                    tile.set(builder, row, vector, total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WidenedPairs(Arithmetic):
    """AVX2 and AVX-512BW: 16-bit pairs by ``vpmaddwd``.

    Four bytes of x are broadcast as one 32-bit number; a mask leaves bytes 0 and 2 as 16-bit
    numbers, a shift leaves 1 and 3. So a vector's weights lie as [0, 2 or 1, 3][column][2].
    They are stored with 16 bits: the multiply then takes them from memory, where widening them
    would cost an instruction and a register each.
    """

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, two forms of x, one product."""
        return rows * vectors + 3 < registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Three vector ports share multiplies, additions and the forms of x.

        Every multiply reads its weights, so wide blocks cost more loads (fitted).
        """
        del registers
        operations = max((4 * rows * vectors + 2 * rows) / 3, self.latency_cycles)
        return operations + LOAD_PRESSURE * (rows + 8 * vectors)

    def arrange(self, block: Array) -> Array:
        """Even elements of all columns of a vector, then the odd ones."""
        runs, groups, columns, _ = block.shape
        split = block.reshape(runs, groups, columns // self.lanes, self.lanes, 2, 2)
        return np.ascontiguousarray(split.transpose(0, 1, 2, 5, 3, 4)).reshape(-1)

    def quad_parts(self, quads: Expr) -> list[Expr]:
        """The same while a kernel runs: even bytes widened, then odd ones."""
        half = 2 * self.lanes
        words = reinterpret(f"int16x{half}", quads)
        eight = constant(8, "int16", half)
        parts = [(words << eight) >> eight, words >> eight]
        return [tirx.Shuffle(parts, list(range(2 * half)))]

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Both forms of a row's four bytes against the weights in memory."""
        lanes, half = self.lanes, 2 * self.lanes
        name = "llvm.x86.avx2.pmadd.wd" if lanes == 8 else "llvm.x86.avx512.pmaddw.d.512"
        for group in range(groups):
            for row in range(tile.rows):
                at = operands.x_rows[row] + group * 4
                value = builder.let(
                    "quad", broadcast_group(operands.x, at, lanes), f"int32x{lanes}"
                )
                forms = [
                    reinterpret(f"int16x{half}", _bytes(value, odd, lanes)) for odd in (0, 1)
                ]
                for vector in range(tile.vectors):
                    at = self.weight_at(tile, operands, group, vector)
                    for odd in (0, 1):
                        pair = load(operands.weights, at + odd * half, half)
                        product = intrinsic(f"int32x{lanes}", name, forms[odd], pair)
                        tile.set(builder, row, vector, tile.get(row, vector) + product)


def broadcast_group(x: Buffer, index: Expr, lanes: int) -> Expr:
    """Four bytes of x as one 32-bit number in every lane."""
    return splat(reinterpret("int32", load(x, index, 4)), lanes)


def _bytes(value: Expr, odd: int, lanes: int) -> Expr:
    """Bytes 0 and 2, or 1 and 3, of each 32-bit lane as unsigned 16-bit numbers."""
    if odd:
        words = reinterpret(f"uint16x{2 * lanes}", value)
        return words >> constant(8, "uint16", 2 * lanes)
    return value & constant(0x00FF00FF, "int32", lanes)


def arithmetic_s8_x86(target: Target) -> Arithmetic:
    """The int8 arithmetic of an x86 target."""
    lanes = target.lanes(32)
    if target.has("avx512vnni") or target.has("avxvnni"):
        return DotProduct(
            name="avx512vnni" if target.has("avx512vnni") else "avxvnni",
            x_dtype="uint8",
            weight_dtype="int8",
            sum_dtype="int32",
            lanes=lanes if target.has("avx512vnni") else 8,
            group=4,
            step=16,
            latency_cycles=5.0,
            finish_cycles=4.0,
            multiplies_per_cycle=2.0 / target.core.turns,
            loads_per_cycle=2.0 / target.core.turns,
        )
    return WidenedPairs(
        name="avx512" if lanes == 16 else "avx2",
        x_dtype="uint8",
        weight_dtype="int16",
        sum_dtype="int32",
        lanes=lanes,
        group=4,
        step=4,
        finish_cycles=6.0,
    )
