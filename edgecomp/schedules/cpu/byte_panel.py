"""A column block of an 8-bit b as dot products read it: [K / 4][columns][4], signed, zeros behind K.

b is taken for symmetric: stored as int8 it is taken as it is, of uint8 one bit is turned. Sizes and strides may
be dynamic.
"""

import dataclasses
from collections.abc import Callable

from edgecomp.plan.sizes import Dimension, is_dynamic
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    KernelBuilder,
    constant,
    load,
    ramp,
    reinterpret,
    splat,
)
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.batch_operands import Matrix
from edgecomp.schedules.cpu.transpose import interleave, transpose_tiles
from edgecomp.schedules.cpu.vectors import named

#: Elements of K that lie side by side.
GROUP = 4
#: Words of four elements that one round transposes, in each of as many columns.
_TRANSPOSED = 4
_SIGN_BITS = 0x80808080


@dataclasses.dataclass(frozen=True, kw_only=True)
class BytePanel:
    """What fills it.

    Attributes:
        builder: receives the statements.
        source: buffer of b.
        dtype: of b: uint8 or int8.
        panel: buffer that is filled.
        matrix: where b's elements lie; rows or columns are contiguous.
        depth: elements of K.
        columns: of b.
        vectors: of columns in the block.
        arithmetic: that reads the panel.
    """

    builder: KernelBuilder
    source: Buffer
    dtype: str
    panel: Buffer
    matrix: Matrix
    depth: Dimension
    columns: Dimension
    vectors: int
    arithmetic: Arithmetic

    def fill(self, place: Expr, column: Expr) -> None:
        """Copy the block that begins at ``column`` of the batch whose b begins at ``place``."""
        if self.matrix.columns == 1:
            self._interleave(place + column)
        else:
            self._transpose(place, column)

    def _interleave(self, place: Expr) -> None:
        """Of rows: four of them at a time, element by element."""
        builder, lanes = self.builder, self.arithmetic.lanes
        stride = builder.size(self.matrix.rows)
        zero = constant(128 if self.dtype == "uint8" else 0, self.dtype, lanes)

        def groups(number: Expr, rows: int) -> None:
            for vector in range(self.vectors):
                at = place + number * (GROUP * stride) + vector * lanes
                parts = [load(self.source, at + row * stride, lanes) for row in range(rows)]
                parts += [zero] * (GROUP - rows)
                self._put(number, vector, self._signed(self._joined(parts)))

        if is_dynamic(self.depth):
            depth = builder.size(self.depth)
            whole = builder.let("whole", tirx.truncdiv(depth, GROUP))
            with builder.loop("group", 0, whole) as number:
                groups(number.astype("int64"), GROUP)
            self._rest(whole, lambda mask: self._rest_of_rows(place, whole, mask))
            return
        whole, rest = divmod(self.depth, GROUP)
        if whole:
            with builder.loop("group", 0, whole) as number:
                groups(number.astype("int64"), GROUP)
        if rest:
            groups(whole, rest)

    def _rest_of_rows(self, place: Expr, group: Expr, mask: Expr) -> None:
        """The last group of rows; those beyond K repeat the last one."""
        builder, lanes = self.builder, self.arithmetic.lanes
        stride, last = builder.size(self.matrix.rows), builder.size(self.depth) - 1
        rows = [
            builder.let("row", place + tirx.min(group * GROUP + row, last) * stride, "int64")
            for row in range(GROUP)
        ]
        for vector in range(self.vectors):
            parts = [load(self.source, row + vector * lanes, lanes) for row in rows]
            self._put(group, vector, self._signed(self._joined(parts)) & splat(mask, lanes))

    def _rest(self, whole: Expr, emit: Callable[[Expr], None]) -> None:
        """What fills the group behind ``whole`` ones, where K has one: given a mask of its elements."""
        builder = self.builder
        rest = builder.let("rest", builder.size(self.depth) - whole * GROUP)
        with builder.condition(rest > 0):
            emit(builder.let("mask", (tirx.const(1, "int32") << (rest * 8)) - 1))

    def _joined(self, parts: list[Expr]) -> Expr:
        """Words of four elements, one of each of four vectors."""
        lanes = self.arithmetic.lanes
        return reinterpret(f"int32x{lanes}", interleave(parts, lanes))

    def _transpose(self, place: Expr, column: Expr) -> None:
        """Of columns: words of four elements, transposed in registers."""
        builder, lanes = self.builder, self.arithmetic.lanes
        stride, last = builder.size(self.matrix.columns), builder.size(self.columns) - 1
        for vector in range(self.vectors):
            # Lanes beyond the last column repeat it.
            firsts = [
                builder.let(
                    "source",
                    place + tirx.min(column + (vector * lanes + lane), last) * stride,
                    "int64",
                )
                for lane in range(lanes)
            ]
            self._transpose_vector(firsts, vector)

    def _transpose_vector(self, firsts: list[Expr], vector: int) -> None:
        """A vector of columns, given by their first elements."""
        builder = self.builder
        if is_dynamic(self.depth):
            depth = builder.size(self.depth)
            whole = builder.let("whole", tirx.truncdiv(depth, GROUP))
            rounds = builder.let("rounds", tirx.truncdiv(whole, _TRANSPOSED))
            with builder.loop("round", 0, rounds) as number:
                self._round(firsts, number.astype("int64"), vector)
            with builder.loop("group", rounds * _TRANSPOSED, whole) as number:
                self._words(firsts, number, vector)
            self._rest(whole, lambda mask: self._words(firsts, whole, vector, mask))
            return
        whole, rest = divmod(self.depth, GROUP)
        rounds = whole // _TRANSPOSED
        if rounds:
            with builder.loop("round", 0, rounds) as number:
                self._round(firsts, number.astype("int64"), vector)
        for group in range(rounds * _TRANSPOSED, whole):
            self._words(firsts, group, vector)
        if rest:
            mask = tirx.const((1 << 8 * rest) - 1, "int32")
            self._words(firsts, whole, vector, mask)

    def _round(self, firsts: list[Expr], number: Expr, vector: int) -> None:
        """Four words of each column."""
        builder, lanes, size = self.builder, self.arithmetic.lanes, _TRANSPOSED
        tiles, span = lanes // size, size * GROUP
        rows = []
        for r in range(size):
            parts = [
                reinterpret(
                    f"int32x{size}",
                    load(self.source, firsts[t * size + r] + number * span, span),
                )
                for t in range(tiles)
            ]
            joined = parts[0] if tiles == 1 else tirx.Shuffle(parts, list(range(lanes)))
            rows.append(named(builder, "row", joined))
        for c, words in enumerate(transpose_tiles(builder, rows, tiles)):
            self._put(number * size + c, vector, self._signed(words))

    def _words(
        self, firsts: list[Expr], group: Expr, vector: int, mask: Expr | None = None
    ) -> None:
        """One word of each column, of which the elements in ``mask`` count."""
        lanes = self.arithmetic.lanes
        words = self.builder.array("words", "int32", lanes)
        for lane, first in enumerate(firsts):
            quad = load(self.source, first + group * GROUP, GROUP)
            self.builder.store(words, lane, reinterpret("int32", quad))
        value = self._signed(load(words, 0, lanes))
        if mask is not None:
            value = value & splat(mask, lanes)
        self._put(group, vector, value)

    def _signed(self, quads: Expr) -> Expr:
        """Words of four elements as signed numbers around b's zero."""
        if self.dtype == "int8":
            return quads
        turned = tirx.const(_SIGN_BITS - (1 << 32), "int32")
        return quads ^ splat(turned, self.arithmetic.lanes)

    def _put(self, number: Expr, vector: int, quads: Expr) -> None:
        """Store a vector of columns of one group of four."""
        builder, arithmetic = self.builder, self.arithmetic
        quads = named(builder, "quads", quads)
        parts = arithmetic.quad_parts(quads)
        size = arithmetic.lanes * arithmetic.group
        for part, value in enumerate(parts):
            group = number * len(parts) + part
            at = group * (self.vectors * size) + vector * size
            builder.store(self.panel, ramp(at, size), value)
