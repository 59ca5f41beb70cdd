"""How a product with packed weights is cut for a GPU, and how its words lie in memory.

K is cut into units that have one scale per column and begin with a word of their own. Where there
are too few results to keep a device busy, the units of one result are shared out to several work
items of a group.
"""

import dataclasses

import numpy as np

from edgecomp.device.target import Gpu
from edgecomp.plan.products import PackedMatrixMultiply
from edgecomp.plan.sizes import (
    Dimension,
    capped,
    is_dynamic,
    largest,
    quotient,
    reached,
    smallest,
)
from edgecomp.plan.values import Array
from edgecomp.schedules.gpu.places import LANES
from edgecomp.schedules.gpu.product_tiles import MOST_ROWS, choose_tile, group_shape
from edgecomp.schedules.gpu.weights import WeightShape

#: Elements of K in a unit: enough for its scale to cost little, few enough to share them out.
_MOST_OF_UNIT = 128
#: Words of a unit where no number of elements that divides a block is whole words.
_WORDS_OF_UNIT = 16
#: Up to so many rows, sums of a unit are scaled; beyond, the weights are.
_FEW_ROWS = 2
#: Work items side by side that still read whole lines of memory.
_FEWEST_ACROSS = 4


@dataclasses.dataclass(frozen=True)
class RowSpan:
    """Numbers of rows that one kernel is for.

    Attributes:
        count: rows of a run; dynamic ones are one tile's at least.
        tiled_for: rows that the kernel's tile suits.
        runs: 1, or what is 0 where a run has rows for another kernel, and else 1.
    """

    count: Dimension
    tiled_for: int
    runs: Dimension = 1


def spans_of(rows: Dimension) -> list[RowSpan]:
    """The kernels of a product whose rows may be dynamic; a run starts one of them.

    A tile of many rows is slow at few: its work items repeat one another's, and are too few. Up to
    as many as a tile has, each row has work items of its own, which share K.
    """
    if not is_dynamic(rows):
        return [RowSpan(rows, rows)]
    if largest(rows) <= MOST_ROWS:
        return [RowSpan(rows, 1)]
    many = RowSpan(rows, reached(rows))
    if smallest(rows) > MOST_ROWS:
        return [many]
    is_many = capped(quotient(rows, MOST_ROWS + 1), 1)
    few = RowSpan(capped(rows, MOST_ROWS), 1, 1 - is_many)
    return [few, dataclasses.replace(many, runs=is_many)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackedTile:
    """Extents of a product and what one work item and one group have of it.

    Attributes:
        depth, columns: of the product.
        bits: of a number.
        block: elements of K that share a scale.
        unit: elements of K of a unit, all of one block.
        tile_rows: rows of a work item.
        vectors: of ``LANES`` columns of a work item.
        across, shares, down: work items of a group: side by side, for parts of K, and for tiles
            of rows.
        padded_columns: in memory, at least those of all tiles side by side.
    """

    depth: int
    columns: int
    bits: int
    block: int
    unit: int
    tile_rows: int
    vectors: int
    across: int
    shares: int
    down: int
    padded_columns: int

    @staticmethod
    def of(
        kind: PackedMatrixMultiply, rows: int, depth: int, columns: int, gpu: Gpu
    ) -> "PackedTile":
        """The tile for a device, and for so many rows."""
        block = min(kind.block, depth)
        unit = _unit_of(block, depth, 32 // kind.bits)
        if rows <= _FEW_ROWS:
            tile_rows, vectors = rows, 1
        else:
            chosen = choose_tile(rows, 1, columns, 1, gpu)
            tile_rows, vectors = chosen.rows, chosen.vectors
        blocks, row_tiles = -(-columns // (vectors * LANES)), -(-rows // tile_rows)
        across, shares = group_shape(blocks, gpu)[0], 1
        most_shares = min(depth // unit, gpu.group_items)
        most_bytes = gpu.local_memory_bytes // (tile_rows * vectors * LANES * 4)
        while (
            blocks * row_tiles * shares < gpu.busy_items
            and 2 * shares <= most_shares
            and across * 2 * shares <= most_bytes
        ):
            if across * 2 * shares > gpu.group_items:
                if across <= _FEWEST_ACROSS:
                    break
                across //= 2
            shares *= 2
        down = 1
        while (
            across * shares * down * 2 <= gpu.group_items and down < row_tiles and shares == 1
        ):
            down *= 2
        return PackedTile(
            depth=depth,
            columns=columns,
            bits=kind.bits,
            block=block,
            unit=unit,
            tile_rows=tile_rows,
            vectors=vectors,
            across=across,
            shares=shares,
            down=down,
            padded_columns=blocks * vectors * LANES,
        )

    @property
    def few(self) -> bool:
        """Whether sums of units are scaled, rather than weights."""
        return self.tile_rows <= _FEW_ROWS

    @property
    def each(self) -> int:
        """Numbers of a word."""
        return 32 // self.bits

    @property
    def unit_words(self) -> int:
        """Words of a unit, the last of which may have room left."""
        return -(-self.unit // self.each)

    @property
    def units(self) -> int:
        """Whole units of K."""
        return self.depth // self.unit

    @property
    def words(self) -> int:
        """Words of K."""
        return self.units * self.unit_words + -(-(self.depth % self.unit) // self.each)

    @property
    def blocks(self) -> int:
        """Blocks of K."""
        return -(-self.depth // self.block)

    @property
    def column_blocks(self) -> int:
        """Tiles side by side."""
        return -(-self.columns // (self.vectors * LANES))

    @property
    def word_shape(self) -> WeightShape:
        """Of the words, which are K's elements there."""
        width = self.padded_columns
        return WeightShape(
            groups=1, columns=width, padded_columns=width, runs=1, run=self.words
        )

    def pack(self, numbers: Array) -> Array:
        """uint8 [K, N] to the bits of words, int32, flat: [words of K][padded columns]."""
        slots = np.zeros((self.words * self.each, self.padded_columns), np.uint8)
        unit, place = np.divmod(np.arange(self.depth), self.unit)
        slots[unit * self.unit_words * self.each + place, : self.columns] = numbers
        full = slots.reshape(self.words, self.each, self.padded_columns)
        words = np.zeros((self.words, self.padded_columns), np.uint32)
        for position in range(self.each):
            words |= full[:, position].astype(np.uint32) << np.uint32(position * self.bits)
        return words.reshape(-1).view(np.int32)

    def pad(self, values: Array) -> Array:
        """[blocks, N] to flat [blocks][padded columns]."""
        spare = self.padded_columns - self.columns
        return np.pad(values, ((0, 0), (0, spare))).reshape(-1)


def _unit_of(block: int, depth: int, each: int) -> int:
    """Elements of a unit: a part of a block of whole words, or else all of it."""
    if block <= _MOST_OF_UNIT:
        return block
    for words in range(_MOST_OF_UNIT // each, 0, -1):
        if block % (words * each) == 0 and words * each * 2 > _MOST_OF_UNIT // 2:
            return words * each
    return min(block, _WORDS_OF_UNIT * each) if block >= depth else block
