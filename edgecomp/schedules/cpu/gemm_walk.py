"""The loops of an implicit GEMM's kernel around one register tile."""

import dataclasses
import math
from typing import Protocol

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, Kernel, KernelBuilder
from edgecomp.schedules.cpu.arithmetic import RegisterTile
from edgecomp.schedules.cpu.gemm_accumulate import TileSums
from edgecomp.schedules.cpu.gemm_finish import TileResults
from edgecomp.schedules.cpu.gemm_plan import Block, GemmPlan
from edgecomp.schedules.cpu.row_tiles import TileAddresses, part_condition, part_start


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Row tiles [first, last) of a work item, in the chunk that starts at ``chunk_start``.

    ``prefetch_tiles`` of the chunk's share asking for the next column block's panel.
    """

    chunk_start: Expr
    first: Expr
    last: Expr
    prefetch_tiles: Expr


class Sums(Protocol):
    """Emits the sums of register tiles of one kernel."""

    def accumulate(self, block: Block, tile: Expr, addresses: TileAddresses) -> RegisterTile:
        """All of K for one tile."""


class GemmWalk:
    """Emits one kernel; the loops of implicit_gemm.py's docstring, one method each."""

    def __init__(self, plan: GemmPlan) -> None:
        self.plan, self.params = plan, plan.params
        self.product, self.arithmetic = plan.product, plan.arithmetic
        self.builder = KernelBuilder(plan.target.core.isa)
        self.pointers = plan.declare(self.builder)
        self.sums = self._sums()
        self.results = TileResults(self.builder, plan, self.pointers)

    def emit(self, name: str) -> Kernel:
        """The whole kernel."""
        builder = self.builder
        self._begin()
        with builder.loop("item", builder.lo, builder.hi) as item:
            rest, part = self._divide(item, self.plan.parts)
            rest, block_chunk = self._divide(rest, self.plan.block_chunks)
            chunk, group = self._divide(rest, self.product.groups)
            chunk_start = builder.let("chunk_start", self._chunk_start(chunk))
            chunk_end = builder.let("chunk_end", self._chunk_start(chunk + 1))
            first, last = self._part(chunk_start, chunk_end, part)
            count = self._prefetch_tiles(chunk_start, chunk_end)
            tiles = Tiles(chunk_start, first, last, count)
            self._begin_item(chunk, tiles)
            self._column_blocks(group, block_chunk, tiles)
        return builder.finish(name)

    def _sums(self) -> "Sums":
        """What emits the sums of a tile."""
        return TileSums(self.builder, self.plan, self.pointers)

    def _begin(self) -> None:
        """What comes before the loop over work items."""

    def _begin_item(self, chunk: Expr, tiles: Tiles) -> None:
        """What comes before the column blocks of a work item."""

    def _part(self, start: Expr, end: Expr, part: Expr) -> tuple[Expr, Expr]:
        """First tile of a part of a chunk, and the end of its tiles."""
        builder, tiles = self.builder, self.params.part_tiles
        first = builder.let("first_tile", start + part * tiles)
        return first, builder.let("last_tile", tirx.min(first + tiles, end))

    def _prefetch_tiles(self, start: Expr, end: Expr) -> Expr:
        """Tiles of a chunk that share asking for the next column block's panel.

        Where a run decides how many there are it is as many: asked for faster than memory
        answers, the panel keeps the tile waiting.
        """
        least = self.plan.prefetch_tiles
        if self.plan.row_count is None or not self.params.prefetch_next:
            return least
        return self.builder.let("prefetch_tiles", tirx.max(end - start, least))

    def _chunk_start(self, chunk: Expr) -> Expr:
        """First row tile of a chunk. The larger ones lie between the others: halves are even."""
        size, rest = divmod(self.plan.row_tiles.count, self.params.row_chunks)
        start = chunk * size
        if rest:
            start = start + tirx.truncdiv(chunk * rest, self.params.row_chunks)
        return start

    def _divide(self, number: Expr, by: int) -> tuple[Expr, Expr]:
        """(quotient, remainder)."""
        if by == 1:
            return number, 0
        quotient = self.builder.let("quotient", tirx.truncdiv(number, by))
        return quotient, self.builder.let("remainder", number - quotient * by)

    def _column_blocks(
        self,
        group: Expr,
        block_chunk: Expr,
        tiles: Tiles,
    ) -> None:
        """Loop over the column blocks of a work item, one loop per block size."""
        builder, split = self.builder, self.params.vectors
        begin = block_chunk * self.params.chunk_blocks
        end = tirx.min(begin + self.params.chunk_blocks, split.count)
        start = 0
        for vectors, count in split.classes():
            stop = start + count
            low = begin if start == 0 else tirx.max(begin, start)
            high = end if stop == split.count else tirx.min(end, stop)
            low = builder.let("block_low", low)
            with builder.loop("block", low, high) as number:
                vector = builder.let("vector", part_start(number, split, vectors))
                column = (group * self.plan.vectors + vector) * self.arithmetic.lanes
                block = Block(
                    group,
                    vector,
                    vectors,
                    number == split.count - 1 if stop == split.count else None,
                    builder.let("panel", column * self.plan.stored_depth),
                    tiles.chunk_start,
                    *self._shares(vectors, tiles.prefetch_tiles),
                )
                self._row_tiles(block, tiles)
            start = stop

    def _shares(self, vectors: int, tiles: Expr) -> tuple[Expr | None, Expr]:
        """Elements of the next panel that a tile asks for: in all, for one element of K."""
        if not self.params.prefetch_next:
            return None, 0
        width = math.ceil(self.arithmetic.panel_width(vectors))
        panel = vectors * self.arithmetic.lanes * self.plan.stored_depth
        if isinstance(tiles, int):
            return -(-panel // tiles), -(-width // tiles)
        share, depth_share = (
            self.builder.let(name, tirx.truncdiv(elements + (tiles - 1), tiles))
            for name, elements in (("share", panel), ("depth_share", width))
        )
        return share, depth_share

    def _pinned(self, block: Block, tile: Expr) -> Block:
        """The block with what keeps LLVM from rearranging a tile's loads.

        Without a loop over K it would move the loads of the whole panel out of the loop over
        tiles, and then spill and reload it; with a constant count of iterations it counts up to
        0 by addresses so far from the panel's that loads in pairs do not reach them. Tiles
        count from 0, which only this code knows.
        """
        if self.plan.target.core.isa == "x86_64":
            return block
        zero = self.builder.let("zero", tile >> 31)
        block = dataclasses.replace(block, zero=zero)
        if not self.plan.unrolled:
            return block
        panel = self.builder.let("panel", block.panel + zero)
        # Another 0 for the multipliers: with one index for both, loads do not go in pairs.
        other = self.builder.let("zero", tile >> 30)
        return dataclasses.replace(block, panel=panel, bias_shift=zero, scale_shift=other)

    def _row_tiles(self, block: Block, tiles: Tiles) -> None:
        """All tiles of rows, whose size depends on their place in the cut dimension."""
        builder, split = self.builder, self.params.rows
        if self.plan.target.core.isa != "x86_64":
            for size, outer, part, tile in self.plan.row_tiles.walk(
                builder, tiles.first, tiles.last
            ):
                self._row_tile(self._pinned(block, tile), tile, outer, part, size)
            return
        with builder.loop("tile", tiles.first, tiles.last) as tile:
            outer, part = self.plan.row_tiles.place(builder, tile)
            for size, _ in split.classes():
                with builder.condition(part_condition(part, split, size)):
                    self._row_tile(block, tile, outer, part, size)

    def _row_tile(
        self,
        block: Block,
        tile: Expr,
        outer: Expr,
        part: Expr,
        size: int,
    ) -> None:
        """One tile of rows."""
        addresses = self.plan.row_tiles.addresses(self.builder, block.group, outer, part, size)
        sums = self.sums.accumulate(block, tile, addresses)
        self.results.finish(block, addresses, sums)
