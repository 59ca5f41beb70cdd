"""One kernel for a 3x3 convolution of stride 1 by Winograd's method.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016). The loops,
outermost first:

    block of image tiles
      input transform: each tile, each vector of channels -> workspace [product][tile][channel]
      column block
        each of the n x n products, register tile, K -> workspace [product][tile][column]
        output transform: each tile, each vector of columns -> bias, residual, activation, store

A work item is one column block of one unit of tiles: a register tile, or a whole block where
weights outweigh the images. A range of items is cut into rectangles of units and column blocks:
a part of the first unit's column blocks, blocks of whole units, a part of the last unit's. So
only units that two threads share are transformed twice.
"""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, Kernel, KernelBuilder, load, ramp
from edgecomp.schedules.cpu.arithmetic import Arithmetic, Operands, RegisterTile, Start
from edgecomp.schedules.cpu.epilogue import Epilogue
from edgecomp.schedules.cpu.paired_tile import (
    Ahead,
    PairedTile,
    Panel,
    lines_ahead,
    share_of,
)
from edgecomp.schedules.cpu.row_tiles import part_condition, part_start
from edgecomp.schedules.cpu.tiles import Split
from edgecomp.schedules.cpu.vectors import pinned
from edgecomp.schedules.cpu.winograd_layer import Block, Columns, WinogradLayer, declare
from edgecomp.schedules.cpu.winograd_rectangles import rectangles_of
from edgecomp.schedules.cpu.winograd_tiles import CACHE_LINE_BYTES
from edgecomp.schedules.cpu.winograd_transform import Transforms
from edgecomp.schedules.repeated import emit_once


def emit_winograd(
    layer: WinogradLayer, arithmetic: Arithmetic, epilogue: Epilogue, target: Target
) -> Kernel:
    """Emit the kernel: pointers x, weights, bias, residual where there is one, output, workspace.

    The weights are packed as [column block][product][C][columns of the block].
    """
    return emit_once(_emit, layer, arithmetic, epilogue, target)


def _emit(
    layer: WinogradLayer, arithmetic: Arithmetic, epilogue: Epilogue, target: Target
) -> Kernel:
    return _Emitter(layer, arithmetic, epilogue, target).emit()


class _Emitter:
    """Emits one kernel; the loops of the module's docstring, one method each."""

    def __init__(
        self, layer: WinogradLayer, arithmetic: Arithmetic, epilogue: Epilogue, target: Target
    ) -> None:
        self.layer, self.params = layer, layer.params
        self.arithmetic, self.lanes = arithmetic, arithmetic.lanes
        self.channels = layer.x.shape[1]
        self.builder = KernelBuilder(target.core.isa)
        self.pointers = declare(self.builder, layer, self.lanes)
        self.transforms = Transforms(
            self.builder, layer, self.pointers, self.lanes, epilogue, target
        )
        self.paired = None
        if layer.pairing is not None:
            self.paired = PairedTile(
                self.builder, arithmetic, layer.pairing, self.pointers.workspace
            )

    def emit(self) -> Kernel:
        """The whole kernel."""
        builder, params = self.builder, self.params
        plan = rectangles_of(builder, params)
        with builder.loop("rectangle", 0, plan.count) as number:
            begin, end, low, high = plan.place(builder, number)
            begin = pinned(builder, "first_part", begin * params.unit_parts)
            end = tirx.min(end * params.unit_parts, params.rows.count)
            end = pinned(builder, "end_part", end)
            block = Block(
                begin,
                end,
                pinned(builder, "first", _first_element(begin, params.rows)),
                pinned(builder, "end", _first_element(end, params.rows)),
            )
            self.transforms.transform_input(block)
            self._column_blocks(block, low, high)
        outputs = self.layer.matrices.outputs
        return builder.finish(f"winograd_float32_{outputs}x{outputs}__{self.arithmetic.name}")

    def _column_blocks(self, block: Block, low: Expr, high: Expr) -> None:
        """Column blocks [low, high) of a block of tiles, one loop per block size."""
        builder, split = self.builder, self.params.vectors
        start = 0
        for vectors, count in split.classes():
            stop = start + count
            begin = low if start == 0 else tirx.max(low, start)
            end = high if stop == split.count else tirx.min(high, stop)
            with builder.loop("columns", builder.let("begin", begin), end) as number:
                columns = Columns(
                    builder.let("vector", part_start(number, split, vectors)),
                    vectors,
                    number == split.count - 1 if stop == split.count else None,
                )
                self._products(block, columns)
                self.transforms.transform_output(block, columns)
            start = stop

    def _products(self, block: Block, columns: Columns) -> None:
        """Transformed tiles times transformed weights, for each of the n x n products."""
        builder, split = self.builder, self.params.rows
        width = columns.vectors * self.lanes
        depth = self.layer.products * self.channels
        start = builder.let("panels", columns.vector * (self.lanes * depth))
        with builder.loop("product", 0, self.layer.products) as product:
            panel = builder.let("panel", start + product * (self.channels * width))
            x = builder.let("from", product * self.params.input_stride)
            sums = builder.let(
                "sums", self.transforms.sums_start + product * self.params.sums_stride
            )
            with builder.loop("part", block.first_part, block.end_part) as part:
                for size, _ in split.classes():
                    with builder.condition(part_condition(part, split, size)):
                        row = builder.let("row", part_start(part, split, size) - block.first)
                        x_row = builder.let(
                            "x_row",
                            (x + row * self.params.channel_stride).astype("int64"),
                            "int64",
                        )
                        to = sums + row * self.params.columns
                        if self.paired is not None:
                            place = _Place(product, panel, part - block.first_part)
                            self._paired_sums(columns, place, x_row, size, to)
                            continue
                        share = builder.let("next", self._next_panel(block, columns, part))
                        next_panel = panel + share
                        tile = self._accumulate(
                            x_row, panel, next_panel, size, columns.vectors
                        )
                        self._store_sums(tile, to)

    def _paired_sums(
        self, columns: Columns, place: "_Place", x_row: Expr, rows: int, to: Expr
    ) -> None:
        """One register tile with pairs, into the workspace."""
        builder, constants = self.builder, self.transforms.constants
        pairing = self.layer.pairing
        assert self.paired is not None
        assert pairing is not None
        size = self.channels * columns.vectors * self.lanes
        lines = lines_ahead(columns.vectors, self.params.block_parts)
        share = share_of(lines, pairing)
        tile_share = tirx.min(place.tile, -(-size // share) - 1)
        column = place.product * constants.columns + columns.vector * self.lanes
        column = builder.let("column", column)
        panel = Panel(
            weights=self.pointers.weights,
            at=place.panel,
            starts=self.pointers.bias,
            start=column + constants.starts,
            ahead=(Ahead(place.panel + size + tile_share * share, lines),),
        )
        tile = self.paired.accumulate(panel, x_row, rows, columns.vectors)
        for vector in range(columns.vectors):
            at = column + (constants.multipliers + vector * self.lanes)
            multiplier = load(self.pointers.bias, at, self.lanes)
            for row in range(rows):
                value = self.paired.scaled(tile, x_row, row, vector) * multiplier
                tile.set(builder, row, vector, value)
        self._store_sums(tile, to)

    def _next_panel(self, block: Block, columns: Columns, part: Expr) -> Expr:
        """Elements from a panel to a register tile's share of the panel behind it."""
        size = self.channels * columns.vectors * self.lanes
        return size + (part - block.first_part) * -(-size // self.params.block_parts)

    def _accumulate(
        self, x: Expr, panel: Expr, next_panel: Expr, rows: int, vectors: int
    ) -> RegisterTile:
        """All of K of one register tile; asks for its share of the next panel."""
        builder, arithmetic = self.builder, self.arithmetic
        width = vectors * self.lanes
        sums = arithmetic.begin(builder, rows, vectors, Start())

        def emit(shift: Expr, groups: int) -> None:
            at = panel + shift * width
            x_rows = [x + (row * self.params.channel_stride) + shift for row in range(rows)]
            operands = Operands(
                x=self.pointers.workspace,
                x_rows=x_rows,
                weights=self.pointers.weights,
                weight_index=at,
            )
            arithmetic.accumulate(builder, sums, operands, groups)
            if self.params.prefetch_bytes:
                line = CACHE_LINE_BYTES // arithmetic.weight_bytes
                ahead = at + self.params.prefetch_bytes // arithmetic.weight_bytes
                for element in range(0, groups * width, line):
                    builder.prefetch(self.pointers.weights, ahead + element, near=True)
                parts = self.params.block_parts
                for element in range(0, -(-groups * width // parts), line):
                    share = next_panel + shift * -(-width // parts) + element
                    builder.prefetch(self.pointers.weights, share, near=False)

        arithmetic.along_depth(builder, self.channels, emit)
        return arithmetic.finish(builder, sums)

    def _store_sums(self, tile: RegisterTile, at: Expr) -> None:
        """One register tile into the workspace."""
        for row in range(tile.rows):
            for vector in range(tile.vectors):
                place = at + (row * self.params.columns + vector * self.lanes)
                self.builder.store(
                    self.pointers.workspace, ramp(place, self.lanes), tile.get(row, vector)
                )


@dataclasses.dataclass(frozen=True)
class _Place:
    """A product, index of its panel, and the number of a register tile in its block."""

    product: Expr
    panel: Expr
    tile: Expr


def _first_element(part: Expr, split: Split) -> Expr:
    """Start of a part whose size is not known; the extent for the part behind the last."""
    if split.large == split.small:
        return part * split.small
    return part * split.small + tirx.min(part, split.large_count)
