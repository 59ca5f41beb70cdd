"""Operands of tensor cores that are activations: what a thread loads of them in a step.

A word holds neighbours along K. How the elements lie decides how a thread gets its words:

* where K is contiguous and rows begin at words, up to 16 bytes are loaded at once;
* where columns are contiguous, as of b in [..., K, N], a thread loads vectors of two or four
  columns from each row of K that its words have, and exchanges their elements in registers
  (PRMT). The columns of a vector belong to fragments side by side, so that it has all that it
  loads, and its sums of a row lie side by side as well;
* elsewhere single elements are loaded and joined.

``ldmatrix.trans`` would exchange 16-bit elements alone, from shared memory that has to be filled
before: here 8, 16 and 32 bits are alike, there is no barrier, and devices of compute capability
7.2 have it too.
"""

import dataclasses
from collections.abc import Sequence

from edgecomp.plan.sizes import Dimension
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, pointer_to
from edgecomp.schedules.cpu.batch_operands import Matrix
from edgecomp.schedules.cuda.tensor_depth import DepthOrder
from edgecomp.schedules.cuda.tensor_tile import Instruction
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import is_multiple

#: Words of a row, and columns of a vector, the most first.
_WORDS = (4, 2, 1)
_VECTORS = (4, 2)
#: Lines that a thread loads at once.
MOST_LINES = _VECTORS[0]
_BYTE_BITS = 8
_ALL = -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the elements of an operand lie: lines are rows of a, or columns of b.

    Attributes:
        line, depth: elements between neighbouring lines, and between neighbours along K.
        lines: their number.
        apart: whatever else is between places that lines begin at: the first one, batches.
    """

    line: Dimension
    depth: Dimension
    lines: Dimension
    apart: tuple[Dimension, ...]

    @staticmethod
    def of_rows(a: Matrix, rows: Dimension) -> "Layout":
        """Of the first operand."""
        return Layout(
            line=a.rows, depth=a.columns, lines=rows, apart=(a.view.offset, *a.batch)
        )

    @staticmethod
    def of_columns(b: Matrix, columns: Dimension) -> "Layout":
        """Of the second operand."""
        return Layout(
            line=b.columns, depth=b.rows, lines=columns, apart=(b.view.offset, *b.batch)
        )

    def words(self, instruction: Instruction) -> int:
        """That a thread can load of a line at once; 0 where lines do not begin at words."""
        if self.depth != 1:
            return 0
        steps = (*self.apart, *(() if self.lines == 1 else (self.line,)))
        for words in _WORDS:
            if all(is_multiple(step, words * instruction.word) for step in steps):
                return words
        return 0

    def vector(self, instruction: Instruction) -> int:
        """Neighbouring lines that a thread can load of an element of K at once, else 1."""
        if self.line != 1:
            return 1
        for lines in _VECTORS:
            half = instruction.fragments.columns * (lines // 2)
            fits = not isinstance(self.lines, int) or self.lines > half
            if fits and all(is_multiple(step, lines) for step in (*self.apart, self.depth)):
                return lines
        return 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Room:
    """What there is of K in a step that may go beyond the end.

    Attributes:
        left: elements of the step that count.
        there: elements that can be read, at least one.
    """

    left: Expr
    there: Expr


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operand:
    """One operand in a kernel.

    Attributes:
        builder: receives the statements.
        buffer: that holds it.
        layout: of its elements.
        order: of K.
        vector: lines that are loaded at once; 0 where words are.
        own: first element of K that a thread has of each step.
        flip: bits of each word that are turned over.
        is_rounded: whether words are made tf32.
        has_whole_words: whether K ends with a word.
    """

    builder: GridBuilder
    buffer: Buffer
    layout: Layout
    order: DepthOrder
    vector: int
    own: Expr
    flip: int = 0
    is_rounded: bool = False
    has_whole_words: bool = False

    def starts(self, at: Expr, numbers: Sequence[Expr]) -> list[Expr]:
        """Places of lines at the thread's first element of K.

        Args:
            at: of the matrix.
            numbers: of lines, of each vector the first one; behind the last they may lie.
        """
        builder, layout = self.builder, self.layout
        by_line, by_depth = builder.size(layout.line), builder.size(layout.depth)
        step = max(1, self.vector)
        last: Expr = builder.size(layout.lines) - 1
        if isinstance(last, int):
            last = tirx.const(last // step * step, "int32")
        elif step > 1:  # where the last vector begins
            last = builder.let("last", tirx.truncdiv(last, step) * step)
        own = self.own * by_depth
        return [
            builder.let("line", at + tirx.Min(number, last) * by_line + own)
            for number in numbers
        ]

    def load(
        self, starts: Sequence[Expr], begin: Expr, room: Room | None = None
    ) -> list[list[Expr]]:
        """Words of every line, two for each part of a step.

        Args:
            starts: of ``starts``.
            begin: elements of K in front of the step.
            room: None where all of the step is there.
        """
        masks = self._masks(room)
        if not self.vector:
            builder = self.builder
            places = [builder.let("at", start + begin) for start in starts]
            lines = [words_at(builder, self.buffer, at, self.order) for at in places]
        else:
            lines = [line for start in starts for line in self._apart(start, begin, room)]
        return [
            [self._finished(x, mask) for x, mask in zip(line, masks, strict=True)]
            for line in lines
        ]

    def _apart(self, start: Expr, begin: Expr, room: Room | None) -> list[list[Expr]]:
        """Of a vector of lines whose elements along K lie apart."""
        builder, by_depth = self.builder, self.builder.size(self.layout.depth)
        place = builder.let("at", start + begin * by_depth)
        found: list[list[Expr]] = [[] for _ in range(self.vector)]
        for offset in self.order.offsets:
            places = []
            for element in range(offset, offset + self.order.instruction.word):
                moved: Expr = element
                if room is not None:  # no further than the last element of K
                    most = room.there - 1 - self.own
                    moved = builder.let("moved", tirx.Min(tirx.const(element, "int32"), most))
                places.append(pointer_to(self.buffer, place + moved * by_depth))
            if self.vector == 1:
                found[0].append(tirx.call_pure_extern("int32", "joined", *places))
                continue
            dtype = f"int32x{self.vector}"
            loaded = tirx.call_pure_extern(dtype, f"columns{self.vector}", *places)
            loaded = builder.let("loaded", loaded, dtype)
            for line, words in enumerate(found):
                words.append(tirx.Shuffle([loaded], [line]))
        return found

    def _masks(self, room: Room | None) -> list[Expr | None]:
        """Bits of each word that stand for elements in front of the end of K."""
        if room is None:
            return [None] * len(self.order.offsets)
        word = self.order.instruction.word
        masks = []
        for offset in self.order.offsets:
            left = self.builder.let("left", room.left - self.own - offset)
            mask: Expr = constant(0, "int32")
            for count in (word,) if self.has_whole_words else range(1, word + 1):
                bits = (1 << (count * 32 // word)) - 1 if count < word else _ALL
                mask = tirx.Select(left > count - 1, constant(bits, "int32"), mask)
            masks.append(self.builder.let("mask", mask))
        return masks

    def _finished(self, word: Expr, mask: Expr | None) -> Expr:
        if self.flip:
            word = word ^ constant(self.flip, "int32")
        if self.is_rounded:
            word = tirx.call_pure_extern("int32", "rounded_tf32", word)
        if mask is not None:
            word = word & mask
        return self.builder.let("word", word)


def words_at(builder: GridBuilder, buffer: Buffer, at: Expr, order: DepthOrder) -> list[Expr]:
    """A thread's words of a line in which K is contiguous, two for each part of a step.

    Args:
        builder: of the kernel.
        buffer: that has the line.
        at: place of the thread's first element.
        order: of K.
    """
    if order.words == 1:
        return [
            tirx.call_pure_extern("int32", "word", pointer_to(buffer, at + offset))
            for offset in order.offsets
        ]
    dtype, function = f"int32x{order.words}", f"words{order.words}"
    loaded = tirx.call_pure_extern(dtype, function, pointer_to(buffer, at))
    loaded = builder.let("x", loaded, dtype)
    return [tirx.Shuffle([loaded], [k]) for k in range(order.words)]
