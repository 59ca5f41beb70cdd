"""Row tiles of images whose size is known only when the model runs.

A tile lies within one row of one image. All tiles of a run have one width, chosen when the
kernel begins among a few that it has code for; the last tile of a row overlaps the one before, so
that no element beside the image is written.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

from edgecomp.plan.sizes import Dimension, smallest, values_of
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, load
from edgecomp.schedules.cpu.row_tiles import RowTiles, TileAddresses

#: What a tile costs beside its elements, in elements.
_TILE_COST = 2
#: Widths of tiles that a kernel has code for, at most.
_MOST_WIDTHS = 6
#: Part of the work that one more width has to save.
_WORTH = 0.01


@dataclasses.dataclass(frozen=True)
class Widths:
    """Widths of tiles, and which of them a run has.

    Attributes:
        builder: of the kernel.
        extent: of the row.
        sizes: descending; the last is not above any extent.
        chosen: one of them.
        count: tiles of a row.
    """

    builder: KernelBuilder
    extent: Expr
    sizes: tuple[int, ...]
    chosen: Expr
    count: Expr

    @classmethod
    def of(cls, builder: KernelBuilder, extent: Dimension, most: int) -> "Widths":
        """Choose the width that computes the fewest elements twice, counting what tiles cost.

        Args:
            builder: receives the choice.
            extent: of the row.
            most: elements of a tile.
        """
        least = max(1, smallest(extent))
        kept = widths_for(tuple(sorted(set(values_of(extent)))), most)
        if isinstance(extent, int) or len(kept) == 1:
            length, (best,) = builder.size(extent), kept
            count = tirx.truncdiv(length + (best - 1), best)
            if isinstance(extent, int):
                return cls(builder, extent, kept, best, -(-extent // best))
            return cls(builder, length, kept, best, builder.let("tiles", count))
        length = builder.size(extent)
        # In memory: TVM would put each choice into the next one, twice.
        best = builder.array("best", "int32", 2)
        builder.store(best, 0, tirx.const(kept[-1], "int32"))
        builder.store(best, 1, tirx.const(1 << 30, "int32"))
        for size in reversed(kept):
            tiles = tirx.truncdiv(length + (size - 1), size)
            cost = builder.let("cost", tiles * (size + _TILE_COST))
            better = cost <= load(best, 1)
            if size > least:
                better = tirx.And(better, length >= size)
            with builder.condition(better):
                builder.store(best, 0, tirx.const(size, "int32"))
                builder.store(best, 1, cost)
        chosen = builder.let("width", load(best, 0))
        count = builder.let("tiles", tirx.truncdiv(length + (chosen - 1), chosen))
        return cls(builder, length, kept, chosen, count)

    def each(self) -> Iterator[int]:
        """Every width, in a condition that it is the chosen one."""
        for size in self.sizes:
            test = None if len(self.sizes) == 1 else tirx.EQ(self.chosen, size)
            with self.builder.condition(test):
                yield size

    def start(self, part: Expr, size: int) -> Expr:
        """First element of a tile."""
        if isinstance(self.extent, int) and self.extent % size == 0:
            return part * size
        return self.builder.let("start", tirx.min(part * size, self.extent - size))


@functools.lru_cache(maxsize=4096)
def widths_for(extents: tuple[int, ...], most: int) -> tuple[int, ...]:
    """The widths that a kernel has code for, descending.

    Args:
        extents: that a row may have, ascending.
        most: elements of a tile.
    """
    extents = tuple(extent for extent in extents if extent > 0) or (1,)
    everywhere = range(1, min(most, extents[0]) + 1)
    chosen: list[int] = []
    work = float("inf")
    for _ in range(_MOST_WIDTHS):
        # The first one has to fit every row.
        candidates = range(1, min(most, extents[-1]) + 1) if chosen else everywhere
        found = min((_work(extents, [*chosen, size]), -size) for size in candidates)
        if found[0] > work * (1 - _WORTH):
            break
        work = found[0]
        chosen.append(-found[1])
    return tuple(sorted(chosen, reverse=True))


def _work(extents: Sequence[int], sizes: Sequence[int]) -> float:
    """Work of rows of every extent, each in parts of what its elements take."""
    return sum(
        min(-(-extent // s) * (s + _TILE_COST) for s in sizes if s <= extent) / extent
        for extent in extents
    )


@dataclasses.dataclass(frozen=True)
class ImageTiles(RowTiles):
    """Row tiles of a product whose rows are the pixels of images: (image, row, column)."""

    def widths(self, builder: KernelBuilder) -> Widths:
        """The choice of a run."""
        extent = self.product.rows[-1].size
        return Widths.of(builder, extent, self.params.rows.large)

    def count_rows(self, builder: KernelBuilder) -> Expr:
        """Rows of pixels, of all images."""
        images, rows, _ = self.product.rows
        return builder.size(images.size * rows.size)

    def walk_rows(
        self, builder: KernelBuilder, widths: Widths, first: Expr, last: Expr
    ) -> Iterator[tuple[int, Expr, Expr, Expr]]:
        """Loops over tiles [first, last), a body for each width.

        Yields:
            (width, row of pixels, first column, tile) of each body.
        """
        count = widths.count
        for size in widths.each():
            begin = builder.let("row_begin", tirx.truncdiv(first, count))
            end = builder.let("row_end", tirx.truncdiv(last + (count - 1), count))
            with builder.loop("row", begin, end) as row:
                low = builder.let("low", tirx.max(first - row * count, 0))
                high = builder.let("high", tirx.min(last - row * count, count))
                with builder.loop("part", low, high) as part:
                    yield size, row, widths.start(part, size), row * count + part

    def addresses(
        self, builder: KernelBuilder, group: Expr, outer: Expr, part: Expr, size: int
    ) -> TileAddresses:
        """Of the tile of ``size`` columns from column ``part`` of row ``outer`` on."""
        product = self.product
        images, rows, columns = product.rows
        if images.size == 1:
            place = [(outer, rows), (part, columns)]
        else:
            height = builder.size(rows.size)
            image = builder.let("image", tirx.truncdiv(outer, height))
            place = [(image, images), (outer - image * height, rows), (part, columns)]
        starts = {
            "x": builder.size(product.x_offset) + group * product.x_group_stride,
            "output": builder.size(product.output_offset) + group * product.columns,
            "residual": builder.size(product.residual_offset) + group * product.columns,
        }
        found = TileAddresses([], [], [], [], [])
        shifts: dict[str, list[int]] = {
            "x": found.x_shifts,
            "output": found.output_shifts,
            "residual": [],
        }
        tensors = [("x", found.x), ("output", found.output)]
        if product.residual_elements:
            tensors.append(("residual", found.residual))
        for tensor, addresses in tensors:
            total = starts[tensor]
            for index, dimension in place:
                total = total + index * builder.size(getattr(dimension, tensor))
            first = builder.let(f"{tensor}_tile", total.astype("int64"), "int64")
            step = getattr(columns, tensor)
            for column in range(size):
                addresses.append(first + column * step)
                shifts[tensor].append(column * step)
        return found
