"""The loops of an implicit GEMM's kernel whose rows differ from run to run."""

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr
from edgecomp.schedules.cpu.gemm_plan import Block
from edgecomp.schedules.cpu.gemm_walk import GemmWalk, Tiles
from edgecomp.schedules.cpu.row_tiles import DynamicRowTiles


class DynamicGemmWalk(GemmWalk):
    """Tiles of the larger size, the last one as small as its rows allow."""

    def _chunk_start(self, chunk: Expr) -> Expr:
        """First row tile of a chunk; a run has as many chunks as its rows need."""
        rows, large = self.builder.size(self.plan.row_count), self.params.rows.large
        tiles = tirx.truncdiv(rows + (large - 1), large)
        return tirx.truncdiv(chunk * tiles, self.builder.size(self.plan.dynamic_chunks))

    def _row_tiles(self, block: Block, tiles: Tiles) -> None:
        """The tiles of each size."""
        builder, walk = self.builder, self.plan.row_tiles
        assert isinstance(walk, DynamicRowTiles)
        rows = builder.size(self.plan.row_count)
        for size, tile in walk.walk_rows(builder, tiles.first, tiles.last, rows):
            self._row_tile(self._pinned(block, tile), tile, 0, tile, size)
