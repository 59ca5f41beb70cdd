"""Where the rows of a register tile lie in x, output and residual."""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder
from edgecomp.schedules.cpu.product import Product, RowDimension
from edgecomp.schedules.cpu.tiles import Split, TileParams


@dataclasses.dataclass(frozen=True)
class TileAddresses:
    """Index of each row of one tile in each tensor.

    ``x_shifts`` and ``output_shifts`` are elements from the first row to each.
    """

    x: list[Expr]
    output: list[Expr]
    residual: list[Expr]
    x_shifts: list[int]
    output_shifts: list[int]


@dataclasses.dataclass(frozen=True)
class RowTiles:
    """All row tiles of a product.

    Attributes:
        product: addresses.
        dimensions: of the rows, collapsed.
        params: which of them is cut, and how.
    """

    product: Product
    dimensions: tuple[RowDimension, ...]
    params: TileParams

    @property
    def count(self) -> int:
        """Number of tiles."""
        outer: int = math.prod(d.size for d in self.dimensions[: self.params.axis])
        return outer * self.params.rows.count

    def place(self, builder: KernelBuilder, tile: Expr) -> tuple[Expr, Expr]:
        """(index over the dimensions outside the cut one, part of the cut dimension)."""
        if self.params.axis == 0:
            return 0, tile
        outer = builder.let("outer", tirx.truncdiv(tile, self.params.rows.count))
        return outer, builder.let("part", tile - outer * self.params.rows.count)

    def walk(
        self, builder: KernelBuilder, first: Expr, last: Expr
    ) -> Iterator[tuple[int, Expr, Expr, Expr]]:
        """Loops over tiles [first, last): a body for each size, without divisions or branches.

        Yields:
            (size, index outside the cut dimension, part, tile) of each body.
        """
        count = self.params.rows.count
        with contextlib.ExitStack() as loops:
            outer: Expr = 0
            low, high = first, last
            if self.params.axis:
                outer_end = tirx.truncdiv(last + (count - 1), count)
                start = tirx.truncdiv(first, count)
                outer = loops.enter_context(builder.loop("outer", start, outer_end))
                low = builder.let("low", tirx.max(first - outer * count, 0))
                high = builder.let("high", tirx.min(last - outer * count, count))
            begin = 0
            for size, parts in self.params.rows.classes():
                end = begin + parts
                low_part = tirx.max(low, begin) if begin else low
                high_part = tirx.min(high, end) if end < count else high
                with builder.loop("part", low_part, high_part) as part:
                    yield size, outer, part, outer * count + part
                begin = end

    def addresses(
        self, builder: KernelBuilder, group: Expr, outer: Expr, part: Expr, size: int
    ) -> TileAddresses:
        """Of the tile with ``size`` elements of the cut dimension.

        Only the first row's address is computed; the others are a constant away. It has 64
        bits, since LLVM would otherwise extend every sum with it in the inner loop.
        """
        product, axis = self.product, self.params.axis
        index = self._outer_index(builder, outer)
        index.append((self.start(part, size), self.dimensions[axis]))
        x = product.x_offset + group * product.x_group_stride
        output = product.output_offset + group * product.columns
        residual = product.residual_offset + group * product.columns
        sizes = [size, *(d.size for d in self.dimensions[axis + 1 :])]
        found = TileAddresses([], [], [], [], [])
        shifts = {"x": found.x_shifts, "output": found.output_shifts, "residual": []}
        bases = [("x", x, found.x), ("output", output, found.output)]
        if product.residual_elements:
            bases.append(("residual", residual, found.residual))
        for tensor, start, rows in bases:
            strides = [getattr(d, tensor) for d in self.dimensions[axis:]]
            total = start
            for position, dimension in index:
                total = total + position * getattr(dimension, tensor)
            first = builder.let(f"{tensor}_tile", total.astype("int64"), "int64")
            for place in itertools.product(*map(range, sizes)):
                shift = sum(i * s for i, s in zip(place, strides, strict=True))
                rows.append(first + shift)
                shifts[tensor].append(shift)
        return found

    def start(self, part: Expr, size: int) -> Expr:
        """First element of a part of the cut dimension."""
        return part_start(part, self.params.rows, size)

    def _outer_index(
        self, builder: KernelBuilder, number: Expr
    ) -> list[tuple[Expr, RowDimension]]:
        """Index along each dimension outside the cut one."""
        found: list[tuple[Expr, RowDimension]] = []
        outer = self.dimensions[: self.params.axis]
        for dimension in reversed(outer[1:]):
            quotient = builder.let("quotient", tirx.truncdiv(number, dimension.size))
            found.append((number - quotient * dimension.size, dimension))
            number = quotient
        if outer:
            found.append((number, outer[0]))
        return found


@dataclasses.dataclass(frozen=True)
class DynamicRowTiles(RowTiles):
    """Row tiles of one dimension whose size is known only when the model runs.

    All tiles have the larger size but the last one, which is the smallest of ``tail_sizes``
    that holds the rows that are left: it may go on behind the last row.
    """

    def start(self, part: Expr, size: int) -> Expr:
        """First row of a tile."""
        del size
        return part * self.params.rows.large

    @property
    def tail_sizes(self) -> list[int]:
        """Rows of the last tile, descending."""
        large = self.params.rows.large
        return [large, *(size for size in (12, 8, 6, 4, 2, 1) if size < large)]

    def walk_rows(
        self, builder: KernelBuilder, first: Expr, last: Expr, rows: Expr
    ) -> Iterator[tuple[int, Expr]]:
        """Loop over whole tiles of [first, last), then the body of each size of the last tile.

        Args:
            builder: receives the loops.
            first: tile of a work item.
            last: end of its tiles.
            rows: in all.

        Yields:
            (size, tile) of each body.
        """
        large = self.params.rows.large
        whole = builder.let("whole", tirx.truncdiv(rows, large))
        with builder.loop("tile", first, tirx.min(last, whole)) as tile:
            yield large, tile
        left = builder.let("left", rows - whole * large)
        sizes = self.tail_sizes
        with builder.condition(tirx.And(last > whole, first <= whole)):
            for size, less in itertools.zip_longest(sizes, sizes[1:], fillvalue=0):
                fits = left > less if size == large else left <= size
                with builder.condition(tirx.And(fits, left > less)):
                    yield size, whole


def part_condition(part: Expr, split: Split, size: int) -> Expr | None:
    """Whether a part has this one of the two sizes; None where all have it."""
    if split.large_count == split.count:
        return None
    is_large = part < split.large_count
    return is_large if size == split.large else tirx.Not(is_large)


def part_start(part: Expr, split: Split, size: int) -> Expr:
    """First element of a part, given which of the two sizes it has."""
    if size == split.large:
        return part * size
    return split.large_count * split.large + (part - split.large_count) * size


def even_step(shifts: list[int]) -> int | None:
    """The difference of neighbours, None where it is not always the same."""
    steps = {after - before for before, after in itertools.pairwise(shifts)}
    return steps.pop() if len(steps) == 1 else None if steps else 0
