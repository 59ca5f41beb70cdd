"""How many rows and columns of a product one work item computes."""

import dataclasses
import math

from edgecomp.device.target import Gpu
from edgecomp.schedules.gpu.places import LANES

#: Registers for addresses and loop counters.
_SPARE_REGISTERS = 8
#: Rows of a work item.
MOST_ROWS = 8
_MOST_VECTORS = 2
_MOST_ITEMS_ACROSS = 16


@dataclasses.dataclass(frozen=True)
class ProductTile:
    """A tile of one work item.

    Attributes:
        rows: neighbouring rows, all within the innermost dimension of the rows.
        vectors: of ``LANES`` columns.
    """

    rows: int
    vectors: int

    @property
    def columns(self) -> int:
        """Columns of the tile."""
        return self.vectors * LANES


def registers_of(tile: ProductTile) -> int:
    """Registers of 32 bits that a step needs: sums, a vector of x per row, weights."""
    return LANES * (tile.rows * tile.vectors + tile.rows + tile.vectors)


def choose_tile(
    inner_rows: int, outer_rows: int, columns: int, groups: int, gpu: Gpu
) -> ProductTile:
    """The tile with the least modelled time per result.

    Args:
        inner_rows: of the innermost dimension of the rows.
        outer_rows: product of the others.
        columns: of a group.
        groups: of columns.
        gpu: the device.
    """
    tiles = [
        ProductTile(rows, vectors)
        for rows in range(1, min(MOST_ROWS, inner_rows) + 1)
        for vectors in range(1, _MOST_VECTORS + 1)
    ]
    room = gpu.registers - _SPARE_REGISTERS
    fitting = [tile for tile in tiles if registers_of(tile) <= room]
    shape = inner_rows, outer_rows, columns, groups
    return min(
        fitting or tiles[:1], key=lambda tile: product_cost(tile, *shape, gpu.busy_items)
    )


def product_cost(
    tile: ProductTile,
    inner_rows: int,
    outer_rows: int,
    columns: int,
    groups: int,
    busy_items: int,
) -> float:
    """Loads and multiply-adds per result, more where rows repeat or too few work items run."""
    row_tiles = -(-inner_rows // tile.rows)
    column_tiles = -(-columns // tile.columns)
    repeated = row_tiles * tile.rows / inner_rows * column_tiles * tile.columns / columns
    items = row_tiles * outer_rows * column_tiles * groups
    loads = (tile.rows + LANES * tile.vectors) / (LANES * tile.rows * tile.vectors)
    return repeated * (1.0 + loads) * max(1.0, busy_items / items)


def group_shape(columns: int, gpu: Gpu) -> tuple[int, int, int]:
    """Work items of a group: neighbours along the first axis read neighbouring weights."""
    enough = 1 << math.ceil(math.log2(max(1, columns)))
    across = min(_MOST_ITEMS_ACROSS, gpu.group_items, enough)
    return across, max(1, gpu.group_items // across), 1
