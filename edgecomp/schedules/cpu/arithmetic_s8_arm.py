"""int8 by int8 products on ARM, exact in int32."""

import dataclasses
import math

from tvm import tirx

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
from edgecomp.schedules.cpu import widened_loop
from edgecomp.schedules.cpu.arithmetic import (
    LOAD_PRESSURE,
    Arithmetic,
    Operands,
    RegisterTile,
    Start,
)
from edgecomp.schedules.cpu.lane_loop import SDOT, LaneLoop
from edgecomp.schedules.cpu.lane_plan import dot_plan_for
from edgecomp.schedules.cpu.run_loop import call_run_loop
from edgecomp.schedules.cpu.widened_loop import WidenedLoop

#: Instructions that start one vector of sums and requantize it.
_FINISH = 5.25
#: Further instructions by the vectors left of a row's last four: stores, and a neighbour for an
#: odd one.
_FINISH_REST = (0, 3, 1, 4)
#: In order: what one vector left costs on top (counted in kernels of 16 and of 20 columns).
_FINISH_ALONE = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signed(Arithmetic):
    """What they have in common."""

    x_dtype: str = "int8"
    weight_dtype: str = "int8"
    sum_dtype: str = "int32"
    lanes: int = 4

    def finish_row_cycles(self, vectors: int) -> float:
        """Sixteen columns become one vector of bytes; fewer leave in a smaller one."""
        whole, rest = divmod(vectors, 4)
        instructions = _FINISH * vectors + whole + _FINISH_REST[rest]
        return instructions / self.multiplies_per_cycle


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

    def accumulate(
        self,
        builder: KernelBuilder,
        tile: RegisterTile,
        operands: Operands,
        groups: int,
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
        self,
        builder: KernelBuilder,
        tile: RegisterTile,
        operands: Operands,
        groups: int,
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
        self,
        builder: KernelBuilder,
        tile: RegisterTile,
        operands: Operands,
        groups: int,
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
        self,
        builder: KernelBuilder,
        tile: RegisterTile,
        operands: Operands,
        groups: int,
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
        indices = tirx.Shuffle(
            [
                splat(tirx.const(0x0100 + 0x0202 * (2 * group + pair), "int16"), 4)
                for pair in range(2)
            ],
            [tirx.const(index, "int32") for index in range(8)],
        )
        whole = reinterpret("int8x16", load(quads, 0, groups))
        table = reinterpret("int8x16", indices)
        return intrinsic("int8x16", "llvm.aarch64.neon.tbl1.v16i8", whole, table)


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


def _widened(x: Expr, weight: Expr, first: int) -> Expr:
    """16-bit products of eight neighbouring bytes."""
    lanes = [tirx.const(first + index, "int32") for index in range(8)]
    parts = [tirx.Shuffle([value], lanes) for value in (x, weight)]
    return intrinsic("int16x8", "llvm.aarch64.neon.smull.v8i16", *parts)


def _with_pairs(total: Expr, product: Expr) -> Expr:
    """Neighbouring products added to the totals."""
    return total + intrinsic("int32x4", "llvm.aarch64.neon.saddlp.v4i32.v8i16", product)


def load_row_words(
    builder: KernelBuilder,
    operands: Operands,
    dtype: str,
    groups: int,
    group_bytes: int,
) -> list[Buffer]:
    """The next ``groups`` groups of every row as words of ``dtype``, in registers."""
    found = []
    for index in operands.x_rows:
        words = builder.array("x_row", dtype, groups)
        at = 0
        while at < groups:
            piece = 1 << (groups - at).bit_length() - 1
            bytes_ = load(operands.x, index + at * group_bytes, piece * group_bytes)
            word = dtype if piece == 1 else f"{dtype}x{piece}"
            builder.store(words, ramp(at, piece), reinterpret(word, bytes_))
            at += piece
        found.append(words)
    return found


def arithmetic_s8_arm(target: Target, weight: Array) -> Arithmetic:
    """The int8 arithmetic of an ARM target."""
    per_cycle = 1.0 if target.core.in_order else 2.0
    if target.has("i8mm"):
        return MatrixDot(multiplies_per_cycle=per_cycle)
    if target.has("dotprod"):
        depth = weight.size // max(1, len(weight))
        if target.core.in_order and depth > 2 * LaneDot.step:
            return LoopDot(multiplies_per_cycle=per_cycle, in_order=True)
        return LaneDot(
            multiplies_per_cycle=per_cycle,
            shallow=depth <= 2 * LaneDot.step,
            in_order=target.core.in_order,
        )
    least = weight.min(initial=0)
    if target.core.isa == "aarch64" and least > -128:
        kind = LoopQuads if target.core.in_order else WidenedQuads
        return kind(multiplies_per_cycle=per_cycle)
    return WidenedPairs(
        products=1 if least == -128 else 2,
        arm32=target.core.isa == "armv7",
        multiplies_per_cycle=per_cycle,
    )
