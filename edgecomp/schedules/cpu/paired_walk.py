"""The loops of a product with pairs (paired_numbers.py): those of an implicit GEMM, and its rows.

The rows of a chunk of tiles are packed into the workspace before the first of its column blocks
that a range of work items has.
"""

import contextlib
import dataclasses
import functools

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load, pointer_to, splat
from edgecomp.schedules.cpu.arithmetic import RegisterTile
from edgecomp.schedules.cpu.gemm_plan import Block, GemmPlan, Pointers
from edgecomp.schedules.cpu.gemm_walk import GemmWalk, Tiles
from edgecomp.schedules.cpu.paired_loop import LANES, TURN, PairedLoop
from edgecomp.schedules.cpu.paired_numbers import Pairing
from edgecomp.schedules.cpu.paired_rows import PairedRows, padded, row_stride
from edgecomp.schedules.cpu.product import RunDimension, collapse_depth
from edgecomp.schedules.cpu.row_tiles import TileAddresses, part_condition


@dataclasses.dataclass(frozen=True)
class PairedPlan(GemmPlan):
    """A kernel that reads packed rows: K is one run of them."""

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
        size = 1
        for dimension in self.product.depth:
            size *= dimension.size
        return size

    @property
    def bias_elements(self) -> int:
        """What accumulators start from, the biases, and the factors of x."""
        return 2 * self.vectors * LANES + self.run_length

    @property
    def tile_rows(self) -> int:
        """Rows of the larger tiles."""
        rows = self.params.rows.large
        for dimension in self.row_tiles.dimensions[self.params.axis + 1 :]:
            rows *= dimension.size
        return rows

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
            self.pointers.bias,
            2 * plan.vectors * LANES,
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
        builder, split = self.builder, self.params.rows
        with builder.condition(tirx.NE(load(self._packed, 0), chunk)):
            builder.store(self._packed, 0, chunk)
            with builder.loop("tile", tiles.first, tiles.last) as tile:
                outer, part = self.plan.row_tiles.place(builder, tile)
                for size, _ in split.classes():
                    with builder.condition(part_condition(part, split, size)):
                        addresses = self.plan.row_tiles.addresses(
                            builder, 0, outer, part, size
                        )
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
            to = (tile * self.plan.tile_rows + row) * self.plan.row_stride
            x = builder.let("x_row", x, "int64")
            self.rows.pack(tuple(runs), run.size, x, builder.let("to", to))


class PairedSums:
    """Emits the sums of register tiles of one kernel."""

    def __init__(
        self, builder: KernelBuilder, plan: PairedPlan, pointers: Pointers, workspace: Buffer
    ) -> None:
        self.builder, self.plan, self.pointers = builder, plan, pointers
        self.workspace = workspace

    def accumulate(self, block: Block, tile: Expr, addresses: TileAddresses) -> RegisterTile:
        """All of K for one tile, and the biases.

        Args:
            block: of columns.
            tile: number.
            addresses: of its rows.
        """
        builder, plan = self.builder, self.plan
        rows, stride = len(addresses.x), plan.row_stride
        first = builder.let("first_row", (tile - block.chunk_start) * (plan.tile_rows * stride))
        column = builder.let("col", block.vector * LANES)
        sums = plan.arithmetic.sums(builder, rows, block.vectors)
        result = RegisterTile(rows, block.vectors, LANES, sums)
        facts = first + padded(plan.run_length)
        for vector in range(block.vectors):
            start = load(self.pointers.bias, column + vector * LANES, LANES)
            for row in range(rows):
                pairs = splat(load(self.workspace, facts + row * stride), LANES)
                result.set(builder, row, vector, start - pairs)
        self._call(block, tile, first, result)
        for vector in range(block.vectors):
            at = column + (plan.vectors * LANES + vector * LANES)
            bias = load(self.pointers.bias, at, LANES)
            for row in range(rows):
                scale = splat(load(self.workspace, facts + (row * stride + 1)), LANES)
                result.set(builder, row, vector, result.get(row, vector) * scale + bias)
        return result

    def _call(self, block: Block, tile: Expr, first: Expr, sums: RegisterTile) -> None:
        plan, params = self.plan, self.plan.params
        # A turn reads as many lines of weights as it has elements of K, of each vector.
        lines = -(-TURN * sums.vectors // params.chunk_tiles) if params.prefetch_next else 0
        loop = PairedLoop(
            rows=sums.rows,
            vectors=sums.vectors,
            pairing=plan.pairing,
            row_stride=plan.row_stride,
            next_lines=lines,
        )
        panel = sums.vectors * LANES * plan.run_length
        share = max(1, lines * LANES * (plan.pairing.half // 2))
        last = -(-panel // share) - 1
        number = tirx.min(tile - block.chunk_start, last)
        self.builder.call_llvm(
            loop.name,
            loop.llvm(),
            *(pointer_to(row, 0) for row in sums.sums),
            pointer_to(self.workspace, first),
            pointer_to(self.pointers.weights, block.panel),
            pointer_to(self.pointers.weights, block.panel + panel + number * share),
        )
