"""Matrix products on a GPU: each work item keeps a tile of sums in registers.

    for each place of the window, for four elements of K:
        load a vector of x for each row of the tile
        for each of the four: load the weights of the tile's columns, multiply and add

Weights lie so that neighbouring work items read neighbouring vectors (``weights.py``).
The last tile of a line of rows begins earlier instead of being shorter: what two work items
compute is the same.
"""

import contextlib
import math
from collections.abc import Iterator

import numpy as np

from edgecomp.plan.sizes import has_dynamic, is_dynamic, quotient, reached, smallest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, load, splat
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.cpu.product import Product, RunDimension, collapse_depth, collapse_rows
from edgecomp.schedules.gpu.builder import GridBuilder, parts_of
from edgecomp.schedules.gpu.columns import store_columns
from edgecomp.schedules.gpu.dense_kernel import DenseKernel, DeviceProduct, ProductTask
from edgecomp.schedules.gpu.halves import HALF_RUN, multiplies_in_half
from edgecomp.schedules.gpu.places import LANES, flat_target, gpu_of
from edgecomp.schedules.gpu.product_tiles import choose_tile, group_shape
from edgecomp.schedules.gpu.vectors import load_vector, widened
from edgecomp.schedules.gpu.weights import Texel, declare_weights


class ProductKernel(DenseKernel):
    """One kernel in the making."""

    def __init__(
        self, task: ProductTask, depth: tuple[RunDimension, ...], weight_dtype: str
    ) -> None:
        super().__init__(task, depth)
        product, gpu = self.product, gpu_of(self.target)
        self.inner = self.rows[-1]
        # A tile has no more rows than there is room for.
        inner_rows = reached(self.inner.size)
        outer_rows = reached(self.row_count) // inner_rows
        self.tile = choose_tile(inner_rows, outer_rows, product.columns, product.groups, gpu)
        self.blocks = -(-product.columns // self.tile.columns)
        self.padded_columns = self.blocks * self.tile.columns
        self.across = self.blocks * product.groups
        items = group_shape(self.across, gpu)
        # Dynamic rows that are one run have as many tiles as the kernel finds.
        outer = math.prod(dimension.size for dimension in self.rows[:-1])
        self.is_run = is_dynamic(self.inner.size) and is_one_run(product)
        if self.is_run:
            down = parts_of(self.inner.size, self.tile.rows * items[1])
        else:
            self.row_tiles = quotient(self.inner.size + (self.tile.rows - 1), self.tile.rows)
            down = parts_of(outer * self.row_tiles, items[1])
        self.outer = outer
        #: How many rows of a tile every run has.
        self.certain_rows = self.tile.rows
        if not self.is_run:
            self.certain_rows = min(self.tile.rows, smallest(self.inner.size))
        groups = (-(-self.across // items[0]), down, 1)
        self.is_float = "float" in task.x_dtype
        self.sum_dtype = "float32" if self.is_float else "int32"
        #: Whether a few products at a time are summed up in float16.
        self.is_half = multiplies_in_half(gpu, task.x_dtype, weight_dtype)
        self.term_dtype = "float16" if self.is_half else self.sum_dtype
        self.builder = GridBuilder(groups, items)
        self.declare_input()
        self.weights = declare_weights(self.builder, weight_dtype, self.weight_shape, gpu)
        self.declare_operands(self.sum_dtype)
        self.sums: Buffer = None
        self.terms: Buffer = None

    def emit(self) -> None:
        """All statements."""
        builder = self.builder
        block, line = builder.place(0), builder.place(1)
        if self.is_run:
            down = builder.parts_of(self.inner.size, self.tile.rows)
        else:
            down = builder.size(self.outer * self.row_tiles)
        with builder.condition(tirx.And(block < self.across, line < down)):
            block = self.split_block(block, self.blocks)
            self.begin_columns(block * self.tile.columns)
            x_at, y_at, z_at = self._starts(line)
            self._start_sums()
            self._accumulate(0, x_at, self.weights.begin(self.group, self.column))
            self._finish(y_at, z_at)

    def _starts(self, line: Expr) -> list[Expr]:
        """Places of the tile's first row in x, the output and the residual."""
        builder, tile = self.builder, self.tile
        if self.is_run:
            # Fewer rows than a tile has are followed by room for those that there may be.
            last = builder.size(self.inner.size) - tile.rows
            first = tirx.Max(tirx.Min(line * tile.rows, last), tirx.const(0, "int32"))
            indices = [first]
        else:
            sizes = [*(dimension.size for dimension in self.rows[:-1]), self.row_tiles]
            indices = unravel(builder, line, sizes)
            first = indices[-1] * tile.rows
            if is_dynamic(self.inner.size):
                first = tirx.Min(first, builder.size(self.inner.size) - tile.rows)
            elif self.inner.size % tile.rows:
                first = tirx.Min(first, tirx.const(self.inner.size - tile.rows, "int32"))
            if self.certain_rows < tile.rows:
                first = tirx.Max(first, tirx.const(0, "int32"))
        indices[-1] = builder.let("first", first)
        return self.places_of(indices, {"output": self.column, "residual": self.column})

    def _start_sums(self) -> None:
        builder, tile = self.builder, self.tile
        dtype = f"{self.sum_dtype}x{LANES}"
        self.sums = builder.array("sums", dtype, tile.rows * tile.vectors)
        self.terms = self.sums
        if self.is_half:
            terms = f"{self.term_dtype}x{LANES}"
            self.terms = builder.array("terms", terms, tile.rows * tile.vectors)
        for vector in range(tile.vectors):
            bias = builder.let("start", self._start(vector), dtype)
            for row in range(tile.rows):
                builder.store(self.sums, self._sum_index(row, vector), bias)

    def _start(self, vector: int) -> Expr:
        """What sums of some columns begin with."""
        return load_vector(self.bias, self.constant_at + vector * LANES, LANES)

    def _sum_index(self, row: int, vector: int) -> Expr:
        return tirx.const(row * self.tile.vectors + vector, "int32")

    def _accumulate(self, dimension: int, x_at: Expr, weight_at: Expr) -> None:
        """Loops over the window, then the run of neighbouring elements."""
        builder, depth = self.builder, self.depth
        if dimension == len(depth) - 1:
            self._accumulate_run(x_at, weight_at)
            return
        below = int(np.prod([d.size for d in depth[dimension + 1 :]]))
        with builder.loop("k", 0, depth[dimension].size) as k:
            self._accumulate(
                dimension + 1,
                builder.let("x_at", x_at + k * self.distance(depth[dimension].stride)),
                builder.let("weight_at", weight_at + k * self.weights.advance(below)),
            )

    def _accumulate_run(self, x_at: Expr, weight_at: Expr) -> None:
        length = self.depth[-1].size
        if not self.is_half:
            self._accumulate_part(x_at, weight_at, length)
            return
        whole = length // HALF_RUN
        if whole:
            with self.builder.loop("part", 0, whole) as part, self._in_half():
                self._accumulate_part(
                    self.builder.let("x_at", x_at + part * self.x.in_places(HALF_RUN)),
                    self.builder.let(
                        "weight_at", weight_at + part * self.weights.advance(HALF_RUN)
                    ),
                    HALF_RUN,
                )
        if length % HALF_RUN:
            done = whole * HALF_RUN
            with self._in_half():
                rest_at = weight_at + self.weights.advance(done)
                self._accumulate_part(x_at + self.x.in_places(done), rest_at, length - done)

    @contextlib.contextmanager
    def _in_half(self) -> Iterator[None]:
        """Sums of float16 begin at zero, and are added to those of float32."""
        builder, count = self.builder, self.tile.rows * self.tile.vectors
        for index in range(count):
            zero = constant(0, self.term_dtype, LANES)
            builder.store(self.terms, tirx.const(index, "int32"), zero)
        yield
        for index in range(count):
            place = tirx.const(index, "int32")
            few = tirx.Cast(f"{self.sum_dtype}x{LANES}", load(self.terms, place))
            builder.store(self.sums, place, load(self.sums, place) + few)

    def _accumulate_part(self, x_at: Expr, weight_at: Expr, length: int) -> None:
        """Neighbouring elements of K."""
        builder = self.builder
        whole = length // LANES
        if whole == 1:
            self._step(x_at, weight_at, LANES)
        elif whole:
            with builder.loop("k", 0, whole) as k:
                self._step(
                    builder.let("x_at", x_at + k * self.x.in_places(LANES)),
                    builder.let("weight_at", weight_at + k * self.weights.advance(LANES)),
                    LANES,
                )
        done = whole * LANES
        for k in range(done, length):
            self._step(x_at + self.x.in_places(k), self.weights.place(weight_at, k), 1)

    def _step(self, x_at: Expr, weight_at: Expr | Texel, count: int) -> None:
        """``count`` elements of K, neighbours in x."""
        builder, tile = self.builder, self.tile
        wide = f"{self.term_dtype}x{count}" if count > 1 else self.term_dtype
        xs = [
            builder.let(
                "x",
                self._term(x_at + row * self.distance(self.inner.x), count),
                wide,
            )
            for row in range(tile.rows)
        ]
        for k in range(count):
            for vector in range(tile.vectors):
                value = self.weights.load(weight_at, k, vector, as_stored=self.is_half)
                if not self.is_float:
                    value = widened(value)
                weight = builder.let("w", value, f"{self.term_dtype}x{LANES}")
                for row, x in enumerate(xs):
                    element = tirx.Shuffle([x], [k]) if count > 1 else x
                    index = self._sum_index(row, vector)
                    total = load(self.terms, index)
                    builder.store(
                        self.terms,
                        index,
                        self._multiply_add(splat(element, LANES), weight, total),
                    )

    def _term(self, at: Expr, lanes: int) -> Expr:
        """Elements of x as they are multiplied."""
        if self.is_half:
            return self.x.load_as_stored(at, lanes)
        value = self.x.load(at, lanes)
        return value if self.is_float else widened(value)

    def _multiply_add(self, a: Expr, b: Expr, total: Expr) -> Expr:
        """The device's fastest; integers of 8 bits are exact in 24."""
        name = "mad" if self.is_float else "mad24"
        return tirx.call_pure_extern(f"{self.term_dtype}x{LANES}", name, a, b, total)

    def _finish(self, y_at: Expr, z_at: Expr) -> None:
        builder, tile = self.builder, self.tile
        for vector in range(tile.vectors):
            multiplier = None
            if self.multiplier is not None:
                value = load_vector(self.multiplier, self.constant_at + vector * LANES, LANES)
                multiplier = builder.let("m", value, f"float32x{LANES}")
            for row in range(tile.rows):
                self._finish_one(row, vector, multiplier, y_at, z_at)

    def _finish_one(
        self, row: int, vector: int, multiplier: Expr | None, y_at: Expr, z_at: Expr
    ) -> None:
        builder = self.builder
        columns, shift = self.product.columns, vector * LANES
        in_last = columns % self.tile.columns  # columns of the last block, 0 for all
        is_certain = in_last == 0 or shift < in_last
        at = y_at + (row * builder.size(self.inner.output) + shift)
        is_column = None if is_certain else self.column + shift < columns
        is_row = None
        if row >= self.certain_rows:
            is_row = builder.size(self.inner.size) > row
        with builder.condition(is_row), builder.condition(is_column):
            residual = None
            if self.residual is not None:
                place = z_at + (row * builder.size(self.inner.residual) + shift)
                residual = load_vector(self.residual, place, LANES)
            total = load(self.sums, self._sum_index(row, vector))
            value = self.epilogue.apply(
                builder, flat_target(self.target), total, LANES, multiplier, residual
            )
            store_columns(builder, self.y, at, value, self.column + shift, columns)


def is_one_run(product: Product) -> bool:
    """Whether all rows are one dimension, and nothing of the output lies between them."""
    rows = collapse_rows(product.rows)
    whole = rows[0].size * rows[0].output == product.output_elements
    return len(rows) == 1 and whole and not has_dynamic((product.x_offset, rows[0].x))


def emit_product(task: ProductTask) -> DeviceProduct:
    """The kernel of a product."""
    depth = collapse_depth(task.product.depth)
    made = ProductKernel(task, depth, task.weight.dtype.name)
    made.emit()
    return made.finished(task.name, made.weights.pack(task.weight))
