"""float32 products by fused multiply-add."""

import dataclasses
import math

from edgecomp.device.target import Target
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    KernelBuilder,
    load,
    pointer_to,
    ramp,
    splat,
)
from edgecomp.schedules.cpu.arithmetic import Arithmetic, Operands, RegisterTile, Start
from edgecomp.schedules.cpu.lane_loop import LaneLoop
from edgecomp.schedules.cpu.lane_plan import plan_for
from edgecomp.schedules.cpu.lane_tile import first_sums, last_sums
from edgecomp.schedules.cpu.run_loop import call_run_loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class BroadcastFma(Arithmetic):
    """x86: one element of x in all lanes (``vbroadcastss`` or a memory operand of the FMA)."""

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, one vector of weights per column vector, one broadcast of x."""
        return rows * vectors + vectors + 1 <= registers

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """One element of K at a time."""
        for k in range(groups):
            for row in range(tile.rows):
                value = splat(
                    load(operands.x, operands.x_rows[row] + k * operands.x_stride), self.lanes
                )
                for vector in range(tile.vectors):
                    at = self.weight_at(tile, operands, k, vector)
                    product = value * load(operands.weights, at, self.lanes)
                    tile.set(builder, row, vector, tile.get(row, vector) + product)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaneFma(Arithmetic):
    """NEON: four elements of x in a register, multiplied by element (``fmla v, v, v.s[i]``).

    In-order cores reach their peak only so: a broadcast per element takes a load slot each.
    """

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Accumulators, one register of x per row, two of weights that follow each other.

        Without a multiply by element (32-bit ARM) copies of elements of x take the room in
        which weights would otherwise follow each other.
        """
        weights = 2 if registers > 16 else vectors + 2
        return rows * vectors + rows + weights <= registers

    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Four elements of K: a vector load of x per row, then by element."""
        elements = self.x_elements(builder, tile, operands, groups)
        for k in range(groups):
            for vector in range(tile.vectors):
                at = self.weight_at(tile, operands, k, vector)
                for row in range(tile.rows):
                    value = splat(load(elements[row], k), self.lanes)
                    product = value * load(operands.weights, at, self.lanes)
                    tile.set(builder, row, vector, tile.get(row, vector) + product)

    def x_elements(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> list[Buffer]:
        """The elements of x of a step, an array for each row."""
        elements = []
        for row in range(tile.rows):
            values = builder.array("x_row", "float32", self.step)
            whole = groups == self.step and operands.x_stride == 1
            lanes = groups if whole else 1
            for k in range(0, groups, lanes):
                at = operands.x_rows[row] + k * operands.x_stride
                builder.store(values, ramp(k, lanes), load(operands.x, at, lanes))
            elements.append(values)
        return elements


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopFma(LaneFma):
    """aarch64: a whole run of K in a loop of chosen registers and order (lane_loop.py).

    Attributes:
        in_order: whether the core issues so.
    """

    in_order: bool

    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Whether the loop finds room for weights."""
        del registers
        return plan_for(rows, vectors, in_order=self.in_order) is not None

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Those of the loop."""
        del registers
        plan = plan_for(rows, vectors, in_order=self.in_order)
        return plan.cycles if plan else math.inf

    def begin(
        self, builder: KernelBuilder, rows: int, vectors: int, start: Start
    ) -> RegisterTile:
        """Loaded for each row, which takes fewer instructions than copies."""
        if start.bias is None or start.row_stride:
            return super().begin(builder, rows, vectors, start)
        sums = self.sums(builder, rows, vectors)
        name, text = first_sums(rows, vectors)
        pointers = [pointer_to(array, 0) for array in sums]
        builder.call_llvm(name, text, *pointers, pointer_to(start.bias, start.index))
        return RegisterTile(rows, vectors, self.lanes, sums)

    def accumulate_run(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, length: int
    ) -> bool:
        """One call of the loop."""
        plan = plan_for(tile.rows, tile.vectors, in_order=self.in_order)
        assert plan is not None
        shifts = tuple(4 * shift for shift in operands.x_shifts)
        loop = LaneLoop(tile.rows, tile.vectors, length, shifts, plan)
        call_run_loop(builder, loop, tile, operands)
        return True

    def store_rows(
        self, builder: KernelBuilder, rows: list[Buffer], vectors: int, first: Expr, step: int
    ) -> None:
        """One instruction for up to four vectors."""
        name, text = last_sums(len(rows), vectors, 4 * step)
        builder.call_llvm(name, text, *(pointer_to(row, 0) for row in rows), first)


def dense_f32(target: Target, columns: int) -> Arithmetic:
    """The float32 arithmetic of products whose weights are packed and x contiguous in K.

    Args:
        target: the device.
        columns: of a group.
    """
    arithmetic = arithmetic_f32(target, columns)
    if target.core.isa != "aarch64":
        return arithmetic
    assert isinstance(arithmetic, LaneFma)
    facts = {f.name: getattr(arithmetic, f.name) for f in dataclasses.fields(arithmetic)}
    return LoopFma(**facts | {"stores_rows": True}, in_order=target.core.in_order)


def arithmetic_f32(target: Target, columns: int = 0) -> Arithmetic:
    """The float32 arithmetic of a target.

    Args:
        target: the device.
        columns: of a product that may be computed in half vectors, 0 for none. Where a core works
            vectors off in halves, these cost no more and pad less: 24 columns are three of them.
    """
    lanes, turns = target.lanes(32), target.core.turns
    if target.core.isa == "x86_64":
        name = "avx512" if lanes == 16 else "avx2"
        if turns > 1 and -(-columns // (lanes // turns)) % turns:
            name, lanes, turns = f"{name}half", lanes // turns, 1
        return BroadcastFma(
            name=name,
            x_dtype="float32",
            weight_dtype="float32",
            sum_dtype="float32",
            lanes=lanes,
            step=4,
            multiplies_per_cycle=2.0 / turns,
            loads_per_cycle=2.0 / turns,
        )
    return LaneFma(
        name="neon",
        x_dtype="float32",
        weight_dtype="float32",
        sum_dtype="float32",
        lanes=lanes,
        step=4 if target.core.isa == "aarch64" else 2,
        multiplies_per_cycle=1.0 if target.core.in_order else 2.0,
    )
