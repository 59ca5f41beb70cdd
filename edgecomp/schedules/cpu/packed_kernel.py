"""The kernel of a product with packed weights: loops over tiles, blocks, words and numbers."""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.plan.finish import Activation
from edgecomp.plan.products import PackedMatrixMultiply
from edgecomp.plan.row_bytes import FEW_ROWS, block_words
from edgecomp.plan.sizes import Dimension
from edgecomp.plan.values import Array
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    Kernel,
    KernelBuilder,
    constant,
    load,
    ramp,
    splat,
)
from edgecomp.schedules.cpu import functions
from edgecomp.schedules.cpu.epilogue import store_columns
from edgecomp.schedules.cpu.packed_numbers import Unpacker
from edgecomp.schedules.cpu.vectors import named

#: Vectors of columns side by side: few rows, many rows.
_VECTORS_FEW, _VECTORS_MANY = 4, 2
#: Rows of a tile with many rows, by vector registers of the target.
_ROWS_MANY = {32: 8, 16: 4}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackedShape:
    """Extents of a product and how it is cut.

    Attributes:
        rows, depth, columns: of the product.
        bits: of a number. block: elements of K that share a scale.
        lanes: of a vector. vectors: of a tile's columns.
        zero: the zero point where all are the same, else None.
        takes_zero: whether the unpacked numbers have the zero point taken off already.
        tile_rows: rows of a tile.
        few: whether sums of blocks are scaled, rather than weights, as for few rows.
        as_bytes: whether numbers are multiplied as bytes (packed_bytes.py).
        offset: what is taken off numbers that are stored as signed bytes.
    """

    rows: int
    depth: int
    columns: int
    bits: int
    block: int
    lanes: int
    vectors: int
    zero: int | None
    takes_zero: bool
    tile_rows: int
    few: bool
    as_bytes: bool = False
    offset: int = 0

    @staticmethod
    def of(
        kind: PackedMatrixMultiply,
        rows: int,
        depth: int,
        columns: int,
        zeros: Array,
        target: Target,
        *,
        dynamic: bool = False,
        as_bytes: bool = False,
    ) -> "PackedShape":
        """The shape for a target; ``rows`` are the most where they are dynamic.

        ``as_bytes`` says whether few rows are multiplied as bytes.
        """
        lanes = target.lanes(32)
        few = rows <= FEW_ROWS and not dynamic
        registers = 32 if lanes == 16 or target.core.isa == "aarch64" else 16
        zero = int(zeros.flat[0]) if (zeros == zeros.flat[0]).all() else None
        wanted = _VECTORS_FEW if few else _VECTORS_MANY
        as_bytes = as_bytes and few
        if few and rows > 1 and (registers == 16 or as_bytes):
            wanted = 2
        if as_bytes and registers == 16:
            wanted = 2 if rows == 1 else 1
        return PackedShape(
            rows=rows,
            depth=depth,
            columns=columns,
            bits=kind.bits,
            block=min(kind.block, depth),
            lanes=lanes,
            vectors=max(1, min(wanted, -(-columns // lanes))),
            zero=zero,
            takes_zero=kind.bits == 1
            or (zero is not None and Unpacker.has_table(target, kind.bits)),
            tile_rows=rows if few else min(rows, _ROWS_MANY[registers]),
            few=few,
            as_bytes=as_bytes,
            offset=128 if as_bytes and kind.bits == 8 and target.core.isa == "aarch64" else 0,
        )

    @property
    def needs_sums(self) -> bool:
        """Whether zero points are taken off sums of x."""
        return self.few and not self.takes_zero and not self.as_bytes

    @property
    def block_scratch(self) -> int:
        """Words that a kernel in front leaves of a block of a row."""
        return block_words(self.block) if self.as_bytes else 1

    def bit_of(self, position: int) -> int:
        """The lowest bit of a number of a word."""
        if self.as_bytes:
            return 8 * (position % 4) + position // 4 * self.bits
        return position * self.bits

    @property
    def each(self) -> int:
        """Numbers of a word."""
        return 32 // self.bits

    @property
    def block_words(self) -> int:
        """Words of a block, the last of which may have room left."""
        return -(-self.block // self.each)

    @property
    def words(self) -> int:
        """Words of K."""
        whole, rest = divmod(self.depth, self.block)
        return whole * self.block_words + -(-rest // self.each)

    @property
    def blocks(self) -> int:
        """Blocks of K."""
        return -(-self.depth // self.block)

    @property
    def width(self) -> int:
        """Columns of a tile."""
        return self.vectors * self.lanes

    @property
    def tiles(self) -> int:
        """Tiles of columns."""
        return -(-self.columns // self.width)


@dataclasses.dataclass(frozen=True)
class _Pointers:
    x: Buffer
    words: Buffer
    scales: Buffer
    zeros: Buffer | None
    bias: Buffer
    sums: Buffer | None
    output: Buffer


class PackedKernel:
    """Emits one kernel; a work item is a tile of columns and all rows.

    Args:
        shape: of the product.
        target: the device.
        activation: behind it.
        row_count: rows where they differ from run to run, at most those of the shape.
    """

    def __init__(
        self,
        shape: PackedShape,
        target: Target,
        activation: Activation | None,
        row_count: Dimension | None = None,
    ) -> None:
        self.shape, self.target, self.activation = shape, target, activation
        self.row_count = row_count
        self.builder = KernelBuilder(target.core.isa)

    def emit(self) -> tuple[Kernel, int]:
        """The kernel and its work items."""
        shape, builder = self.shape, self.builder
        self.pointers = self._declare()
        self._prepare()
        with builder.loop("item", builder.lo, builder.hi) as tile:
            if self.row_count is None:
                self._static_rows(tile)
            else:
                self._dynamic_rows(tile, self.row_count)
        name = f"packed_{shape.bits}bit_{shape.tile_rows}x{shape.width}"
        name += "_bytes" if shape.as_bytes else ""
        return builder.finish(name), shape.tiles

    def _prepare(self) -> None:
        """What is needed by all tiles."""
        shape = self.shape
        taken = shape.zero if shape.takes_zero and shape.zero is not None else 0
        self.unpacker = Unpacker(self.builder, self.target, shape.bits, taken, shape.lanes)

    def _static_rows(self, tile: Expr) -> None:
        shape, builder = self.shape, self.builder
        whole, rest = divmod(shape.rows, shape.tile_rows)
        if whole == 1:
            self._tile(tile, 0, shape.tile_rows)
        else:
            with builder.loop("group", 0, whole) as group:
                self._tile(tile, group * shape.tile_rows, shape.tile_rows)
        if rest:
            self._tile(tile, whole * shape.tile_rows, rest)

    def _dynamic_rows(self, tile: Expr, row_count: Dimension) -> None:
        """Whole tiles of rows, then row after row."""
        shape, builder = self.shape, self.builder
        rows = builder.size(row_count)
        whole = builder.let("whole", rows // shape.tile_rows)
        with builder.loop("group", 0, whole) as group:
            self._tile(tile, group * shape.tile_rows, shape.tile_rows)
        if shape.tile_rows > 1:
            with builder.loop("row", whole * shape.tile_rows, rows) as row:
                self._tile(tile, row, 1)

    def _declare(self) -> _Pointers:
        shape, builder = self.shape, self.builder
        width = shape.tiles * shape.width
        x = builder.pointer("x", "float32", shape.rows * shape.depth)
        words = builder.pointer("words", "int32", shape.words * width)
        scales = builder.pointer("scales", "float32", shape.blocks * width)
        zeros = None
        if shape.zero is None:
            zeros = builder.pointer("zeros", "uint8", shape.blocks * width)
        bias = builder.pointer("bias", "float32", width)
        sums = None
        if shape.needs_sums or shape.as_bytes:
            words_in_front = shape.rows * shape.blocks * shape.block_scratch
            sums = builder.pointer("sums", "float32", words_in_front)
        output = builder.pointer("output", "float32", shape.rows * shape.columns)
        return _Pointers(x, words, scales, zeros, bias, sums, output)

    def _tile(self, tile: Expr, row: Expr, count: int) -> None:
        """``count`` rows from ``row`` on, of one tile of columns."""
        shape, builder = self.shape, self.builder
        lanes = shape.lanes
        totals = [
            [builder.array("total", "float32", lanes) for _ in range(shape.vectors)]
            for _ in range(count)
        ]
        for vector in range(shape.vectors):
            start = load(self.pointers.bias, tile * shape.width + vector * lanes, lanes)
            for each in totals:
                builder.store(each[vector], ramp(0, lanes), start)
        whole, rest = divmod(shape.depth, shape.block)
        if whole == 1:
            self._block(tile, row, totals, 0, shape.block)
        elif whole:
            with builder.loop("block", 0, whole) as block:
                self._block(tile, row, totals, block, shape.block)
        if rest:
            self._block(tile, row, totals, whole, rest)
        self._store(tile, row, totals)

    def _block(
        self, tile: Expr, row: Expr, totals: list[list[Buffer]], block: Expr, size: int
    ) -> None:
        """``size`` elements of K with one scale per column."""
        shape, builder = self.shape, self.builder
        lanes = shape.lanes
        at = builder.let("scale_at", (tile * shape.blocks + block) * shape.width)
        scales = [
            named(builder, "scale", load(self.pointers.scales, at + v * lanes, lanes))
            for v in range(shape.vectors)
        ]
        offsets = [self._offset(at, v, scales[v]) for v in range(shape.vectors)]
        first_word = builder.let(
            "first_word",
            (tile * shape.words + block * shape.block_words) * shape.width,
        )
        x_at = builder.let("x_at", row * shape.depth + block * shape.block)
        if not shape.few:
            self._words(totals, first_word, x_at, size, scales, offsets)
            return
        sums = [[builder.array("sum", "float32", lanes) for _ in each] for each in totals]
        for each in sums:
            for one in each:
                builder.store(one, ramp(0, lanes), constant(0.0, "float32", lanes))
        self._words(sums, first_word, x_at, size, None, [])
        for index, (total, part) in enumerate(zip(totals, sums, strict=True)):
            for vector in range(shape.vectors):
                value = (
                    load(total[vector], 0, lanes)
                    + load(part[vector], 0, lanes) * scales[vector]
                )
                if self.pointers.sums is not None:
                    whole = load(self.pointers.sums, (row + index) * shape.blocks + block)
                    value = value + splat(whole, lanes) * offsets[vector]
                builder.store(total[vector], ramp(0, lanes), value)

    def _offset(self, at: Expr, vector: int, scale: Expr) -> Expr | None:
        """``-scale * zero`` of one vector of columns, None where it is taken off already."""
        shape, builder, lanes = self.shape, self.builder, self.shape.lanes
        if shape.takes_zero:
            return None
        if self.pointers.zeros is None:
            return named(
                builder, "offset", scale * constant(-float(shape.zero or 0), "float32", lanes)
            )
        stored = load(self.pointers.zeros, at + vector * lanes, lanes)
        real = stored.astype(_typed("int32", lanes)).astype(_typed("float32", lanes))
        return named(builder, "offset", -(scale * real))

    def _words(
        self,
        sums: list[list[Buffer]],
        first_word: Expr,
        x_at: Expr,
        size: int,
        scales: list[Expr] | None,
        offsets: list[Expr | None],
    ) -> None:
        """Multiply-adds of ``size`` elements of K, word after word."""
        shape, builder = self.shape, self.builder
        whole, rest = divmod(size, shape.each)
        if whole:
            with builder.loop("word", 0, whole) as word:
                at = builder.let("word_at", first_word + word * shape.width)
                x = builder.let("x_word", x_at + word * shape.each)
                self._word(sums, at, x, shape.each, scales, offsets)
        if rest:
            at = builder.let("word_at", first_word + whole * shape.width)
            x = builder.let("x_word", x_at + whole * shape.each)
            self._word(sums, at, x, rest, scales, offsets)

    def _word(
        self,
        sums: list[list[Buffer]],
        at: Expr,
        x: Expr,
        count: int,
        scales: list[Expr] | None,
        offsets: list[Expr | None],
    ) -> None:
        """The first ``count`` numbers of one word per column."""
        shape, builder, lanes = self.shape, self.builder, self.shape.lanes
        words = [
            named(builder, "word_bits", load(self.pointers.words, at + v * lanes, lanes))
            for v in range(shape.vectors)
        ]
        for position in range(count):
            xs = [
                splat(load(self.pointers.x, x + row * shape.depth + position), lanes)
                for row in range(len(sums))
            ]
            for vector in range(shape.vectors):
                number = self.unpacker.number(words[vector], position)
                if scales is not None:
                    offset = offsets[vector]
                    number = number * scales[vector]
                    number = number if offset is None else number + offset
                number = named(builder, "number", number)
                for row, each in enumerate(sums):
                    total = load(each[vector], 0, lanes) + number * xs[row]
                    builder.store(each[vector], ramp(0, lanes), total)

    def _store(self, tile: Expr, row: Expr, totals: list[list[Buffer]]) -> None:
        """Activation and stores; only the last tile may be narrower."""
        shape, builder, lanes = self.shape, self.builder, self.shape.lanes
        rest = shape.columns - (shape.tiles - 1) * shape.width
        for index, each in enumerate(totals):
            for vector in range(shape.vectors):
                value = load(each[vector], 0, lanes)
                if self.activation is not None:
                    value = functions.apply(builder, self.activation, value)
                value = named(builder, "result", value)
                at = (row + index) * shape.columns + tile * shape.width + vector * lanes
                kept = max(0, min(lanes, rest - vector * lanes))
                if kept == lanes:
                    store_columns(builder, self.pointers.output, at, value, lanes, lanes)
                    continue
                with builder.condition(tile < shape.tiles - 1 if shape.tiles > 1 else None):
                    if shape.tiles > 1:
                        store_columns(builder, self.pointers.output, at, value, lanes, lanes)
                if kept and shape.tiles > 1:
                    with builder.condition(tile == shape.tiles - 1):
                        store_columns(builder, self.pointers.output, at, value, lanes, kept)
                elif kept:
                    store_columns(builder, self.pointers.output, at, value, lanes, kept)


def _typed(dtype: str, lanes: int) -> str:
    return dtype if lanes == 1 else f"{dtype}x{lanes}"
