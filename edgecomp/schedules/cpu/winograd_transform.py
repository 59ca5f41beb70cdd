"""Input and output transforms of a Winograd kernel."""

from collections.abc import Callable

from edgecomp.device.target import Target
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, load, ramp
from edgecomp.schedules.cpu.epilogue import Epilogue, store_columns
from edgecomp.schedules.cpu.linear_forms import Forms
from edgecomp.schedules.cpu.paired_rows import PackedRow, PairedRows
from edgecomp.schedules.cpu.vectors import pinned
from edgecomp.schedules.cpu.winograd_layer import (
    Block,
    Columns,
    Pointers,
    Tile,
    WinogradLayer,
    pixel,
    place_of,
)


class Transforms:
    """Emits both; ``lanes`` channels or columns are in a vector."""

    def __init__(
        self,
        builder: KernelBuilder,
        layer: WinogradLayer,
        pointers: Pointers,
        lanes: int,
        epilogue: Epilogue,
        target: Target,
    ) -> None:
        self.builder, self.layer, self.pointers = builder, layer, pointers
        self.params, self.lanes = layer.params, lanes
        self.epilogue, self.target = epilogue, target
        self.size = layer.matrices.inputs
        self.input_forms = Forms.of(layer.matrices.input_matrix)
        self.output_forms = Forms.of(layer.matrices.output_matrix)
        self.sums_start = layer.products * self.params.input_stride
        self.constants = layer.constants(lanes)
        self.rows = None
        if layer.pairing is not None:
            workspace = pointers.workspace
            factors = pointers.bias if layer.has_factors else None
            self.rows = PairedRows(builder, layer.pairing, workspace, workspace, factors)

    def transform_input(self, block: Block) -> None:
        """``B^T d B`` of every tile of the block and vector of channels."""
        builder, view = self.builder, self.layer.x
        top, left = self.layer.pads
        strides = view.strides
        with builder.loop("tile", block.first, block.end) as number:
            tile = place_of(builder, self.layer.tiles, number)
            base = view.offset + tile.image * strides[0]
            base = base + (tile.row - top) * strides[2] + (tile.column - left) * strides[3]
            base = builder.let("x_tile", base.astype("int64"), "int64")
            to = builder.let("to_tile", (number - block.first) * self.params.channel_stride)
            vectors = -(-self.layer.x.shape[1] // self.lanes)
            with builder.loop("channels", 0, vectors) as vector:
                at, into = base + vector * self.lanes, to + vector * self.lanes

                def read(row: int, column: int, at: Expr = at) -> Expr:
                    place = at + (row * strides[2] + column * strides[3])
                    return load(self.pointers.x, place, self.lanes)

                rows = self._transform_columns(self.input_forms, read)
                for row, values in enumerate(rows):
                    for column, value in enumerate(self.input_forms.multiply(builder, values)):
                        product = row * self.size + column
                        place = into + product * self.params.input_stride
                        builder.store(self.pointers.workspace, ramp(place, self.lanes), value)
            self._pack(to)

    def _pack(self, tile: Expr) -> None:
        """Scale the channels of a tile in each product, for pairs."""
        if self.rows is None:
            return
        builder, depth = self.builder, self.layer.x.shape[1]
        with builder.loop("product", 0, self.layer.products) as product:
            at = builder.let("row", tile + product * self.params.input_stride)
            factors = self.constants.factors + product * depth
            self.rows.pack(PackedRow((), depth, at, at, factors))

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

    def transform_output(self, block: Block, columns: Columns) -> None:
        """``A^T s A`` of every tile of the block, then epilogue and stores."""
        builder = self.builder
        tail = self.layer.output.shape[1] % self.lanes
        with builder.loop("tile", block.first, block.end) as number:
            tile = place_of(builder, self.layer.tiles, number)
            sums = self.sums_start + (number - block.first) * self.params.columns
            sums = builder.let("sums_tile", sums)
            whole = columns.vectors - bool(tail and columns.is_last is not None)
            if whole:
                with builder.loop("vector", 0, whole) as vector:
                    self._outputs(tile, columns, sums, vector, self.lanes)
            if whole < columns.vectors:
                cases: list[tuple[int, Expr | None]] = [(tail, None)]
                if self.params.vectors.count > 1:
                    assert columns.is_last is not None
                    not_last = tirx.Not(columns.is_last)
                    cases = [(tail, columns.is_last), (self.lanes, not_last)]
                for count, test in cases:
                    with builder.condition(test):
                        self._outputs(tile, columns, sums, whole, count)

    def _outputs(
        self, tile: Tile, columns: Columns, sums: Expr, vector: Expr, count: int
    ) -> None:
        """One vector of columns, of which ``count`` exist, in all outputs of a tile."""
        builder, lanes, tiles = self.builder, self.lanes, self.layer.tiles
        from_column = sums + vector * lanes

        def read(row: int, column: int) -> Expr:
            product = row * self.size + column
            return load(
                self.pointers.workspace, from_column + product * self.params.sums_stride, lanes
            )

        rows = self._transform_columns(self.output_forms, read)
        channel = builder.let("channel", (columns.vector + vector) * lanes)
        bias = load(self.pointers.bias, channel, lanes)
        for row, values in enumerate(rows):
            with builder.condition(tile.not_lowest if row < tiles.overlap_rows else None):
                results = self.output_forms.multiply(builder, values)
                for column, result in enumerate(results):
                    overlaps = column < tiles.overlap_columns
                    with builder.condition(tile.not_rightmost if overlaps else None):
                        self._store(tile, row, column, channel, result + bias, count)

    def _store(
        self, tile: Tile, row: int, column: int, channel: Expr, value: Expr, count: int
    ) -> None:
        """Epilogue and store of one vector."""
        residual = None
        if self.pointers.residual is not None:
            assert self.layer.residual is not None
            at = pixel(self.layer.residual, tile, row, column) + channel
            residual = load(self.pointers.residual, at, self.lanes)
        result = self.epilogue.apply(
            self.builder, self.target, value, self.lanes, None, residual
        )
        at = pixel(self.layer.output, tile, row, column) + channel
        store_columns(self.builder, self.pointers.output, at, result, self.lanes, count)
