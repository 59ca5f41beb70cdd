"""The loops of an implicit GEMM's kernel whose rows differ from run to run."""

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr
from edgecomp.schedules.cpu.gemm_plan import Block
from edgecomp.schedules.cpu.gemm_walk import GemmWalk, Tiles
from edgecomp.schedules.cpu.row_tiles import DynamicRowTiles


class DynamicGemmWalk(GemmWalk):
    """Tiles of the larger size, the last one as small as its rows allow.

    The first tiles of a chunk ask for the next panel of weights: how many there will be is not
    known.
    """

    def _chunk_start(self, chunk: Expr) -> Expr:
        """First row tile of a chunk; a run has as many chunks as its rows need."""
        rows, large = self.builder.size(self.plan.row_count), self.params.rows.large
        tiles = tirx.truncdiv(rows + (large - 1), large)
        return tirx.truncdiv(chunk * tiles, self.builder.size(self.plan.dynamic_chunks))

    def _row_tiles(self, block: Block, tiles: Tiles) -> None:
        """The first tiles, which ask for the next panel, the others, and the last one."""
        builder, walk = self.builder, self.plan.row_tiles
        assert isinstance(walk, DynamicRowTiles)
        early = None
        if self.params.prefetch_next:
            early = builder.let("early", tiles.chunk_start + self.plan.prefetch_tiles)
        rows = builder.size(self.plan.row_count)
        for size, tile, is_early in walk.walk_rows(
            builder, tiles.first, tiles.last, rows, early
        ):
            pinned = self._pinned(block, tile)
            self._row_tile(pinned, tile, 0, tile, size, prefetches=is_early)
