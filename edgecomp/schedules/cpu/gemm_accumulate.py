"""All of K of one register tile of an implicit GEMM: loops over runs, steps, prefetches."""

import dataclasses
import math

from edgecomp.schedules.builder import Expr, KernelBuilder
from edgecomp.schedules.cpu.arithmetic import Operands, RegisterTile, Start
from edgecomp.schedules.cpu.gemm_plan import Block, GemmPlan, Pointers
from edgecomp.schedules.cpu.product import RunDimension
from edgecomp.schedules.cpu.row_tiles import TileAddresses
from edgecomp.schedules.cpu.tiles import PREFETCH_BYTES

CACHE_LINE_BYTES = 64


@dataclasses.dataclass(frozen=True)
class _Position:
    """A place in K.

    Attributes:
        x: elements of x from the row's first.
        depth: elements of K, padding included, before it.
    """

    x: Expr
    depth: Expr


class TileSums:
    """Emits the sums of register tiles of one kernel."""

    def __init__(self, builder: KernelBuilder, plan: GemmPlan, pointers: Pointers) -> None:
        self.builder, self.plan, self.pointers = builder, plan, pointers
        self.arithmetic, self.params = plan.arithmetic, plan.params

    def accumulate(self, block: Block, tile: Expr, addresses: TileAddresses) -> RegisterTile:
        """All of K for one tile, starting from the bias.

        Args:
            block: of columns.
            tile: number.
            addresses: of its rows.
        """
        builder, arithmetic = self.builder, self.arithmetic
        vector = block.group * self.plan.vectors + block.vector + block.bias_shift
        column = vector * (arithmetic.lanes * self.plan.bias_copies)
        stride = block.vectors * arithmetic.lanes if self.plan.bias_copies > 1 else 0
        at = builder.let("col", column)
        rows = len(addresses.x)
        first = Start(self.pointers.bias, at, stride)
        sums = arithmetic.begin(builder, rows, block.vectors, first)
        next_panel: Expr = None
        if block.share is not None:
            next_panel = builder.let("next_panel", self._next_panel(block, tile))
        start = _Position(0, 0)
        self._runs(block, sums, addresses, next_panel, list(self.plan.runs), start)
        return arithmetic.finish(builder, sums)

    def _next_panel(self, block: Block, tile: Expr) -> Expr:
        """Index of this tile's share of the next column block's weights."""
        width = block.vectors * self.arithmetic.lanes
        index = tile - block.chunk_start
        return block.panel + width * self.plan.stored_depth + index * block.share

    def _runs(
        self,
        block: Block,
        sums: RegisterTile,
        addresses: TileAddresses,
        next_panel: Expr,
        runs: list[RunDimension],
        at: _Position,
    ) -> None:
        """Loops over the outer dimensions of K, then the run itself."""
        builder = self.builder
        if not runs:
            self._run(block, sums, addresses, next_panel, at)
            return
        outer, *inner = runs
        size = math.prod(d.size for d in inner) * self.plan.padded_run
        with builder.loop("run", 0, outer.size) as run:
            place = _Position(
                builder.let("x_shift", at.x + run * builder.size(outer.stride)),
                builder.let("depth", at.depth + run * size),
            )
            self._runs(block, sums, addresses, next_panel, inner, place)

    def _run(
        self,
        block: Block,
        sums: RegisterTile,
        addresses: TileAddresses,
        next_panel: Expr,
        at: _Position,
    ) -> None:
        """One contiguous run of K: full steps in a loop, then what is left."""
        builder, arithmetic = self.builder, self.arithmetic

        def operands(shift: Expr, elements: int = 0) -> Operands:
            return Operands(
                x=self.pointers.x,
                x_rows=[row + at.x + shift for row in addresses.x],
                x_shifts=tuple(addresses.x_shifts),
                weights=self.pointers.weights,
                weight_index=block.panel
                + arithmetic.panel_index(sums.vectors, at.depth + shift),
                elements=elements,
            )

        if arithmetic.accumulate_run(builder, sums, operands(0), self.plan.padded_run):
            return

        def emit(shift: Expr, groups: int, elements: int = 0) -> None:
            here = operands(shift, elements)
            pieces = groups if self._rows_overlap() and not elements else 1
            for piece in range(pieces):
                part = operands(shift + piece * arithmetic.group) if pieces > 1 else here
                arithmetic.accumulate(builder, sums, part, groups // pieces)
                if pieces > 1:  # to LLVM a prefetch may write: what was read is read again
                    ahead = part.x_rows[0] + CACHE_LINE_BYTES
                    builder.prefetch(self.pointers.x, ahead, near=True)
            self._prefetch(
                here.weight_index,
                arithmetic.panel_index(sums.vectors, groups * arithmetic.group),
                next_panel,
                (at.depth + shift) * block.depth_share,
            )

        groups = arithmetic.step // arithmetic.group
        length = self.plan.run_length if arithmetic.ragged else self.plan.padded_run
        steps, rest = divmod(length, arithmetic.step)
        loop_steps = arithmetic.loop_steps(steps)
        loops, single = divmod(steps, loop_steps)
        if loops:
            end = loops
            if loops > 1 and block.zero is not None:
                end = builder.let("loops", loops + block.zero)
            with builder.loop("k", 0, end) as k:
                start = k.astype("int64") * (loop_steps * arithmetic.step)
                for step in range(loop_steps):
                    emit(start + step * arithmetic.step if step else start, groups)
        for step in range(steps - single, steps):
            emit(step * arithmetic.step, groups)
        if rest:
            elements = rest if rest % arithmetic.group else 0
            emit(steps * arithmetic.step, -(-rest // arithmetic.group), elements)

    def _rows_overlap(self) -> bool:
        """Whether a run of one row holds elements of the next row's, as at an image of 3 channels.

        LLVM would keep them in registers from one step to another, and spill sums for that.
        """
        step = self.plan.row_tiles.dimensions[-1].x
        return (
            self.plan.target.core.isa == "x86_64"
            and self.arithmetic.group > 1
            and abs(step) < self.plan.run_length
        )

    def _prefetch(self, used: Expr, elements: int, next_panel: Expr, asked: Expr) -> None:
        """Ask for weights: soon needed ones, and a share of the next column block's.

        Args:
            used: index of the weights just used.
            elements: how many they were.
            next_panel: first element of this tile's share, or None.
            asked: elements of the share that were asked for before.
        """
        item = self.arithmetic.weight_bytes
        line = CACHE_LINE_BYTES // item
        if self.params.prefetch_bytes:
            ahead = used + self.params.prefetch_bytes // item
            for shift in range(0, elements, line):
                near = self.params.prefetch_bytes <= PREFETCH_BYTES
                self.builder.prefetch(self.pointers.weights, ahead + shift, near=near)
        if next_panel is not None:
            share = -(-elements // self.plan.prefetch_tiles)
            for shift in range(0, share, line):
                at = next_panel + asked + shift
                self.builder.prefetch(self.pointers.weights, at, near=False)
