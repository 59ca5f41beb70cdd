"""What kernels on tensor cores share: numbers of a thread, its sums, and those of other warps."""

import dataclasses
from collections.abc import Iterator, Sequence

from edgecomp.plan.sizes import Dimension
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, load
from edgecomp.schedules.cuda.tensor_tile import COLUMNS, WARP, Fragments
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


def packed(builder: GridBuilder, name: str, values: Sequence[Expr], element: str) -> Expr:
    """A vector of scalars, 2, 4 or 8 of them."""
    dtype = f"{element}x{len(values)}"
    return builder.let(name, tirx.call_pure_extern(dtype, "pack", *values), dtype)


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
                yield Run((group * COLUMNS + first) * self.vector, places)

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
