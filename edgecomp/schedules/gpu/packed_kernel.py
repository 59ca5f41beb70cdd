"""The kernel of a product with packed weights on a GPU.

    for each unit of this work item's share of K, for each word of it:
        load the elements of x that belong to it, and the word of each column
        for each number of a word: make it a float, multiply and add for each row
    join the shares through local memory, add the bias, store

A number becomes a float without a conversion, which is slow on some devices: put into the lower
bits of a float32 that is a power of two, it counts steps above that power, which is then taken
off exactly. The power is chosen by the number's place in its word, so that most need no shift.
"""

from edgecomp.device.target import Target
from edgecomp.plan.finish import Activation
from edgecomp.plan.sizes import is_dynamic
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, load, reinterpret, splat
from edgecomp.schedules.cpu import functions
from edgecomp.schedules.gpu.builder import GridBuilder, parts_of
from edgecomp.schedules.gpu.columns import store_columns
from edgecomp.schedules.gpu.packed_tile import PackedTile, RowSpan
from edgecomp.schedules.gpu.places import LANES, gpu_of
from edgecomp.schedules.gpu.vectors import load_vector
from edgecomp.schedules.gpu.weights import declare_image

#: Bits of a float32's mantissa, the exponent of 1.0, and the bits of -1.0.
_MANTISSA_BITS, _BIAS, _MINUS_ONE = 23, 127, 0xBF800000
_SIGN_BIT = 31
_FLOATS, _INTS = f"float32x{LANES}", f"int32x{LANES}"


class PackedKernel:
    """One kernel in the making.

    Args:
        tile: how the product is cut.
        span: the rows.
        zero: the zero point where all are the same, else None.
        activation: behind the product.
        target: the device.
        stored: types that x and the output have in memory.
    """

    def __init__(
        self,
        tile: PackedTile,
        span: RowSpan,
        zero: int | None,
        activation: Activation | None,
        target: Target,
        stored: tuple[str, str] = ("float32", "float32"),
    ) -> None:
        self.tile, self.span = tile, span
        self.zero, self.activation = zero, activation
        self.gpu = gpu_of(target)
        across = -(-tile.column_blocks // tile.across) * span.runs
        down = parts_of(span.count, tile.tile_rows * tile.down)
        self.builder = GridBuilder((across, 1, down), (tile.across, tile.shares, tile.down))
        pointer, width = self.builder.pointer, tile.padded_columns
        self.x = pointer("x", stored[0], span.count * tile.depth)
        self.image = declare_image(self.builder, "int32", tile.word_shape, self.gpu)
        self.words: Buffer = None
        if self.image is None:
            self.words = pointer("words", "int32", tile.words * width)
        self.scales = pointer("scales", "float32", tile.blocks * width)
        self.zeros: Buffer = None
        if zero is None:
            self.zeros = pointer("zeros", "float32", tile.blocks * width)
        self.bias = pointer("bias", "float32", width)
        self.y = pointer("y", stored[1], span.count * tile.columns)

    def packed(self, numbers: Array) -> Array:
        """uint8 [K, N] as the kernel reads it."""
        words = self.tile.pack(numbers)
        if self.image is None:
            return words
        return self.image.pack(words.reshape(self.tile.words, -1).T)

    def emit(self) -> None:
        """All statements."""
        builder, tile = self.builder, self.tile
        block, line = builder.place(0), builder.place(2)
        # Work items behind the last one compute what that does: all have to come to barriers.
        last = tirx.const(tile.column_blocks - 1, "int32")
        inside = builder.let("inside", tirx.Min(block, last))
        self.column = builder.let("column", inside * (tile.vectors * LANES))
        #: A word's place is its number in an image, and else that of its first column's.
        self.word_step, self.first = tile.padded_columns, self.column
        if self.image is not None:
            self.word_step, self.first = 1, tirx.const(0, "int32")
        self.row = builder.let("row", self._first_row(line))
        self.totals = self._cleared("totals")
        self._units()
        if tile.shares > 1:
            self._join()
        own = builder.item(1) < 1 if tile.shares > 1 else None
        test = block < tile.column_blocks
        with builder.condition(test if own is None else tirx.And(test, own)):
            self._store()

    def _first_row(self, line: Expr) -> Expr:
        """Of a tile: the last one begins earlier instead of being shorter."""
        tile, count = self.tile, self.span.count
        row = line * tile.tile_rows
        if is_dynamic(count):
            is_one_each = tile.tile_rows == tile.down == 1
            last = self.builder.size(count) - tile.tile_rows
            return row if is_one_each else tirx.Min(row, last)
        last = tirx.const(count - tile.tile_rows, "int32")
        return row if count == tile.tile_rows else tirx.Min(row, last)

    def _cleared(self, name: str) -> Buffer:
        """An array of sums, a vector for each row and each four columns."""
        tile, builder = self.tile, self.builder
        sums = builder.array(name, _FLOATS, tile.tile_rows * tile.vectors)
        for index in range(tile.tile_rows * tile.vectors):
            builder.store(sums, tirx.const(index, "int32"), constant(0.0, "float32", LANES))
        return sums

    def _units(self) -> None:
        """This work item's units; what is left behind the last whole one is the next share's."""
        builder, tile = self.builder, self.tile
        rounds, shares = -(-tile.units // tile.shares), tile.shares
        share = builder.item(1)
        with builder.loop("i", 0, rounds) as i:
            unit = i if shares == 1 else builder.let("unit", i * shares + share)
            with builder.condition(None if tile.units % shares == 0 else unit < tile.units):
                self._unit(unit, tile.unit)
        rest = tile.depth % tile.unit
        if rest:
            with builder.condition(
                None if shares == 1 else tirx.EQ(share, tile.units % shares)
            ):
                self._unit(tirx.const(tile.units, "int32"), rest)

    def _unit(self, unit: Expr, size: int) -> None:
        """``size`` elements of K with one scale per column."""
        builder, tile = self.builder, self.tile
        block: Expr = tirx.const(0, "int32")
        if tile.blocks > 1:
            each = tile.block // tile.unit
            block = unit if each == 1 else builder.let("block", tirx.truncdiv(unit, each))
        at = builder.let("scale_at", block * tile.padded_columns + self.column)
        self.scale_vectors = self._of_columns("scale", self.scales, at)
        self.zero_vectors = (
            self._of_columns("zero", self.zeros, at) if self.zero is None else []
        )
        word_at = builder.let(
            "word_at", unit * (tile.unit_words * self.word_step) + self.first
        )
        x_at = builder.let("x_at", self.row * tile.depth + unit * tile.unit)
        self.sums = self._cleared("sums") if tile.few else self.totals
        whole, rest = divmod(size, tile.each)
        if whole:
            with builder.loop("word", 0, whole) as word:
                self._word(word_at + word * self.word_step, x_at + word * tile.each)
        if rest:
            self._word(word_at + whole * self.word_step, x_at + whole * tile.each, count=rest)
        if tile.few:
            for index in range(tile.tile_rows * tile.vectors):
                place = tirx.const(index, "int32")
                scale = self.scale_vectors[index % tile.vectors]
                value = self._mad(load(self.sums, place), scale, load(self.totals, place))
                builder.store(self.totals, place, value)

    def _of_columns(self, name: str, buffer: Buffer, at: Expr) -> list[Expr]:
        """A vector for each of the tile's four columns."""
        return [
            self.builder.let(name, load_vector(buffer, at + v * LANES, LANES), _FLOATS)
            for v in range(self.tile.vectors)
        ]

    def _word(self, word_at: Expr, x_at: Expr, count: int = 0) -> None:
        """The first ``count`` numbers, 0 for all, of one word of each column."""
        builder, tile = self.builder, self.tile
        count = count or tile.each
        at, x = builder.let("at", word_at), builder.let("x_word", x_at)
        if self.image is not None:
            row = self.image.walk(self.image.begin(0, self.column), at)
            loaded = [self.image.load(row, 0, v) for v in range(tile.vectors)]
        else:
            loaded = [
                load_vector(self.words, at + v * LANES, LANES) for v in range(tile.vectors)
            ]
        words = [builder.let("bits", value, _INTS) for value in loaded]
        done = 0
        while done < count:
            size = next(size for size in (LANES, 2, 1) if done + size <= count)
            dtype = "float32" if size == 1 else f"float32x{size}"
            rows = [
                builder.let(
                    "x", load_vector(self.x, x + (row * tile.depth + done), size), dtype
                )
                for row in range(tile.tile_rows)
            ]
            for place in range(size):
                xs = [tirx.Shuffle([row], [place]) if size > 1 else row for row in rows]
                self._number(words, done + place, xs)
            done += size

    def _number(self, words: list[Expr], position: int, xs: list[Expr]) -> None:
        """Multiply-adds of one number of each column."""
        builder, tile = self.builder, self.tile
        for vector, bits in enumerate(words):
            number = self._unpacked(bits, position, vector)
            if not tile.few:
                number = number * self.scale_vectors[vector]
            number = builder.let("number", number, _FLOATS)
            for row, x in enumerate(xs):
                place = tirx.const(row * tile.vectors + vector, "int32")
                total = self._mad(splat(x, LANES), number, load(self.sums, place))
                builder.store(self.sums, place, total)

    def _unpacked(self, bits: Expr, position: int, vector: int) -> Expr:
        """float32 of the numbers at a position of a vector of words, less the zero point."""
        width, shift = self.tile.bits, position * self.tile.bits
        if width == 1:
            if position < _SIGN_BIT:
                bits = bits << constant(_SIGN_BIT - position, "int32", LANES)
            sign = bits & _bits_of(1 << _SIGN_BIT)
            return reinterpret(_FLOATS, sign ^ _bits_of(_MINUS_ONE))
        fitting = (_MANTISSA_BITS - width) // width * width + width  # bits that need no shift
        if shift >= fitting:
            moved = shift // fitting * fitting
            unsigned = reinterpret(f"uint32x{LANES}", bits)
            bits = reinterpret(_INTS, unsigned >> constant(moved, "uint32", LANES))
            shift -= moved
        power = _MANTISSA_BITS - shift  # its last bit counts what the number's last bit does
        ones = ((1 << width) - 1) << shift
        placed = (bits & _bits_of(ones)) | _bits_of((_BIAS + power) << _MANTISSA_BITS)
        number = reinterpret(_FLOATS, placed)
        if self.zero is not None:
            return number - constant(float((1 << power) + self.zero), "float32", LANES)
        return (
            number - constant(float(1 << power), "float32", LANES) - self.zero_vectors[vector]
        )

    def _mad(self, a: Expr, b: Expr, total: Expr) -> Expr:
        return tirx.call_pure_extern(_FLOATS, "mad", a, b, total)

    def _join(self) -> None:
        """The sums of all shares to the first one."""
        builder, tile = self.builder, self.tile
        count = tile.tile_rows * tile.vectors
        items = tile.across * tile.shares
        shared = builder.shared_array("shared", _FLOATS, count * items)
        share = builder.item(1)
        own = builder.let("own", share * tile.across + builder.item(0))
        for index in range(count):
            value = load(self.totals, tirx.const(index, "int32"))
            builder.store(shared, own + index * items, value)
        builder.barrier()
        with builder.condition(share < 1):
            for index in range(count):
                place = tirx.const(index, "int32")
                with builder.loop("other", 1, tile.shares) as other:
                    at = own + other * tile.across + index * items
                    builder.store(
                        self.totals, place, load(self.totals, place) + load(shared, at)
                    )

    def _store(self) -> None:
        builder, tile = self.builder, self.tile
        first = builder.let("y_at", self.row * tile.columns + self.column)
        for vector in range(tile.vectors):
            shift = vector * LANES
            in_last = tile.columns % (tile.vectors * LANES)
            is_certain = in_last == 0 or shift < in_last
            with builder.condition(None if is_certain else self.column + shift < tile.columns):
                bias = builder.let(
                    "start", load_vector(self.bias, self.column + shift, LANES), _FLOATS
                )
                for row in range(tile.tile_rows):
                    place = tirx.const(row * tile.vectors + vector, "int32")
                    value = load(self.totals, place) + bias
                    if self.activation is not None:
                        value = functions.apply(builder, self.activation, value)
                    at = first + (row * tile.columns + shift)
                    store_columns(
                        builder, self.y, at, value, self.column + shift, tile.columns
                    )


def _bits_of(bits: int) -> Expr:
    """An int32 of these bits, in every lane."""
    return constant(bits - (1 << 32) if bits >> _SIGN_BIT else bits, "int32", LANES)
