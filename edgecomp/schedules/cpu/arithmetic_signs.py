"""Products of signs with signs: counts of bits.

x comes in pairs of words (``PackSigns``): signs, and which of them count. With weights' signs w a sum
is ``count(counting) - 2 * count((signs ^ w) & counting)``; the first term is the same for all columns
and is counted once per row.
"""

import dataclasses

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
    splat,
)
from edgecomp.schedules.cpu.arithmetic import (
    LOAD_PRESSURE,
    Arithmetic,
    Operands,
    RegisterTile,
    Start,
)
from edgecomp.schedules.cpu.epilogue import vector_dtype


@dataclasses.dataclass
class SignTile(RegisterTile):
    """Sums of differing signs, and for each row the counting ones in every lane of a vector.

    Attributes:
        counts: one lane where a scalar instruction counts them.
    """

    counts: list[Buffer]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signs(Arithmetic):
    """See the module.

    A step is one pair of words: of two LLVM would load neighbouring words of x as a vector, spread
    them by permutations, and spill.

    Attributes:
        instructions: for one vector of columns: exclusive or, and, count, sum.
        count_lanes: of a row's counts.
    """

    x_dtype: str = "int32"
    weight_dtype: str = "int32"
    sum_dtype: str = "int32"
    group: int = 2
    step: int = 2
    weights_per_element: int = 2
    instructions: float
    count_lanes: int = 1

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, weights, both words of x, what counting takes; tables of it."""
        counts = rows if self.count_lanes > 1 else 0
        return rows * vectors + vectors + counts + 5 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Instructions on vectors; two words of each row and the weights are loaded."""
        del registers
        operations = self.instructions * rows * vectors
        if self.count_lanes > 1:
            operations += rows * (self.instructions - 2)
        loads = (2 * rows + vectors) / self.loads_per_cycle
        cycles = max(operations / self.multiplies_per_cycle, loads, self.latency_cycles)
        return cycles + LOAD_PRESSURE * (2 * rows + vectors)

    def arrange(self, block: Array) -> Array:
        """The first word of each pair."""
        return np.ascontiguousarray(block[..., 0]).reshape(-1)

    def begin(
        self, builder: KernelBuilder, rows: int, vectors: int, start: Start
    ) -> RegisterTile:
        """From 0; there is no bias."""
        tile = super().begin(builder, rows, vectors, dataclasses.replace(start, bias=None))
        lanes = self.count_lanes
        counts = [builder.array("count", "int32", lanes) for _ in range(rows)]
        for count in counts:
            builder.store(count, ramp(0, lanes), constant(0, "int32", lanes))
        return SignTile(rows, vectors, self.lanes, tile.sums, counts)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """One pair of words of K at a time."""
        assert isinstance(tile, SignTile)
        lanes, dtype = self.lanes, vector_dtype("int32", self.lanes)
        for group in range(groups):
            weights = []
            for vector in range(tile.vectors):
                at = self.weight_at(tile, operands, group, vector)
                weights.append(builder.let("weight", load(operands.weights, at, lanes), dtype))
            for row in range(tile.rows):
                at = operands.x_rows[row] + 2 * group
                signs = builder.let("signs", splat(load(operands.x, at), lanes), dtype)
                counting = builder.let("counting", load(operands.x, at + 1), "int32")
                mask = builder.let("mask", splat(counting, lanes), dtype)
                own = mask if self.count_lanes > 1 else counting
                count = load(tile.counts[row], 0, self.count_lanes)
                builder.store(
                    tile.counts[row],
                    ramp(0, self.count_lanes),
                    count + count_bits(own, self.count_lanes),
                )
                for vector, weight in enumerate(weights):
                    differing = count_bits((signs ^ weight) & mask, lanes)
                    tile.set(builder, row, vector, tile.get(row, vector) + differing)

    def finish(self, builder: KernelBuilder, tile: RegisterTile) -> RegisterTile:
        """Counting signs less twice the differing ones."""
        assert isinstance(tile, SignTile)
        two = constant(2, "int32", self.lanes)
        for row, count in enumerate(tile.counts):
            total = load(count, 0, self.count_lanes)
            if self.count_lanes == 1:
                total = splat(total, self.lanes)
            for vector in range(tile.vectors):
                tile.set(builder, row, vector, total - two * tile.get(row, vector))
        return tile


def count_bits(x: Expr, lanes: int) -> Expr:
    """Bits that are set in each lane of int32."""
    suffix = "i32" if lanes == 1 else f"v{lanes}i32"
    return intrinsic(vector_dtype("int32", lanes), f"llvm.ctpop.{suffix}", x)


def arithmetic_signs(target: Target) -> Arithmetic:
    """The arithmetic of a target; how ``llvm.ctpop`` is made decides its price."""
    lanes = target.lanes(32)
    if target.core.isa != "x86_64":
        per_cycle = 1.0 if target.core.in_order else 2.0
        # vcnt and two pairwise additions.
        return Signs(
            name="vcnt", lanes=lanes, instructions=6.0, count_lanes=lanes,
            multiplies_per_cycle=per_cycle,
        )  # fmt: skip
    if target.has("avx512vpopcntdq"):
        return Signs(name="vpopcntdq", lanes=lanes, instructions=3.0)
    # A table of 16 counts for each half of a byte, and sums of four bytes.
    return Signs(name="pshufb", lanes=lanes, instructions=13.0)
