"""int8 by int8 products on ARM by ``sdot`` and ``smmla``, exact in int32."""

import dataclasses
import math

from edgecomp.schedules.builder import (
    Expr,
    KernelBuilder,
    intrinsic,
    load,
    ramp,
    reinterpret,
    splat,
)
from edgecomp.schedules.cpu.arithmetic import LOAD_PRESSURE, Operands, RegisterTile, Start
from edgecomp.schedules.cpu.arithmetic_signed import Signed, load_row_words
from edgecomp.schedules.cpu.lane_loop import SDOT, LaneLoop
from edgecomp.schedules.cpu.lane_plan import dot_plan_for
from edgecomp.schedules.cpu.run_loop import call_run_loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaneDot(Signed):
    """dotprod: ``sdot`` by element, 16 elements of x in one register.

    Attributes:
        shallow: K is at most two steps, whose weights LLVM loads ahead.
        in_order: loads take slots of their own, and stay where they are used.
    """

    name: str = "dotprod"
    group: int = 4
    step: int = 16
    loads_biases: bool = True
    shallow: bool = False
    in_order: bool = False

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, this and maybe the next register of x per row, weights."""
        if self.shallow:
            return rows * vectors + 2 * rows + 2 * vectors <= registers
        if self.in_order:
            return rows * vectors + rows + 3 <= registers
        return rows * vectors + 2 * rows + -(-vectors // 2) <= registers

    def loop_steps(self, steps: int) -> int:
        """Divides the steps: with single ones behind the loop, LLVM spills inside it."""
        wanted = (4, 3, 2) if self.in_order and steps > 4 else (2, 3)
        return next((several for several in wanted if steps % several == 0), 1)

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Per group: a quarter of a load per row; loads of weights go in pairs."""
        del registers
        multiplies = rows * vectors / self.multiplies_per_cycle
        if self.in_order:
            return max(multiplies, self.latency_cycles) + rows / 4 + vectors
        loads = rows / 4 + vectors / 2
        return max(multiplies, loads, self.latency_cycles) + LOAD_PRESSURE * loads

    def quad_parts(self, quads: Expr) -> list[Expr]:
        """They are as the instruction reads them."""
        return [reinterpret(f"int8x{4 * self.lanes}", quads)]

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Load 16 (or 4 at a time) elements of each row, then multiply by element."""
        quads = load_row_words(builder, operands, "int32", groups, 4)
        for group in range(groups):
            for vector in range(tile.vectors):
                at = self.weight_at(tile, operands, group, vector)
                for row in range(tile.rows):
                    total = intrinsic(
                        "int32x4",
                        "llvm.aarch64.neon.sdot.v4i32.v16i8",
                        tile.get(row, vector),
                        load(operands.weights, at, 16),
                        reinterpret("int8x16", splat(load(quads[row], group), 4)),
                    )
                    tile.set(builder, row, vector, total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopDot(LaneDot):
    """``LaneDot`` with a whole run of K in a loop of chosen registers and order (lane_loop.py)."""

    loads_biases: bool = False

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Whether the loop finds room for weights."""
        del registers
        return dot_plan_for(rows, vectors) is not None

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Those of the loop."""
        del registers
        plan = dot_plan_for(rows, vectors)
        return plan.cycles if plan else math.inf

    def accumulate_run(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, length: int
    ) -> bool:
        """One call of the loop."""
        plan = dot_plan_for(tile.rows, tile.vectors)
        assert plan is not None
        groups = length // self.group
        loop = LaneLoop(tile.rows, tile.vectors, groups, operands.x_shifts, plan, SDOT)
        call_run_loop(builder, loop, tile, operands)
        return True


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixDot(Signed):
    """i8mm: ``smmla`` multiplies two rows by two columns over eight elements of K.

    A vector of four columns takes two registers per pair of rows, each holding
    [row 0: column 0, 1][row 1: column 0, 1].
    """

    name: str = "i8mm"
    group: int = 8
    step: int = 8

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators of whole row pairs, x of each pair, some of weights in flight."""
        pairs = -(-rows // 2)
        return pairs * 2 * vectors + pairs + 5 <= registers

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Two registers per pair of rows and vector; two loads for x of a pair."""
        del registers
        pairs = -(-rows // 2)
        multiplies = pairs * 2 * vectors / self.multiplies_per_cycle
        loads = (2 * pairs + 2 * vectors) / self.loads_per_cycle
        return max(multiplies, loads, self.latency_cycles)

    def begin(
        self, builder: KernelBuilder, rows: int, vectors: int, start: Start
    ) -> RegisterTile:
        """Bias of two columns, repeated for the two rows of a pair."""
        assert start.bias is not None
        assert start.row_stride == 0
        pairs = -(-rows // 2)
        sums = [builder.array("sum", "int32", vectors * 8) for _ in range(pairs)]
        for part in range(2 * vectors):
            two = reinterpret("int64", load(start.bias, start.index + part * 2, 2))
            for pair in range(pairs):
                builder.store(
                    sums[pair], ramp(part * 4, 4), reinterpret("int32x4", splat(two, 2))
                )
        return RegisterTile(rows, vectors, self.lanes, sums)

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """One group of eight elements at a time."""
        for group in range(groups):
            for pair, sums in enumerate(tile.sums):
                rows = (2 * pair, min(2 * pair + 1, tile.rows - 1))
                both = builder.array("x_pair", "int8", 16)
                for place, row in enumerate(rows):
                    part = load(operands.x, operands.x_rows[row] + group * 8, 8)
                    builder.store(both, ramp(place * 8, 8), part)
                for part in range(2 * tile.vectors):
                    at = operands.weight_index + (group * 4 * tile.vectors + 2 * part) * 8
                    total = intrinsic(
                        "int32x4",
                        "llvm.aarch64.neon.smmla.v4i32.v16i8",
                        load(sums, part * 4, 4),
                        load(both, 0, 16),
                        load(operands.weights, at, 16),
                    )
                    builder.store(sums, ramp(part * 4, 4), total)

    def finish(self, builder: KernelBuilder, tile: RegisterTile) -> RegisterTile:
        """Rows of a pair apart."""
        rows = []
        for row in range(tile.rows):
            sums = builder.array("row", "int32", tile.vectors * 4)
            for part in range(2 * tile.vectors):
                two = load(tile.sums[row // 2], part * 4 + row % 2 * 2, 2)
                builder.store(sums, ramp(part * 2, 2), two)
            rows.append(sums)
        return RegisterTile(tile.rows, tile.vectors, tile.lanes, rows)
