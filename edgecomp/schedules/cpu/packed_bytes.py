"""Few rows by weights of 2, 4 or 8 bits, multiplied as bytes where cores add four at once.

A row of x is written, block by block of K, as integers of 23 bits times a power of two, and these as
three signed bytes:

    x = 2^e (b0 + 256 b1 + 65536 b2)

so that ``vpdpbusd`` or ``sdot`` multiplies four numbers of a column as they come out of their word,
three times, where float32 takes an instruction that converts and one that multiplies for each. Sums of a
block are exact in int32. What an element of x loses is at most 2^-22 of the largest one of its block.
Where an infinity or a NaN is in a block, all results of its row are NaN, behind an activation too.
"""

from collections.abc import Callable

from edgecomp.device.target import Target
from edgecomp.plan.finish import Activation
from edgecomp.plan.row_bytes import PLANES, plane_words
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    Kernel,
    KernelBuilder,
    constant,
    intrinsic,
    load,
    ramp,
    splat,
)
from edgecomp.schedules.cpu.math import bits_of
from edgecomp.schedules.cpu.packed_kernel import PackedKernel, PackedShape
from edgecomp.schedules.cpu.rounding import rounded
from edgecomp.schedules.cpu.rows import fold_lanes
from edgecomp.schedules.cpu.vectors import named, pinned, typed
from edgecomp.schedules.tirx import reinterpret

#: Exponents of float32 whose powers, there and back, are normal numbers.
_LEAST_EXPONENT, _MOST_EXPONENT = 22, 254
#: Magnitude of an integer: below 2^22, as rounding needs it, and as three signed bytes hold it.
_EXPONENT_THERE, _EXPONENT_BACK = 275, 21
_INFINITY, _NOT_A_NUMBER = 0x7F800000, 0x7FC00000
#: Quads of x in a register of ARM.
_RUN_QUADS = 4
#: Of a block: 255 * 128 for each, and as much again for a zero point, stay below 2^31.
_MOST_ELEMENTS = 1 << 15
_MANTISSA_BITS = 23
_AVX_BITS = 256


def can_multiply_bytes(target: Target, bits: int, block: int) -> bool:
    """Whether a target has the instruction, numbers lie in bytes, and int32 holds a block's sums."""
    has_one = target.has("avx512vnni") or target.has("dotprod")
    # That of avxvnni is for registers of 256 bits.
    has_one = has_one or (target.has("avxvnni") and target.core.vector_bits == _AVX_BITS)
    return has_one and bits in (2, 4, 8) and block <= _MOST_ELEMENTS


def emit_bytes(shape: PackedShape, target: Target) -> Kernel:
    """The bytes, their sums and the power of two of every block; a work item is a row."""
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", shape.rows * shape.depth)
    out = builder.pointer("sums", "float32", shape.rows * shape.blocks * shape.block_scratch)
    whole, rest = divmod(shape.depth, shape.block)
    with builder.loop("item", builder.lo, builder.hi) as item:
        for first, count, size in ((0, whole, shape.block), (whole, 1, rest)):
            if count and size:
                with builder.loop("block", first, first + count) as block:
                    start = builder.let("start", item * shape.depth + block * shape.block)
                    place = (item * shape.blocks + block) * shape.block_scratch
                    to = builder.let("to", place)
                    _Block(builder, shape, x, start, out, to, size).emit()
    return builder.finish("split_bytes")


class _Block:
    """``size`` elements from ``start`` on into the words from ``to`` on."""

    def __init__(
        self,
        builder: KernelBuilder,
        shape: PackedShape,
        x: Buffer,
        start: Expr,
        out: Buffer,
        to: Expr,
        size: int,
    ) -> None:
        self.builder, self.shape = builder, shape
        self.x, self.start, self.out, self.to = x, start, out, to
        self.vectors, self.rest = divmod(size, shape.lanes)

    def emit(self) -> None:
        """The largest element, then the integers."""
        builder, shape, lanes = self.builder, self.shape, self.shape.lanes
        tail = self._tail() if self.rest else None
        largest = builder.array("largest", "int32", lanes)
        builder.store(largest, ramp(0, lanes), constant(0, "int32", lanes))

        def compare(value: Expr) -> None:
            magnitude = bits_of(value) & constant(0x7FFFFFFF, "int32", lanes)
            builder.store(
                largest, ramp(0, lanes), tirx.max(load(largest, 0, lanes), magnitude)
            )

        with builder.loop("vector", 0, self.vectors) as vector:
            compare(load(self.x, self.start + vector * lanes, lanes))
        if tail is not None:
            compare(load(tail, 0, lanes))
        bits = pinned(builder, "bits", fold_lanes(builder, load(largest, 0, lanes), tirx.max))
        exponent = tirx.max(bits >> _MANTISSA_BITS, _LEAST_EXPONENT)
        exponent = pinned(builder, "exponent", tirx.min(exponent, _MOST_EXPONENT))
        there = (constant(_EXPONENT_THERE, "int32") - exponent) << _MANTISSA_BITS
        power = pinned(builder, "power", reinterpret("float32", there))
        sums = [builder.array("sum", "int32", lanes) for _ in range(PLANES)]
        for each in sums:
            builder.store(each, ramp(0, lanes), constant(0, "int32", lanes))
        with builder.loop("vector", 0, self.vectors) as vector:
            value = load(self.x, self.start + vector * lanes, lanes)
            self._split(value * splat(power, lanes), vector * (lanes // 4), sums)
        if tail is not None:
            value = load(tail, 0, lanes) * splat(power, lanes)
            self._split(value, constant(self.vectors * (lanes // 4), "int32"), sums)
        behind = self.to + PLANES * plane_words(shape.block)
        for plane, each in enumerate(sums):
            total = fold_lanes(builder, load(each, 0, lanes), lambda a, b: a + b)
            builder.store(self.out, behind + plane, reinterpret("float32", total))
        back = (exponent - constant(_EXPONENT_BACK, "int32")) << _MANTISSA_BITS
        # An infinity would have any sign: an activation would make 0 of one, as of a number.
        is_finite = bits < constant(_INFINITY, "int32")
        back = tirx.Select(is_finite, back, constant(_NOT_A_NUMBER, "int32"))
        builder.store(self.out, behind + PLANES, reinterpret("float32", back))

    def _tail(self) -> Buffer:
        """The last elements, and zeros behind them."""
        builder, lanes = self.builder, self.shape.lanes
        tail = builder.array("tail", "float32", lanes)
        builder.store(tail, ramp(0, lanes), constant(0.0, "float32", lanes))
        for index in range(self.rest):
            at = self.start + self.vectors * lanes + index
            builder.store(tail, index, load(self.x, at))
        return tail

    def _split(self, scaled: Expr, quad: Expr, sums: list[Buffer]) -> None:
        """A vector's bytes into the planes."""
        builder, shape, lanes = self.builder, self.shape, self.shape.lanes
        left = named(builder, "whole", rounded(scaled))
        for plane, total in enumerate(sums):
            low = left
            if plane < PLANES - 1:
                low = (left + constant(128, "int32", lanes)) & constant(255, "int32", lanes)
                low = named(builder, "low", low - constant(128, "int32", lanes))
                left = named(builder, "left", (left - low) >> constant(8, "int32", lanes))
            builder.store(total, ramp(0, lanes), load(total, 0, lanes) + low)
            words = reinterpret(
                typed("float32", lanes // 4), tirx.Cast(typed("int8", lanes), low)
            )
            at = self.to + plane * plane_words(shape.block) + quad
            builder.store(self.out, ramp(at, lanes // 4) if lanes > 4 else at, words)


class BytesKernel(PackedKernel):
    """The product; a work item is a tile of columns and all rows."""

    def __init__(
        self, shape: PackedShape, target: Target, activation: Activation | None
    ) -> None:
        super().__init__(shape, target, activation)
        self._by_element = target.core.isa == "aarch64"
        self._run, self._dot = 1, f"llvm.x86.avx512.vpdpbusd.{32 * shape.lanes}"
        if self._by_element:
            self._run = 4 * _RUN_QUADS // shape.each
            self._dot = "llvm.aarch64.neon.sdot.v4i32.v16i8"

    def _prepare(self) -> None:
        """Nothing is widened."""

    def _block(
        self, tile: Expr, row: Expr, totals: list[list[Buffer]], block: Expr, size: int
    ) -> None:
        shape, builder, lanes = self.shape, self.builder, self.shape.lanes
        scratch = self.pointers.sums
        assert scratch is not None
        at = builder.let("scale_at", (tile * shape.blocks + block) * shape.width)
        first_word = builder.let(
            "first_word", (tile * shape.words + block * shape.block_words) * shape.width
        )
        x_at = [
            builder.let("x_at", ((row + index) * shape.blocks + block) * shape.block_scratch)
            for index in range(len(totals))
        ]
        sums = [
            [
                [builder.array("sum", "int32", lanes) for _ in range(shape.vectors)]
                for _ in range(PLANES)
            ]
            for _ in totals
        ]
        for one in (one for planes in sums for plane in planes for one in plane):
            builder.store(one, ramp(0, lanes), constant(0, "int32", lanes))
        whole, rest = divmod(-(-size // shape.each), self._run)
        with builder.loop("run", 0, whole) as run:
            self._run_of_words(sums, first_word, x_at, run * self._run, self._run)
        if rest:
            behind = constant(whole * self._run, "int32")
            self._run_of_words(sums, first_word, x_at, behind, rest)
        for index, total in enumerate(totals):
            behind = x_at[index] + PLANES * plane_words(shape.block)
            factor = splat(load(scratch, behind + PLANES), lanes)
            for vector in range(shape.vectors):
                scale = load(self.pointers.scales, at + vector * lanes, lanes) * factor
                value = constant(0.0, "float32", lanes)
                for plane in reversed(range(PLANES)):
                    whole = load(sums[index][plane][vector], 0, lanes)
                    taken = self._zeros(at, vector, load(scratch, behind + plane))
                    whole = whole if taken is None else whole - taken
                    value = value * constant(256.0, "float32", lanes) + whole.astype(
                        typed("float32", lanes)
                    )
                value = load(total[vector], 0, lanes) + value * scale
                builder.store(total[vector], ramp(0, lanes), value)

    def _run_of_words(
        self,
        sums: list[list[list[Buffer]]],
        first_word: Expr,
        x_at: list[Expr],
        first: Expr,
        count: int,
    ) -> None:
        """The numbers of ``count`` words per column, four of K at a time."""
        shape, builder, lanes = self.shape, self.builder, self.shape.lanes
        quads = shape.each // 4
        x = [
            [
                self._x(at + plane * plane_words(shape.block) + first * quads)
                for plane in range(PLANES)
            ]
            for at in x_at
        ]
        for word in range(count):
            start = first_word + (first + word) * shape.width
            words = [
                named(
                    builder, "word_bits", load(self.pointers.words, start + v * lanes, lanes)
                )
                for v in range(shape.vectors)
            ]
            for quad in range(quads):
                numbers = [named(builder, "numbers", self._four(each, quad)) for each in words]
                for row, planes in enumerate(sums):
                    for plane, each in enumerate(planes):
                        four = x[row][plane](word * quads + quad)
                        self._add(each, numbers, four)

    def _x(self, place: Expr) -> Callable[[int], Expr]:
        """Quads of x in all lanes, by their index from a place on.

        ARM multiplies by an element of a register, x86 by a number in memory.
        """
        shape, builder, scratch = self.shape, self.builder, self.pointers.sums
        assert scratch is not None
        if not self._by_element:
            return lambda index: splat(
                reinterpret("int32", load(scratch, place + index)), shape.lanes
            )
        held = builder.array("x_quads", "int32", _RUN_QUADS)
        four = reinterpret(typed("int32", _RUN_QUADS), load(scratch, place, _RUN_QUADS))
        builder.store(held, ramp(0, _RUN_QUADS), four)
        return lambda index: splat(load(held, index), shape.lanes)

    def _add(self, totals: list[Buffer], numbers: list[Expr], four: Expr) -> None:
        """Products of one quad of x with those of all vectors of columns."""
        lanes = self.shape.lanes
        x = reinterpret(typed("int8", 4 * lanes), four)
        for total, each in zip(totals, numbers, strict=True):
            before = load(total, 0, lanes)
            found = intrinsic(typed("int32", lanes), self._dot, before, each, x)
            self.builder.store(total, ramp(0, lanes), found)

    def _four(self, words: Expr, quad: int) -> Expr:
        """Four numbers of a word, in its bytes."""
        shape, lanes = self.shape, self.shape.lanes
        found = words
        if shape.each > 4:
            # ARM shifts bytes, after which the uppermost number is alone.
            kind, count = ("uint8", 4 * lanes) if self._by_element else ("uint32", lanes)
            found = reinterpret(typed(kind, count), words)
            if quad:
                found = found >> constant(quad * shape.bits, kind, count)
            if quad < shape.each // 4 - 1 or not self._by_element:
                mask = (1 << shape.bits) - 1
                mask *= 1 if self._by_element else 0x01010101
                found = found & constant(mask, kind, count)
        return reinterpret(typed("int8", 4 * lanes), found)

    def _zeros(self, at: Expr, vector: int, total: Expr) -> Expr | None:
        """Zero points times a sum of bytes of x, None where they are 0."""
        shape, lanes = self.shape, self.shape.lanes
        whole = splat(reinterpret("int32", total), lanes)
        if self.pointers.zeros is None:
            zero = (shape.zero or 0) - shape.offset
            return whole * constant(zero, "int32", lanes) if zero else None
        stored = load(self.pointers.zeros, at + vector * lanes, lanes)
        zeros = stored.astype(typed("int32", lanes)) - constant(shape.offset, "int32", lanes)
        return zeros * whole
