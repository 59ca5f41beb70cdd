"""The loops of an implicit GEMM's kernel over images whose size differs from run to run."""

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr
from edgecomp.schedules.cpu.gemm_plan import Block
from edgecomp.schedules.cpu.gemm_walk import GemmWalk, Tiles
from edgecomp.schedules.cpu.image_tiles import ImageTiles


class ImageGemmWalk(GemmWalk):
    """Chunks of a run's tiles, as many as its pixels need."""

    def _begin(self) -> None:
        """Choose the width of tiles, count them."""
        walk = self.plan.row_tiles
        assert isinstance(walk, ImageTiles)
        self.widths = walk.widths(self.builder)
        rows = walk.count_rows(self.builder)
        self.tile_count = self.builder.let("tile_count", rows * self.widths.count)
        chunks = self.builder.size(self.plan.dynamic_chunks)
        # As the chunks are known to share the most rows evenly, they share any.
        self.chunk_count = chunks

    def _chunk_start(self, chunk: Expr) -> Expr:
        """First tile of a chunk."""
        return tirx.truncdiv(chunk * self.tile_count, self.chunk_count)

    def _part(self, start: Expr, end: Expr, part: Expr) -> tuple[Expr, Expr]:
        """Parts of a chunk are equal: there may be more tiles than at the largest sizes."""
        builder, parts = self.builder, self.plan.parts
        if parts == 1:
            return start, end
        count = builder.let("chunk_tiles", end - start)
        first = builder.let("first_tile", start + tirx.truncdiv(part * count, parts))
        last = start + tirx.truncdiv((part + 1) * count, parts)
        return first, builder.let("last_tile", last)

    def _row_tiles(self, block: Block, tiles: Tiles) -> None:
        """A body for each width of tiles."""
        walk = self.plan.row_tiles
        assert isinstance(walk, ImageTiles)
        for size, row, column, tile in walk.walk_rows(
            self.builder, self.widths, tiles.first, tiles.last
        ):
            pinned = self._pinned(block, tile)
            self._row_tile(pinned, tile, row, column, size)
