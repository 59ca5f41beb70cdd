"""The loops of a product with pairs (paired_numbers.py): those of an implicit GEMM, and its rows.

The rows of a chunk of tiles are packed into the workspace before the first of its column blocks
that a range of work items has.
"""

import contextlib
import dataclasses
import functools
import math

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load
from edgecomp.schedules.cpu.arithmetic import RegisterTile
from edgecomp.schedules.cpu.gemm_dynamic import DynamicGemmWalk
from edgecomp.schedules.cpu.gemm_plan import Block, GemmPlan, Pointers
from edgecomp.schedules.cpu.gemm_walk import GemmWalk, Tiles
from edgecomp.schedules.cpu.paired_loop import LANES
from edgecomp.schedules.cpu.paired_numbers import Pairing
from edgecomp.schedules.cpu.paired_rows import PackedRow, PairedRows, row_stride
from edgecomp.schedules.cpu.paired_tile import (
    Ahead,
    PairedTile,
    Panel,
    lines_ahead,
    share_of,
)
from edgecomp.schedules.cpu.product import RunDimension, collapse_depth
from edgecomp.schedules.cpu.row_tiles import TileAddresses, part_condition
from edgecomp.schedules.cpu.tiles import STREAM_BYTES

#: How far ahead weights that are read once are asked for.
_STREAM_ELEMENTS = STREAM_BYTES // 4


@dataclasses.dataclass(frozen=True)
class PairedPlan(GemmPlan):
    """A kernel that reads packed rows: K is one run of them.

    Attributes:
        has_factors: whether elements of x are scaled each by its own.
    """

    has_factors: bool = False

    @functools.cached_property
    def pairing(self) -> Pairing:
        """Of K."""
        return Pairing.of(self.run_length)

    @functools.cached_property
    def runs(self) -> tuple[RunDimension, ...]:
        """None."""
        return ()

    @functools.cached_property
    def run_length(self) -> int:
        """All of K."""
        return math.prod(dimension.size for dimension in self.product.depth)

    @property
    def bias_elements(self) -> int:
        """What accumulators start from, the biases, and the factors of x."""
        return 2 * self.vectors * LANES + self.has_factors * self.run_length

    @property
    def tile_rows(self) -> int:
        """Rows of the larger tiles."""
        dimensions = self.row_tiles.dimensions[self.params.axis + 1 :]
        inner: int = math.prod(dimension.size for dimension in dimensions)
        return self.params.rows.large * inner

    @property
    def row_stride(self) -> int:
        """Elements of the workspace from one row to the next."""
        return row_stride(self.run_length)

    @property
    def workspace_elements(self) -> int:
        """The rows of a chunk."""
        return self.params.chunk_tiles * self.tile_rows * self.row_stride


class PairedWalk(GemmWalk):
    """Emits one kernel."""

    plan: PairedPlan

    def __init__(self, plan: PairedPlan) -> None:
        super().__init__(plan)
        self.rows = PairedRows(
            self.builder,
            plan.pairing,
            self.pointers.x,
            self.workspace,
            self.pointers.bias if plan.has_factors else None,
        )
        self._packed: Buffer = None

    def _sums(self) -> "PairedSums":
        self.workspace = self.builder.pointer(
            "workspace", "float32", self.plan.workspace_elements
        )
        return PairedSums(self.builder, self.plan, self.pointers, self.workspace)

    def _begin(self) -> None:
        self._packed = self.builder.array("packed", "int32", 1)
        self.builder.store(self._packed, 0, -1)

    def _begin_item(self, chunk: Expr, tiles: Tiles) -> None:
        """Pack the rows of a chunk, unless they are those of the item before."""
        builder = self.builder
        with builder.condition(tirx.NE(load(self._packed, 0), chunk)):
            builder.store(self._packed, 0, chunk)
            self._pack_tiles(tiles)

    def _pack_tiles(self, tiles: Tiles) -> None:
        """Pack the rows of tiles."""
        builder, split = self.builder, self.params.rows
        with builder.loop("tile", tiles.first, tiles.last) as tile:
            outer, part = self.plan.row_tiles.place(builder, tile)
            for size, _ in split.classes():
                with builder.condition(part_condition(part, split, size)):
                    addresses = self.plan.row_tiles.addresses(builder, 0, outer, part, size)
                    self._pack_tile(tile - tiles.first, addresses.x[0], size)

    def _pack_tile(self, tile: Expr, x: Expr, size: int) -> None:
        builder, dimensions = self.builder, self.plan.row_tiles.dimensions
        *runs, run = collapse_depth(self.product.depth)
        inner = dimensions[self.params.axis :]
        with contextlib.ExitStack() as loops:
            row: Expr = 0
            for dimension, extent in zip(
                inner, [size, *(d.size for d in inner[1:])], strict=True
            ):
                number = loops.enter_context(builder.loop("row", 0, extent))
                x = x + number * dimension.x
                row = row * extent + number
            x = builder.let("x_row", x, "int64")
            self._pack_row(tuple(runs), run.size, x, tile * self.plan.tile_rows + row)

    def _pack_row(
        self, runs: tuple[RunDimension, ...], length: int, x: Expr, row: Expr
    ) -> None:
        to = self.builder.let("to", row * self.plan.row_stride)
        self.rows.pack(PackedRow(runs, length, x, to, 2 * self.plan.vectors * LANES))


class DynamicPairedWalk(DynamicGemmWalk, PairedWalk):
    """Emits one kernel whose rows differ from run to run: one dimension, none behind the last."""

    def _pack_tiles(self, tiles: Tiles) -> None:
        builder, large = self.builder, self.params.rows.large
        (rows,) = self.plan.row_tiles.dimensions
        first = builder.let("first_row", tiles.first * large)
        end = tirx.min(tiles.last * large, builder.size(self.plan.row_count))
        with builder.loop("row", first, end) as row:
            x = builder.let("x_row", (row * rows.x).astype("int64"), "int64")
            self._pack_row((), self.plan.run_length, x, row - first)


class PairedSums:
    """Emits the sums of register tiles of one kernel."""

    def __init__(
        self, builder: KernelBuilder, plan: PairedPlan, pointers: Pointers, workspace: Buffer
    ) -> None:
        self.builder, self.plan, self.pointers = builder, plan, pointers
        self.tile = PairedTile(builder, plan.arithmetic, plan.pairing, workspace)

    def accumulate(self, block: Block, tile: Expr, addresses: TileAddresses) -> RegisterTile:
        """All of K for one tile, and the biases.

        Args:
            block: of columns.
            tile: number.
            addresses: of its rows.
        """
        builder, plan, rows = self.builder, self.plan, len(addresses.x)
        number = tile - block.chunk_start
        first = builder.let("first_row", number * (plan.tile_rows * plan.row_stride))
        panel = self._panel(block, number)
        sums = self.tile.accumulate(panel, first, rows, block.vectors)
        for vector in range(block.vectors):
            at = panel.start + (plan.vectors + vector) * LANES
            bias = load(self.pointers.bias, at, LANES)
            for row in range(rows):
                result = self.tile.scaled(sums, first, row, vector) + bias
                sums.set(builder, row, vector, result)
        return sums

    def _panel(self, block: Block, tile: Expr) -> Panel:
        """The panel of a block, for a tile of the chunk."""
        return Panel(
            weights=self.pointers.weights,
            at=block.panel,
            starts=self.pointers.bias,
            start=self.builder.let("col", block.vector * LANES),
            ahead=self._ahead(block, tile),
        )

    def _ahead(self, block: Block, tile: Expr) -> tuple[Ahead, ...]:
        """What a tile asks for: its share of the next panel, a single tile its own weights."""
        plan, params = self.plan, self.plan.params
        own = Ahead(block.panel + _STREAM_ELEMENTS, lines_ahead(block.vectors, 1))
        if params.chunk_tiles == 1:
            return (own,)
        elements = block.vectors * LANES * plan.run_length
        lines = lines_ahead(block.vectors, plan.prefetch_tiles) if params.prefetch_next else 0
        share = max(1, share_of(lines, plan.pairing))
        number = tirx.min(tile, -(-elements // share) - 1)
        shared = Ahead(block.panel + elements + number * share, lines)
        if plan.row_count is None:
            return (shared,)
        is_single = self.builder.size(plan.row_count) <= params.rows.large
        return (
            dataclasses.replace(own, test=is_single),
            dataclasses.replace(shared, test=tirx.Not(is_single)),
        )
