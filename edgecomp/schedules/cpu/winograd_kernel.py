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
from collections.abc import Callable

from edgecomp.device.target import Target
from edgecomp.plan.values import View
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, Kernel, KernelBuilder, load, ramp
from edgecomp.schedules.cpu.arithmetic import Arithmetic, Operands, RegisterTile
from edgecomp.schedules.cpu.epilogue import Epilogue, store_columns
from edgecomp.schedules.cpu.linear_forms import Forms
from edgecomp.schedules.cpu.row_tiles import part_condition, part_start
from edgecomp.schedules.cpu.tiles import Split
from edgecomp.schedules.cpu.vectors import pinned
from edgecomp.schedules.cpu.winograd_matrices import Winograd
from edgecomp.schedules.cpu.winograd_tiles import (
    CACHE_LINE_BYTES,
    ImageTiles,
    WinogradParams,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WinogradLayer:
    """What the kernel computes.

    Attributes:
        x, output: images [N, C, H, W] and [N, M, OH, OW], channels last.
        residual: of the output's shape, or None.
        pads: top and left padding.
        matrices: of the tiles.
        tiles: of the output.
        params: how the work is cut.
    """

    x: View
    output: View
    residual: View | None
    pads: tuple[int, int]
    matrices: Winograd
    tiles: ImageTiles
    params: WinogradParams

    @property
    def products(self) -> int:
        """Products of matrices, n x n."""
        return self.matrices.inputs**2

    @property
    def work_items(self) -> int:
        """Column blocks of all units of tiles."""
        return self.params.units * self.params.vectors.count

    @property
    def grain_items(self) -> int:
        """Items of a unit: a range that has fewer transforms for others too."""
        return self.params.vectors.count if self.params.units > 1 else 1

    @property
    def workspace_elements(self) -> int:
        """float32 elements of a thread's workspace: transformed input, then sums."""
        return self.products * (self.params.input_stride + self.params.sums_stride)


def emit_winograd(
    layer: WinogradLayer, arithmetic: Arithmetic, epilogue: Epilogue, target: Target
) -> Kernel:
    """Emit the kernel: pointers x, weights, bias, residual where there is one, output, workspace.

    The weights are packed as [column block][product][C][columns of the block].
    """
    return _Emitter(layer, arithmetic, epilogue, target).emit()


@dataclasses.dataclass(frozen=True)
class _Tile:
    """One image tile.

    Attributes:
        image: its image.
        row, column: first of its outputs.
        not_lowest, not_rightmost: conditions under which no earlier tile stores its first rows
            and columns.
    """

    image: Expr
    row: Expr
    column: Expr
    not_lowest: Expr
    not_rightmost: Expr


@dataclasses.dataclass(frozen=True)
class _Block:
    """A block of image tiles: register tiles [first_part, end_part), tiles [first, end)."""

    first_part: Expr
    end_part: Expr
    first: Expr
    end: Expr


@dataclasses.dataclass(frozen=True)
class _Columns:
    """One column block.

    Attributes:
        vector: its first vector of columns.
        vectors: how many it has, known at build time.
        is_last: condition that it holds the last columns; None where it never does.
    """

    vector: Expr
    vectors: int
    is_last: Expr | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Rectangles:
    """The rectangles of a range of work items, in order.

    Attributes:
        count: of them.
        heads: 1 if the first unit is not computed as a whole, else 0.
        blocks: of whole units.
        block_units: units of a block.
        first, whole, last: first unit, first whole one, the one behind the last whole one.
        low, head_high: column blocks of the first unit.
        high: end of the column blocks of the last unit.
        columns: column blocks of a whole unit.
    """

    count: Expr
    heads: Expr
    blocks: Expr
    block_units: Expr
    first: Expr
    whole: Expr
    last: Expr
    low: Expr
    head_high: Expr
    high: Expr
    columns: int

    def place(self, builder: KernelBuilder, number: Expr) -> tuple[Expr, Expr, Expr, Expr]:
        """(first unit, end, first column block, end) of a rectangle."""
        is_head = number < self.heads
        is_tail = number >= self.heads + self.blocks
        block = self.whole + (number - self.heads) * self.block_units
        begin = tirx.Select(is_head, self.first, tirx.Select(is_tail, self.last, block))
        begin = pinned(builder, "begin_unit", begin)
        end = tirx.min(begin + self.block_units, self.last)
        end = tirx.Select(tirx.Or(is_head, is_tail), begin + 1, end)
        high = tirx.Select(is_tail, self.high, self.columns)
        return (
            begin,
            pinned(builder, "end_unit", end),
            pinned(builder, "low", tirx.Select(is_head, self.low, 0)),
            pinned(builder, "high", tirx.Select(is_head, self.head_high, high)),
        )


class _Emitter:
    """Emits one kernel; the loops of the module's docstring, one method each."""

    def __init__(
        self, layer: WinogradLayer, arithmetic: Arithmetic, epilogue: Epilogue, target: Target
    ) -> None:
        self.layer = layer
        self.params = layer.params
        self.arithmetic = arithmetic
        self.epilogue = epilogue
        self.target = target
        self.lanes = arithmetic.lanes
        self.size = layer.matrices.inputs
        self.channels = layer.x.shape[1]
        self.columns = layer.output.shape[1]
        self.input_forms = Forms.of(layer.matrices.input_matrix)
        self.output_forms = Forms.of(layer.matrices.output_matrix)
        self.sums_start = layer.products * self.params.input_stride
        self.builder = KernelBuilder(target.core.isa)
        self._declare()

    def _declare(self) -> None:
        """Parameters, in the order that ``emit_winograd`` states."""
        builder, layer = self.builder, self.layer
        padded = self.params.vectors.extent * self.lanes
        weights = layer.products * self.channels * padded
        self.x = builder.pointer("x", "float32", layer.x.elements)
        self.weights = builder.pointer("weights", "float32", weights)
        self.bias = builder.pointer("bias", "float32", padded)
        self.residual: Buffer | None = None
        if layer.residual is not None:
            self.residual = builder.pointer("residual", "float32", layer.residual.elements)
        self.output = builder.pointer("output", "float32", layer.output.elements)
        self.workspace = builder.pointer("workspace", "float32", layer.workspace_elements)

    def emit(self) -> Kernel:
        """The whole kernel."""
        builder, params = self.builder, self.params
        plan = self._rectangles()
        with builder.loop("rectangle", 0, plan.count) as number:
            begin, end, low, high = plan.place(builder, number)
            begin = pinned(builder, "first_part", begin * params.unit_parts)
            end = tirx.min(end * params.unit_parts, params.rows.count)
            end = pinned(builder, "end_part", end)
            block = _Block(
                begin,
                end,
                pinned(builder, "first", _first_element(begin, params.rows)),
                pinned(builder, "end", _first_element(end, params.rows)),
            )
            self._transform_input(block)
            self._column_blocks(block, low, high)
        outputs = self.layer.matrices.outputs
        return builder.finish(f"winograd_float32_{outputs}x{outputs}__{self.arithmetic.name}")

    def _rectangles(self) -> "_Rectangles":
        """The rectangles of the range of items."""
        builder, columns = self.builder, self.params.vectors.count
        first = pinned(builder, "first_unit", tirx.truncdiv(builder.lo, columns))
        last = pinned(builder, "last_unit", tirx.truncdiv(builder.hi, columns))
        low = pinned(builder, "first_columns", builder.lo - first * columns)
        high = pinned(builder, "last_columns", builder.hi - last * columns)
        heads = pinned(builder, "heads", tirx.Select(low > 0, 1, 0))
        whole = pinned(builder, "whole", first + heads)
        tails = tirx.Select(tirx.And(high > 0, last >= whole), 1, 0)
        units = pinned(builder, "units", tirx.max(last - whole, 0))
        most = self.params.block_parts // self.params.unit_parts
        blocks = pinned(builder, "blocks", tirx.truncdiv(units + (most - 1), most))
        size = tirx.truncdiv(units + blocks - 1, tirx.max(blocks, 1))
        return _Rectangles(
            count=pinned(builder, "rectangles", heads + blocks + tails),
            heads=heads,
            blocks=blocks,
            block_units=pinned(builder, "block_units", size),
            first=first,
            whole=whole,
            last=last,
            low=low,
            head_high=pinned(builder, "high", tirx.min(builder.hi - first * columns, columns)),
            high=high,
            columns=columns,
        )

    def _transform_input(self, block: _Block) -> None:
        """``B^T d B`` of every tile of the block and vector of channels."""
        builder, view = self.builder, self.layer.x
        top, left = self.layer.pads
        strides = view.strides
        with builder.loop("tile", block.first, block.end) as number:
            tile = self._place(number)
            base = view.offset + tile.image * strides[0]
            base = base + (tile.row - top) * strides[2] + (tile.column - left) * strides[3]
            base = builder.let("x_tile", base.astype("int64"), "int64")
            to = builder.let("to_tile", (number - block.first) * self.params.channel_stride)
            vectors = self.params.channel_stride // self.lanes
            with builder.loop("channels", 0, vectors) as vector:
                at, into = base + vector * self.lanes, to + vector * self.lanes

                def read(row: int, column: int, at: Expr = at) -> Expr:
                    place = at + (row * strides[2] + column * strides[3])
                    return load(self.x, place, self.lanes)

                rows = self._transform_columns(self.input_forms, read)
                for row, values in enumerate(rows):
                    for column, value in enumerate(self.input_forms.multiply(builder, values)):
                        product = row * self.size + column
                        place = into + product * self.params.input_stride
                        builder.store(self.workspace, ramp(place, self.lanes), value)

    def _transform_columns(
        self, forms: Forms, read: Callable[[int, int], Expr]
    ) -> list[list[Expr]]:
        """Forms of each column of n x n vectors; result [form][column], pinned."""
        builder, lanes = self.builder, self.lanes
        arrays = [
            builder.array("transformed", "float32", self.size * lanes) for _ in forms.rows
        ]
        for column in range(self.size):
            values = [
                pinned(builder, "element", read(row, column)) for row in range(self.size)
            ]
            for array, value in zip(arrays, forms.multiply(builder, values), strict=True):
                builder.store(array, ramp(column * lanes, lanes), value)
        return [
            [load(array, column * lanes, lanes) for column in range(self.size)]
            for array in arrays
        ]

    def _column_blocks(self, block: _Block, low: Expr, high: Expr) -> None:
        """Column blocks [low, high) of a block of tiles, one loop per block size."""
        builder, split = self.builder, self.params.vectors
        start = 0
        for vectors, count in split.classes():
            stop = start + count
            begin = low if start == 0 else tirx.max(low, start)
            end = high if stop == split.count else tirx.min(high, stop)
            with builder.loop("columns", builder.let("begin", begin), end) as number:
                columns = _Columns(
                    builder.let("vector", part_start(number, split, vectors)),
                    vectors,
                    number == split.count - 1 if stop == split.count else None,
                )
                self._products(block, columns)
                self._transform_output(block, columns)
            start = stop

    def _products(self, block: _Block, columns: _Columns) -> None:
        """Transformed tiles times transformed weights, for each of the n x n products."""
        builder, split = self.builder, self.params.rows
        width = columns.vectors * self.lanes
        depth = self.layer.products * self.channels
        start = builder.let("panels", columns.vector * (self.lanes * depth))
        with builder.loop("product", 0, self.layer.products) as product:
            panel = builder.let("panel", start + product * (self.channels * width))
            x = builder.let("from", product * self.params.input_stride)
            sums = builder.let("sums", self.sums_start + product * self.params.sums_stride)
            with builder.loop("part", block.first_part, block.end_part) as part:
                for size, _ in split.classes():
                    with builder.condition(part_condition(part, split, size)):
                        row = builder.let("row", part_start(part, split, size) - block.first)
                        x_row = builder.let(
                            "x_row",
                            (x + row * self.params.channel_stride).astype("int64"),
                            "int64",
                        )
                        share = builder.let("next", self._next_panel(block, columns, part))
                        next_panel = panel + share
                        tile = self._accumulate(
                            x_row, panel, next_panel, size, columns.vectors
                        )
                        self._store_sums(tile, sums + row * self.params.columns)

    def _next_panel(self, block: _Block, columns: _Columns, part: Expr) -> Expr:
        """Elements from a panel to a register tile's share of the panel behind it."""
        size = self.channels * columns.vectors * self.lanes
        return size + (part - block.first_part) * -(-size // self.params.block_parts)

    def _accumulate(
        self, x: Expr, panel: Expr, next_panel: Expr, rows: int, vectors: int
    ) -> RegisterTile:
        """All of K of one register tile; asks for its share of the next panel."""
        builder, arithmetic = self.builder, self.arithmetic
        width = vectors * self.lanes
        sums = arithmetic.begin(builder, rows, vectors, None, 0)

        def emit(shift: Expr, groups: int) -> None:
            at = panel + shift * width
            x_rows = [x + (row * self.params.channel_stride) + shift for row in range(rows)]
            operands = Operands(
                x=self.workspace, x_rows=x_rows, weights=self.weights, weight_index=at
            )
            arithmetic.accumulate(builder, sums, operands, groups)
            if self.params.prefetch_bytes:
                line = CACHE_LINE_BYTES // arithmetic.weight_bytes
                ahead = at + self.params.prefetch_bytes // arithmetic.weight_bytes
                for element in range(0, groups * width, line):
                    builder.prefetch(self.weights, ahead + element, near=True)
                parts = self.params.block_parts
                for element in range(0, -(-groups * width // parts), line):
                    share = next_panel + shift * -(-width // parts) + element
                    builder.prefetch(self.weights, share, near=False)

        arithmetic.along_depth(builder, self.channels, emit)
        return arithmetic.finish(builder, sums)

    def _store_sums(self, tile: RegisterTile, at: Expr) -> None:
        """One register tile into the workspace."""
        for row in range(tile.rows):
            for vector in range(tile.vectors):
                place = at + (row * self.params.columns + vector * self.lanes)
                self.builder.store(
                    self.workspace, ramp(place, self.lanes), tile.get(row, vector)
                )

    def _transform_output(self, block: _Block, columns: _Columns) -> None:
        """``A^T s A`` of every tile of the block, then epilogue and stores."""
        builder = self.builder
        tail = self.columns % self.lanes
        with builder.loop("tile", block.first, block.end) as number:
            tile = self._place(number)
            sums = self.sums_start + (number - block.first) * self.params.columns
            sums = builder.let("sums_tile", sums)
            whole = columns.vectors - bool(tail and columns.is_last is not None)
            if whole:
                with builder.loop("vector", 0, whole) as vector:
                    self._outputs(tile, columns, sums, vector, self.lanes)
            if whole < columns.vectors:
                cases: list[tuple[int, Expr | None]] = [(tail, None)]
                if self.params.vectors.count > 1:
                    not_last = tirx.Not(columns.is_last)
                    cases = [(tail, columns.is_last), (self.lanes, not_last)]
                for count, test in cases:
                    with builder.condition(test):
                        self._outputs(tile, columns, sums, whole, count)

    def _outputs(
        self, tile: _Tile, columns: _Columns, sums: Expr, vector: Expr, count: int
    ) -> None:
        """One vector of columns, of which ``count`` exist, in all outputs of a tile."""
        builder, lanes, tiles = self.builder, self.lanes, self.layer.tiles
        from_column = sums + vector * lanes

        def read(row: int, column: int) -> Expr:
            product = row * self.size + column
            return load(self.workspace, from_column + product * self.params.sums_stride, lanes)

        rows = self._transform_columns(self.output_forms, read)
        channel = builder.let("channel", (columns.vector + vector) * lanes)
        bias = load(self.bias, channel, lanes)
        for row, values in enumerate(rows):
            with builder.condition(tile.not_lowest if row < tiles.overlap_rows else None):
                results = self.output_forms.multiply(builder, values)
                for column, result in enumerate(results):
                    overlaps = column < tiles.overlap_columns
                    with builder.condition(tile.not_rightmost if overlaps else None):
                        self._store(tile, row, column, channel, result + bias, count)

    def _store(
        self, tile: _Tile, row: int, column: int, channel: Expr, value: Expr, count: int
    ) -> None:
        """Epilogue and store of one vector."""
        residual = None
        if self.residual is not None:
            assert self.layer.residual is not None
            at = _pixel(self.layer.residual, tile, row, column) + channel
            residual = load(self.residual, at, self.lanes)
        result = self.epilogue.apply(
            self.builder, self.target, value, self.lanes, None, residual
        )
        at = _pixel(self.layer.output, tile, row, column) + channel
        store_columns(self.builder, self.output, at, result, self.lanes, count)

    def _place(self, number: Expr) -> _Tile:
        """Where image tile ``number`` lies."""
        builder, tiles = self.builder, self.layer.tiles
        image: Expr = 0
        if tiles.batch > 1:
            per_image = tiles.down * tiles.across
            image = builder.let("image", tirx.truncdiv(number, per_image))
            number = builder.let("in_image", number - image * per_image)
        down = builder.let("down", tirx.truncdiv(number, tiles.across))
        across = builder.let("across", number - down * tiles.across)
        row = tirx.min(down * tiles.outputs, tiles.height - tiles.outputs)
        column = tirx.min(across * tiles.outputs, tiles.width - tiles.outputs)
        return _Tile(
            image,
            builder.let("out_row", row),
            builder.let("out_column", column),
            down < tiles.down - 1,
            across < tiles.across - 1,
        )


def _first_element(part: Expr, split: Split) -> Expr:
    """Start of a part whose size is not known; the extent for the part behind the last."""
    if split.large == split.small:
        return part * split.small
    return part * split.small + tirx.min(part, split.large_count)


def _pixel(view: View, tile: _Tile, row: int, column: int) -> Expr:
    """Index of channel 0 of one of a tile's outputs."""
    strides = view.strides
    corner = view.offset + tile.image * strides[0] + tile.row * strides[2]
    return corner + tile.column * strides[3] + (row * strides[2] + column * strides[3])
