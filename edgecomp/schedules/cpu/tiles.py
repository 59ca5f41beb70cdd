"""Register tiles, cache blocks and work items of a matrix product: a small cost model.

A product of ``rows`` x ``vectors`` accumulators stays in registers while K runs. Which tile is
best depends on the shape (a tile that divides it wastes nothing), on the registers, and on how
many loads it needs per multiply. Costs are in cycles of one core and only ever compared with
each other.
"""

import dataclasses
import math
from collections.abc import Iterator

from edgecomp.device.target import Target
from edgecomp.schedules.cpu.arithmetic import Arithmetic

#: Part of a cache that one operand may take while the others stream through.
CACHE_SHARE = 0.5
#: Bytes per cycle that a core sustains from its level-2 cache.
L2_BYTES_PER_CYCLE = 32
#: Fixed cycles of a tile: addresses, branches, the pipeline's start and end.
TILE_OVERHEAD_CYCLES = 24
#: Work items to aim at, so that a pool of up to 8 threads finds equal shares.
WORK_ITEMS_WANTED = 32
#: Most vectors of a column block: longer ones only cost code.
MAX_VECTORS = 8
#: Most rows of a tile.
MAX_ROWS = 16


@dataclasses.dataclass(frozen=True)
class Split:
    """``extent`` elements in ``count`` parts whose sizes differ by one at most.

    The first ``large_count`` parts have ``large`` elements, the others ``small``: only two
    sizes, so a kernel needs at most two bodies and no tail code.
    """

    extent: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= self.extent:
            raise ValueError(f"cannot split {self.extent} elements in {self.count} parts")

    @classmethod
    def by_size(cls, extent: int, most: int) -> "Split":
        """Parts of at most ``most`` elements."""
        return cls(extent, -(-extent // most))

    @property
    def small(self) -> int:
        """Size of the later parts."""
        return self.extent // self.count

    @property
    def large(self) -> int:
        """Size of the first parts."""
        return -(-self.extent // self.count)

    @property
    def large_count(self) -> int:
        """How many parts have the larger size; all when the sizes are equal."""
        return self.extent % self.count or self.count

    def classes(self) -> Iterator[tuple[int, int]]:
        """(size, how many) of each distinct size."""
        yield self.large, self.large_count
        if self.large_count < self.count:
            yield self.small, self.count - self.large_count

    def starts(self) -> Iterator[tuple[int, int]]:
        """(first element, size) of each part."""
        start = 0
        for size, count in self.classes():
            for _ in range(count):
                yield start, size
                start += size


@dataclasses.dataclass(frozen=True, kw_only=True)
class TileParams:
    """How a product is cut.

    Attributes:
        rows: of one line into register tiles.
        vectors: of the columns into column blocks.
        chunk_tiles: row tiles that run under one column block before the next one starts;
            their part of x stays in the level-2 cache.
        chunk_blocks: column blocks of one work item.
    """

    rows: Split
    vectors: Split
    chunk_tiles: int
    chunk_blocks: int

    def __post_init__(self) -> None:
        if self.chunk_tiles < 1 or self.chunk_blocks < 1:
            raise ValueError("a work item holds at least one tile")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProductShape:
    """What the choice depends on.

    Attributes:
        lines: independent runs of rows; a tile does not cross from one to the next.
        line_rows: rows of a line.
        vectors: vectors of accumulators that hold the columns of one group.
        groups: independent products.
        depth: K, padding included, in elements.
        row_bytes: distance of neighbouring rows of x that a tile brings into the cache.
    """

    lines: int
    line_rows: int
    vectors: int
    groups: int
    depth: int
    row_bytes: int


def params_for(shape: ProductShape, arithmetic: Arithmetic, target: Target) -> TileParams:
    """The cheapest tile under the cost model, and the blocks around it."""
    row_split, vector_split = min(
        _candidates(shape, arithmetic, target),
        key=lambda pair: (
            product_cycles(shape, pair[0], pair[1], arithmetic, target),
            pair[0].count * pair[1].count,
        ),
    )
    chunk_tiles = _chunk_tiles(shape, row_split, target)
    tiles = row_split.count * shape.lines
    chunks = -(-tiles // chunk_tiles) * shape.groups
    chunk_blocks = max(1, vector_split.count * chunks // WORK_ITEMS_WANTED)
    items = chunks * -(-vector_split.count // chunk_blocks)
    if items < WORK_ITEMS_WANTED:
        chunk_tiles = max(1, chunk_tiles * items // WORK_ITEMS_WANTED)
    return TileParams(
        rows=row_split,
        vectors=vector_split,
        chunk_tiles=chunk_tiles,
        chunk_blocks=min(chunk_blocks, vector_split.count),
    )


def product_cycles(
    shape: ProductShape, rows: Split, vectors: Split, arithmetic: Arithmetic, target: Target
) -> float:
    """Modelled cycles of the whole product."""
    total = 0.0
    for row_size, row_count in rows.classes():
        for vector_size, vector_count in vectors.classes():
            cycles = _tile_cycles(shape.depth, row_size, vector_size, arithmetic, target)
            total += row_count * vector_count * cycles
    return total * shape.lines * shape.groups


def _candidates(
    shape: ProductShape, arithmetic: Arithmetic, target: Target
) -> Iterator[tuple[Split, Split]]:
    """Splits whose largest tile fits the registers."""
    seen = set()
    for vectors in range(1, min(MAX_VECTORS, shape.vectors) + 1):
        for rows in range(1, min(MAX_ROWS, shape.line_rows) + 1):
            if rows % arithmetic.row_multiple and rows != shape.line_rows:
                continue
            if not arithmetic.fits(rows, vectors, target.core.vector_registers):
                continue
            pair = (
                Split.by_size(shape.line_rows, rows),
                Split.by_size(shape.vectors, vectors),
            )
            if pair not in seen:
                seen.add(pair)
                yield pair


def _tile_cycles(
    depth: int, rows: int, vectors: int, arithmetic: Arithmetic, target: Target
) -> float:
    """One register tile: the inner loop, bounded by multiplies, loads, latency or the cache."""
    step = arithmetic.step_cycles(rows, vectors, target.core.vector_registers)
    vector_bytes = arithmetic.lanes * arithmetic.group * arithmetic.weight_bytes
    panel_bytes = depth * vectors * vector_bytes // arithmetic.group
    if panel_bytes > target.core.l1_data_bytes * CACHE_SHARE:
        step = max(step, vectors * vector_bytes / L2_BYTES_PER_CYCLE)
    steps = -(-depth // arithmetic.group)
    return steps * step + rows * vectors * arithmetic.finish_cycles + TILE_OVERHEAD_CYCLES


def _chunk_tiles(shape: ProductShape, rows: Split, target: Target) -> int:
    """Row tiles whose part of x fits beside a panel of weights in the level-2 cache."""
    tiles = rows.count * shape.lines
    tile_bytes = max(1, rows.large * shape.row_bytes)
    most = max(1, math.floor(target.core.l2_bytes * CACHE_SHARE / tile_bytes))
    return -(-tiles // -(-tiles // most))
