"""What kernels on tensor cores share: numbers of a thread, its sums, and those of other warps."""

import dataclasses
from collections.abc import Iterator, Sequence

from edgecomp.plan.sizes import Dimension
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, load, pointer_to
from edgecomp.schedules.cuda.tensor_tile import WARP, Fragments, Staging
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.columns import store_columns
from edgecomp.schedules.gpu.places import is_multiple


def own_number(builder: GridBuilder, parts: Sequence[tuple[int, int, int]]) -> Expr:
    """A number that depends on the thread, as ``Fragments`` has it."""
    lane, total = builder.item(0), None
    for shift, bits, factor in parts:
        part = tirx.truncdiv(lane, 1 << shift) if shift else lane
        if WARP >> shift > 1 << bits:
            part = tirx.truncmod(part, 1 << bits)
        part = part * factor if factor > 1 else part
        total = part if total is None else total + part
    return constant(0, "int32") if total is None else total


def own_rows(
    builder: GridBuilder, fragments: Fragments, begin: Expr, down: int
) -> tuple[list[Expr], list[Expr]]:
    """Numbers of the rows that a thread has sums of, and of those whose words it loads.

    Args:
        builder: of the kernel.
        fragments: of the instruction.
        begin: the warp's first row.
        down: fragments below each other.
    """
    first = builder.let("first", begin + own_number(builder, fragments.sum_row))
    of_sums = [
        builder.let("row", first + (number * fragments.rows + row))
        for number in range(down)
        for row in fragments.sum_rows
    ]
    if fragments.x_row == fragments.sum_row:
        return of_sums, of_sums
    first = builder.let("first", begin + own_number(builder, fragments.x_row))
    of_words = [
        first + (number * fragments.rows + row)
        for number in range(down)
        for row in fragments.x_rows
    ]
    return of_sums, of_words


def packed(builder: GridBuilder, name: str, values: Sequence[Expr], element: str) -> Expr:
    """A vector of scalars, 2, 4 or 8 of them."""
    dtype = f"{element}x{len(values)}"
    return builder.let(name, tirx.call_pure_extern(dtype, "pack", *values), dtype)


#: Words of 32 bits that a warp has to bring numbers to and from an instruction: of sums of 16 rows and 16
#: columns, or of four fragments of an operand; how many of those go through at once, the most first.
STAGED_WORDS, _STAGED = 256, (4, 2, 1)
#: Words of a fragment of an operand that a thread has.
_EACH = 2


class Stage:
    """Shared memory of a warp, through which numbers come to instructions, as ``Staging`` says."""

    def __init__(self, builder: GridBuilder, staging: Staging, own: Expr) -> None:
        self.builder, self.staging, self._own = builder, staging, own

    @staticmethod
    def of(
        builder: GridBuilder, warps: int, *stagings: Staging | None
    ) -> "list[Stage | None]":
        """One for each of several instructions in the same memory; None for those without a staging."""
        if not any(stagings):
            return [None] * len(stagings)
        buffer = builder.shared_array("staged", "int32", warps * STAGED_WORDS)
        own = pointer_to(buffer, builder.item(1) * STAGED_WORDS)
        return [Stage(builder, each, own) if each else None for each in stagings]

    def rows(self, fragments: Sequence[Sequence[Expr]]) -> list[Expr]:
        """Fragments of the first operand, from a thread's words of each."""
        return self._staged(self.staging.rows, fragments)

    def columns(self, fragments: Sequence[Sequence[Expr]]) -> list[Expr]:
        """Fragments of the second operand."""
        return self._staged(self.staging.columns, fragments)

    def _staged(self, function: str, fragments: Sequence[Sequence[Expr]]) -> list[Expr]:
        builder, found = self.builder, list[Expr]()
        while len(found) < len(fragments):
            left = fragments[len(found) :]
            some = left[: next(count for count in _STAGED if count <= len(left))]
            words = packed(builder, "words", [word for own in some for word in own], "int32")
            dtype = f"int32x{_EACH * len(some)}"
            made = tirx.call_pure_extern(dtype, function, self._own, words)
            made = builder.let("staged", made, dtype)
            for first in range(0, _EACH * len(some), _EACH):
                lanes = [tirx.Shuffle([made], [first + k]) for k in range(_EACH)]
                found.append(packed(builder, "fragment", lanes, "int32"))
        return found

    def exchanged(self, words: Sequence[Expr]) -> Expr:
        """A fragment of the first operand, from words of a thread's rows of sums."""
        return self._staged(self.staging.exchange, [words])[0]

    def weights(self, buffer: Buffer, at: Expr) -> Expr:
        """A fragment of weights, which lie in memory as the instruction reads them."""
        place = pointer_to(buffer, at)
        made = tirx.call_pure_extern(f"int32x{_EACH}", self.staging.weights, place)
        return self.builder.let("b", made, f"int32x{_EACH}")

    def sums(self, fragment: Expr, dtype: str) -> Expr:
        """Sums as ``Fragments`` has them."""
        made = tirx.call_pure_extern(dtype, self.staging.sums, self._own, fragment)
        return self.builder.let("own_sums", made, dtype)


def words_of_fragments(
    lines: Sequence[Sequence[Expr]], each: int, parts: int
) -> list[list[Expr]]:
    """A thread's words of each instruction's fragments, one fragment's after the other's.

    Args:
        lines: words of each line, two for each part.
        each: lines that a thread has in a fragment.
        parts: instructions of a step.
    """
    return [
        [line[2 * part + half] for half in range(2) for line in lines[first : first + each]]
        for first in range(0, len(lines), each)
        for part in range(parts)
    ]


def add_up_slices(
    builder: GridBuilder, sums: Buffer, dtype: str, tiles: int, slices: int
) -> None:
    """The first warp of those that share a tile adds the sums of the others to its own.

    Args:
        builder: of the kernel; a warp's number is its second item's.
        sums: of the thread.
        dtype: of each of them.
        tiles: their number.
        slices: warps.
    """
    lane, own = builder.item(0), builder.item(1)
    shared = builder.shared_array("shared", dtype, (slices - 1) * tiles * WARP)
    with builder.condition(own > 0):
        for index in range(tiles):
            at = (own - 1) * (tiles * WARP) + index * WARP + lane
            builder.store(shared, at, load(sums, tirx.const(index, "int32")))
    builder.barrier()
    with builder.condition(own < 1):
        for index in range(tiles):
            place = tirx.const(index, "int32")
            for other in range(slices - 1):
                at = lane + (other * tiles + index) * WARP
                both = load(sums, place) + load(shared, at)
                builder.store(sums, place, both)


@dataclasses.dataclass(frozen=True)
class Run:
    """Neighbouring columns of a thread in one row.

    Attributes:
        column: the first, from where the tile's columns and the thread's own begin.
        places: of their sums: number of the fragment among those side by side, and of the sum in
            it; of the thread's second row in a fragment that is 2 more.
    """

    column: int
    places: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Results:
    """Which columns a thread has of a tile, and how it stores them.

    Attributes:
        fragments: of the instruction.
        across: fragments side by side.
        vector: of those whose columns take turns, as ``Operand.vector`` says.
        columns: of the product.
    """

    fragments: Fragments
    across: int
    vector: int
    columns: Dimension

    @property
    def lanes(self) -> int:
        """Columns of a run."""
        return 2 * self.vector

    def own_column(self, builder: GridBuilder) -> Expr:
        """The thread's first column in the tile."""
        return own_number(builder, self.fragments.sum_column) * self.vector

    def runs(self) -> Iterator[Run]:
        """All runs of a row."""
        for group in range(self.across // self.vector):
            for pair, first in enumerate(self.fragments.sum_columns):
                places = tuple(
                    (group * self.vector + turn, 4 * pair + side)
                    for side in range(2)
                    for turn in range(self.vector)
                )
                yield Run((group * self.fragments.columns + first) * self.vector, places)

    def is_whole(self) -> bool:
        """Whether a run has all of its columns wherever it has one."""
        return is_multiple(self.columns, self.lanes)

    def store(
        self, builder: GridBuilder, y: Buffer, at: Expr, value: Expr, column: Expr
    ) -> None:
        """Store a run's results.

        Args:
            builder: of the kernel.
            y: that has them.
            at: place of the first one.
            value: all of them.
            column: of the first one, which is there.
        """
        store_columns(builder, y, at, value, column, self.columns)
