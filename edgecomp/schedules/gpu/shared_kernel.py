"""Float products on a GPU whose local memory is fast: a group keeps tiles of both sides there.

    for each place of the window, for so many elements of K:
        all work items bring x of the group's rows and weights of its columns to local memory
        for each element of K: rows times columns of one work item, from there

What one work item loads from memory all others of its group use: each element of x is read once
for the columns of a group, not once for those of a work item. Floats of 16 bits become float32 on the way
to local memory, or stay half where the device multiplies in half: what a tile's elements of K give, which are
no more than ``HALF_RUN``, is then added to sums of float32. The last tile of rows begins earlier
instead of being shorter; fewer dynamic rows than a tile has are followed by room for those that
there may be.
"""

import dataclasses

import numpy as np

from edgecomp.device.target import Gpu
from edgecomp.plan.sizes import is_dynamic, reached
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant, load, splat
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.cpu.product import Product, collapse_depth
from edgecomp.schedules.gpu.builder import GridBuilder, parts_of
from edgecomp.schedules.gpu.columns import store_columns
from edgecomp.schedules.gpu.dense_kernel import DenseKernel, DeviceProduct, ProductTask
from edgecomp.schedules.gpu.halves import multiplies_in_half
from edgecomp.schedules.gpu.places import LANES, flat_target, gpu_of
from edgecomp.schedules.gpu.vectors import load_as_stored, load_vector, store_vector
from edgecomp.schedules.gpu.weights import declare_weights

_FLOATS = f"float32x{LANES}"
_FLOAT_BYTES = 4
_HALF_BYTES = 2
#: Vectors of columns of a work item, and its rows: the most first.
_VECTORS, _ROWS = 2, (8, 4)
#: Work items of a group one below the other.
_DOWN = 8
#: Elements of K in local memory, at most ``HALF_RUN``: the most first.
_DEPTHS = (16, 8)
#: Registers for addresses and loop counters.
_SPARE_REGISTERS = 8
#: Bytes behind each row of x in local memory, so that work items store to different banks.
_PADDING_BYTES = 16


@dataclasses.dataclass(frozen=True)
class SharedTile:
    """What a group computes.

    Attributes:
        item_rows: of one work item, which has ``_VECTORS`` vectors of columns.
        across: work items side by side; there are ``_DOWN`` one below the other.
        depth: elements of K at once.
        is_half: whether they are float16 in local memory, and are multiplied so.
    """

    item_rows: int
    across: int
    depth: int
    is_half: bool = False

    @property
    def items(self) -> int:
        """Work items."""
        return self.across * _DOWN

    @property
    def rows(self) -> int:
        """Of the group."""
        return self.item_rows * _DOWN

    @property
    def columns(self) -> int:
        """Of the group."""
        return self.across * _VECTORS * LANES

    @property
    def xs_stride(self) -> int:
        """Elements of local memory from one element of K to the next, of x."""
        return self.rows + _PADDING_BYTES // self._element_bytes

    @property
    def local_bytes(self) -> int:
        """Of both tiles."""
        return self._element_bytes * self.depth * (self.xs_stride + self.columns)

    @property
    def registers(self) -> int:
        """Of 32 bits that a step needs: sums, weights, an element of x of each row."""
        sums, others = LANES * _VECTORS * self.item_rows, LANES * _VECTORS + self.item_rows
        return sums + (sums + others) // 2 if self.is_half else sums + others

    @property
    def _element_bytes(self) -> int:
        return _HALF_BYTES if self.is_half else _FLOAT_BYTES


def choose_shared_tile(
    product: Product, gpu: Gpu, *, is_half: bool = False
) -> SharedTile | None:
    """The tile for a product; None where local memory is no gain or too few groups would run.

    Args:
        product: what is multiplied.
        gpu: the device.
        is_half: whether that is done in float16.
    """
    if not gpu.fast_local_memory:
        return None
    tile = tile_for(product, gpu, is_half=is_half)
    if tile is None or product.columns * 2 <= tile.columns:
        return None
    groups = -(-reached(product.row_count) // tile.rows) * -(-product.columns // tile.columns)
    return tile if groups * product.groups * tile.items >= gpu.busy_items else None


def tile_for(product: Product, gpu: Gpu, *, is_half: bool = False) -> SharedTile | None:
    """The largest tile that a device has room for; None for a product that is smaller."""
    across, run = gpu.group_items // _DOWN, collapse_depth(product.depth)[-1].size
    for rows in _ROWS:
        for depth in _DEPTHS:
            tile = SharedTile(rows, across, depth, is_half)
            loads = tile.rows * depth // LANES, tile.columns * depth // LANES
            if (
                tile.registers <= gpu.registers - _SPARE_REGISTERS
                and tile.local_bytes <= gpu.local_memory_bytes
                and run % depth == 0
                and tile.items % tile.rows == 0
                and all(count % tile.items == 0 for count in loads)
                and reached(product.row_count) >= tile.rows
            ):
                return tile
    return None


class _SharedKernel(DenseKernel):
    """One kernel in the making."""

    def __init__(self, task: ProductTask, tile: SharedTile) -> None:
        super().__init__(task, collapse_depth(task.product.depth))
        self.tile = tile
        self.blocks = -(-self.product.columns // tile.columns)
        self.padded_columns = self.blocks * tile.columns
        down = parts_of(self.row_count, tile.rows)
        self.builder = GridBuilder(
            (self.blocks * self.product.groups, down, 1), (tile.across, _DOWN, 1)
        )
        self.declare_input()
        gpu = gpu_of(task.target)
        weight_dtype = task.weight.dtype.name
        self.weights = declare_weights(self.builder, weight_dtype, self.weight_shape, gpu)
        self.declare_operands("float32")
        #: Of what is multiplied, in local memory too.
        self.dtype = "float16" if tile.is_half else "float32"
        self.vector = f"{self.dtype}x{LANES}"
        self.xs = self.builder.shared_array("xs", self.dtype, tile.depth * tile.xs_stride)
        self.ws = self.builder.shared_array("ws", self.dtype, tile.depth * tile.columns)

    def emit(self) -> None:
        """All statements."""
        builder, tile = self.builder, self.tile
        block = self.split_block(builder.group(0), self.blocks)
        first_column = builder.let("first_column", block * tile.columns)
        beside, below = builder.item(0), builder.item(1)
        self.own = builder.let("own", below * tile.across + beside)
        self.beside_at = builder.let("beside_at", beside * (_VECTORS * LANES))
        self.below_at = builder.let("below_at", below * tile.item_rows)
        self.begin_columns(first_column + self.beside_at)
        first = builder.group(1) * tile.rows
        if is_dynamic(self.row_count):
            last = builder.size(self.row_count) - tile.rows
            first = tirx.Max(tirx.Min(first, last), tirx.const(0, "int32"))
        elif self.row_count % tile.rows:
            first = tirx.Min(first, tirx.const(self.row_count - tile.rows, "int32"))
        self.first = builder.let("first_row", first)
        self._start_sums()
        # This work item brings the vectors of one row of x, and of one place of the columns: as
        # many elements of K at once as a vector has, of which its own is ``load_k``.
        self.load_row = builder.let("load_row", self.own - self._part(tile.rows) * tile.rows)
        self.load_depth = builder.let("load_depth", self._part(tile.rows) * LANES)
        row_at = self._places(self.first + self.load_row, ("x",))[0]
        vectors = tile.columns // LANES
        self.load_k = builder.let("load_k", self._part(vectors))
        self.load_column = builder.let(
            "load_column", (self.own - self.load_k * vectors) * LANES
        )
        x_at = builder.let("x_at", row_at + self.x.in_places(self.load_depth))
        column = first_column + self.load_column
        self._accumulate(0, x_at, self.weights.begin_behind(self.group, column, self.load_k))
        self._finish()

    def _part(self, size: int) -> Expr:
        return tirx.truncdiv(self.own, size)

    def _places(self, row: Expr, tensors: tuple[str, ...]) -> list[Expr]:
        """Places of a row's first element in tensors."""
        number = self.builder.let("number", row)
        indices = unravel(self.builder, number, [d.size for d in self.rows])
        return self.places_of(indices, {}, tensors)

    def _start_sums(self) -> None:
        builder, tile = self.builder, self.tile
        self.sums = self.terms = builder.array("sums", _FLOATS, tile.item_rows * _VECTORS)
        if tile.is_half:
            self.terms = builder.array("terms", self.vector, tile.item_rows * _VECTORS)
        for vector in range(_VECTORS):
            at = self.constant_at + vector * LANES
            bias = builder.let("start", load_vector(self.bias, at, LANES), _FLOATS)
            for row in range(tile.item_rows):
                builder.store(self.sums, self._index(row, vector), bias)

    def _index(self, row: int, vector: int) -> Expr:
        return tirx.const(row * _VECTORS + vector, "int32")

    def _accumulate(self, dimension: int, x_at: Expr, weight_at: Expr) -> None:
        """Loops over the window, then over the run of neighbouring elements."""
        builder, depth = self.builder, self.depth
        if dimension < len(depth) - 1:
            below = int(np.prod([d.size for d in depth[dimension + 1 :]]))
            with builder.loop("k", 0, depth[dimension].size) as k:
                self._accumulate(
                    dimension + 1,
                    builder.let(
                        "x_at", x_at + k * self.x.in_places(int(depth[dimension].stride))
                    ),
                    builder.let("weight_at", weight_at + k * self.weights.advance(below)),
                )
            return
        with builder.loop("k", 0, depth[-1].size // self.tile.depth) as k:
            step = self.weights.advance(self.tile.depth)
            self._bring(x_at + k * self.x.in_places(self.tile.depth), weight_at + k * step)
            builder.barrier()
            if self.tile.is_half:
                self._multiply_in_half()
            else:
                self._multiply()
            builder.barrier()

    def _bring(self, x_at: Expr, weight_at: Expr) -> None:
        """Both tiles to local memory, x with its rows side by side."""
        builder, tile = self.builder, self.tile
        apart = tile.items // tile.rows * LANES
        for shift in range(0, tile.depth, apart):
            place = x_at + self.x.in_places(shift)
            read = self.x.load_as_stored if tile.is_half else self.x.load
            vector = builder.let("x", read(place, LANES), self.vector)
            for lane in range(LANES):
                at = (self.load_depth + (shift + lane)) * tile.xs_stride + self.load_row
                builder.store(self.xs, at, tirx.Shuffle([vector], [lane]))
        apart = tile.items // (tile.columns // LANES)
        for shift in range(0, tile.depth, apart):
            place = self.weights.place(weight_at, shift)
            columns = self.weights.load_at(place, as_stored=tile.is_half)
            vector = builder.let("w", columns, self.vector)
            at = (self.load_k + shift) * tile.columns + self.load_column
            store_vector(builder, self.ws, at, vector, LANES)

    def _multiply_in_half(self) -> None:
        """Sums of float16 begin at zero, and are added to those of float32."""
        builder = self.builder
        places = [
            tirx.const(index, "int32") for index in range(self.tile.item_rows * _VECTORS)
        ]
        for place in places:
            builder.store(self.terms, place, constant(0, self.dtype, LANES))
        self._multiply()
        for place in places:
            few = tirx.Cast(_FLOATS, load(self.terms, place))
            builder.store(self.sums, place, load(self.sums, place) + few)

    def _multiply(self) -> None:
        builder, tile = self.builder, self.tile
        with builder.loop("d", 0, tile.depth) as d:
            x_at = builder.let("xs_at", d * tile.xs_stride + self.below_at)
            w_at = builder.let("ws_at", d * tile.columns + self.beside_at)
            xs = [
                builder.let("a", load_as_stored(self.xs, x_at + row, LANES), self.vector)
                for row in range(0, tile.item_rows, LANES)
            ]
            for vector in range(_VECTORS):
                at = w_at + vector * LANES
                weight = builder.let("b", load_as_stored(self.ws, at, LANES), self.vector)
                for row in range(tile.item_rows):
                    element = tirx.Shuffle([xs[row // LANES]], [row % LANES])
                    index = self._index(row, vector)
                    total = tirx.call_pure_extern(
                        self.vector,
                        "mad",
                        splat(element, LANES),
                        weight,
                        load(self.terms, index),
                    )
                    builder.store(self.terms, index, total)

    def _finish(self) -> None:
        builder, columns = self.builder, self.product.columns
        tensors = ("output",) if self.residual is None else ("output", "residual")
        for row in range(self.tile.item_rows):
            places = self._places(self.first + self.below_at + row, tensors)
            for vector in range(_VECTORS):
                column = self.column + vector * LANES
                is_certain = self.padded_columns == columns
                with builder.condition(None if is_certain else column < columns):
                    self._finish_one(row, vector, places, column)

    def _finish_one(self, row: int, vector: int, places: list[Expr], column: Expr) -> None:
        builder = self.builder
        multiplier = residual = None
        if self.multiplier is not None:
            at = self.constant_at + vector * LANES
            multiplier = load_vector(self.multiplier, at, LANES)
        if self.residual is not None:
            residual = load_vector(self.residual, places[1] + column, LANES)
        value = self.epilogue.apply(
            builder,
            flat_target(self.target),
            load(self.sums, self._index(row, vector)),
            LANES,
            multiplier,
            residual,
        )
        store_columns(builder, self.y, places[0] + column, value, column, self.product.columns)


def emit_shared_product(task: ProductTask) -> DeviceProduct:
    """The kernel of a product of floats."""
    gpu = gpu_of(task.target)
    is_half = multiplies_in_half(gpu, task.x_dtype, task.weight.dtype.name)
    tile = tile_for(task.product, gpu, is_half=is_half)
    assert tile is not None
    made = _SharedKernel(task, tile)
    made.emit()
    return made.finished(f"shared_{task.name}", made.weights.pack(task.weight))
