"""Ranges of a Winograd kernel's work items, cut into rectangles of units and column blocks."""

import dataclasses

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder
from edgecomp.schedules.cpu.vectors import pinned
from edgecomp.schedules.cpu.winograd_tiles import WinogradParams


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rectangles:
    """The rectangles of a range of work items, in order.

    Attributes:
        count: of them.
        heads: 1 if the first unit is not computed as a whole, else 0.
        blocks: of whole units.
        block_units: units of a block.
        first, whole, last: first unit, first whole one, the one behind the last whole one.
        low, head_high: column blocks of the first unit.
        high: end of the column blocks of the last unit.
        columns: column blocks of a whole unit.
    """

    count: Expr
    heads: Expr
    blocks: Expr
    block_units: Expr
    first: Expr
    whole: Expr
    last: Expr
    low: Expr
    head_high: Expr
    high: Expr
    columns: int

    def place(self, builder: KernelBuilder, number: Expr) -> tuple[Expr, Expr, Expr, Expr]:
        """(first unit, end, first column block, end) of a rectangle."""
        is_head = number < self.heads
        is_tail = number >= self.heads + self.blocks
        block = self.whole + (number - self.heads) * self.block_units
        begin = tirx.Select(is_head, self.first, tirx.Select(is_tail, self.last, block))
        begin = pinned(builder, "begin_unit", begin)
        end = tirx.min(begin + self.block_units, self.last)
        end = tirx.Select(tirx.Or(is_head, is_tail), begin + 1, end)
        high = tirx.Select(is_tail, self.high, self.columns)
        return (
            begin,
            pinned(builder, "end_unit", end),
            pinned(builder, "low", tirx.Select(is_head, self.low, 0)),
            pinned(builder, "high", tirx.Select(is_head, self.head_high, high)),
        )


def rectangles_of(builder: KernelBuilder, params: WinogradParams) -> Rectangles:
    """The rectangles of the range of items."""
    columns = params.vectors.count
    first = pinned(builder, "first_unit", tirx.truncdiv(builder.lo, columns))
    last = pinned(builder, "last_unit", tirx.truncdiv(builder.hi, columns))
    low = pinned(builder, "first_columns", builder.lo - first * columns)
    high = pinned(builder, "last_columns", builder.hi - last * columns)
    heads = pinned(builder, "heads", tirx.Select(low > 0, 1, 0))
    whole = pinned(builder, "whole", first + heads)
    tails = tirx.Select(tirx.And(high > 0, last >= whole), 1, 0)
    units = pinned(builder, "units", tirx.max(last - whole, 0))
    most = params.block_parts // params.unit_parts
    blocks = pinned(builder, "blocks", tirx.truncdiv(units + (most - 1), most))
    size = tirx.truncdiv(units + blocks - 1, tirx.max(blocks, 1))
    return Rectangles(
        count=pinned(builder, "rectangles", heads + blocks + tails),
        heads=heads,
        blocks=blocks,
        block_units=pinned(builder, "block_units", size),
        first=first,
        whole=whole,
        last=last,
        low=low,
        head_high=pinned(builder, "high", tirx.min(builder.hi - first * columns, columns)),
        high=high,
        columns=columns,
    )
