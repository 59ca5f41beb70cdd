"""Register tiles, cache blocks and work items of a matrix product: a small cost model.

A product of ``rows`` x ``vectors`` accumulators stays in registers while K runs. Which tile is
best depends on the shape (a tile that divides it wastes nothing), on the registers, and on how
many loads it needs per multiply. Costs are in cycles of one core and only ever compared with
each other. Constants without a source were fitted to runs on a Xeon of the Sapphire Rapids
generation.
"""

import collections
import dataclasses
import itertools
import math
import operator
from collections.abc import Iterator

from edgecomp.device.target import Target
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.bands import BANDS, cache_bands, shares_rows

#: Part of a cache that one operand may take while the others stream through.
CACHE_SHARE = 0.5
#: Weights that stay in the level-2 cache, whatever else passes, take at most this part of it.
RESIDENT_SHARE = 0.25
#: Part of the level-2 cache for x of a chunk of tiles under such weights.
CHUNK_SHARE = 1 / 16
#: Cycles that a byte costs which comes from the level-2 instead of the level-1 cache.
L2_CYCLES_PER_BYTE = 0.001
#: The same for a panel of weights that does not stay in the level-2 cache beside the next one.
L3_CYCLES_PER_BYTE = 0.012
#: Fixed cycles of a tile: addresses, branches, the pipeline's start and end.
TILE_OVERHEAD_CYCLES = 24
#: Work items to aim at, so that a pool of up to 8 threads finds equal shares.
WORK_ITEMS_WANTED = 32
#: Cycles of an element of K for the lines of x that a set of the level-1 cache does not hold, by
#: the square of how many they are: 9 to 14 rows of 8 KB on a Zen 4 (2026-11-22), whose sets hold 8.
CONFLICT_CYCLES = 0.3
#: Bytes that one way of the level-1 cache covers: x86 looks up by the address within a page.
WAY_BYTES = 4096
LINE_BYTES = 64
#: Most vectors of a column block: longer ones only cost code.
MAX_VECTORS = 8
#: Most rows of a tile.
MAX_ROWS = 16
#: How far ahead of its use a panel in the level-2 cache is asked for.
PREFETCH_BYTES = 1024
#: The same for weights that are all read once, from further away.
STREAM_BYTES = 8192
#: Tiles under one column block above which its panel's first read does not matter.
PREFETCH_TILES = 64


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


#: A register tile: the row dimension that is cut, the rows, the vectors.
Cut = tuple[int, Split, Split]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TileParams:
    """How a product is cut.

    Attributes:
        axis: row dimension that is cut; a tile holds all of the dimensions inside it.
        rows: how it is cut into register tiles.
        vectors: of the columns into column blocks.
        row_chunks: chunks of the row tiles, whose sizes differ by one at most.
        chunk_tiles: most row tiles of a chunk: they run under one column block before the
            next one starts.
        part_tiles: row tiles of one work item: a part of the chunk's.
        chunk_blocks: column blocks of one work item.
        prefetch_bytes: how far ahead of its use the panel of weights is asked for, 0 for not.
        prefetch_next: whether tiles ask for parts of the next column block's panel.
    """

    axis: int
    rows: Split
    vectors: Split
    row_chunks: int
    chunk_tiles: int
    part_tiles: int
    chunk_blocks: int
    prefetch_bytes: int = 0
    prefetch_next: bool = False

    def __post_init__(self) -> None:
        if self.chunk_blocks < 1 or not 1 <= self.part_tiles <= self.chunk_tiles:
            raise ValueError("a work item holds at least one tile of a chunk")
        if self.chunk_blocks > 1 and self.part_tiles < self.chunk_tiles:
            raise ValueError("parts of a chunk would read each column block again")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProductShape:
    """What the choice depends on.

    Attributes:
        rows: sizes of the row dimensions, outermost first.
        vectors: vectors of accumulators that hold the columns of one group.
        groups: independent products.
        depth: K, padding included, in elements.
        row_bytes: bytes of x that one more row brings into the cache.
        result_bytes: bytes of one row of results.
        row_steps: bytes of x between neighbours in each row dimension; empty where rows are
            copied side by side.
    """

    rows: tuple[int, ...]
    vectors: int
    groups: int
    depth: int
    row_bytes: int
    result_bytes: int = 0
    row_steps: tuple[int, ...] = ()


def params_for(
    shape: ProductShape, arithmetic: Arithmetic, target: Target, cut: Cut | None = None
) -> TileParams:
    """A tile, the cheapest one where none is given, and the blocks around it."""
    axis, rows, vectors = cut or cheapest_cut(shape, arithmetic, target)
    tiles = math.prod(shape.rows[:axis]) * rows.count
    tile_bytes = rows.large * math.prod(shape.rows[axis + 1 :]) * shape.row_bytes
    panel_bytes = _panel_bytes(shape.depth, vectors.large, arithmetic)
    weight_bytes = panel_bytes * vectors.count
    row_chunks = _row_chunks(tiles, tile_bytes, weight_bytes, target)
    image_bytes = math.prod(shape.rows) * (shape.row_bytes + shape.result_bytes)
    fits = weight_bytes * shape.groups <= target.core.l2_bytes * CACHE_SHARE
    if fits and shares_rows(weight_bytes * shape.groups, image_bytes):
        result_bytes = math.prod(shape.rows) * shape.result_bytes
        results = cache_bands(result_bytes, target.core.l2_bytes)
        row_chunks = max(row_chunks, min(max(BANDS, 2 * results), tiles))
    chunk_tiles = -(-tiles // row_chunks)
    chunks = row_chunks * shape.groups
    chunk_blocks = min(vectors.count, max(1, vectors.count * chunks // WORK_ITEMS_WANTED))
    items = chunks * -(-vectors.count // chunk_blocks)
    # Finer items than a column block leave the order of work as it is.
    parts = min(chunk_tiles, max(1, WORK_ITEMS_WANTED // items)) if chunk_blocks == 1 else 1
    # Only measured on x86: in-order cores would pay an issue slot for each.
    prefetches = target.core.isa == "x86_64"
    return TileParams(
        axis=axis,
        rows=rows,
        vectors=vectors,
        row_chunks=row_chunks,
        chunk_tiles=chunk_tiles,
        part_tiles=-(-chunk_tiles // parts),
        chunk_blocks=chunk_blocks,
        prefetch_bytes=_prefetch_bytes(tiles, panel_bytes, target) if prefetches else 0,
        prefetch_next=prefetches and 1 < chunk_tiles <= PREFETCH_TILES and vectors.count > 1,
    )


def cheapest_cut(
    shape: ProductShape, arithmetic: Arithmetic, target: Target
) -> tuple[int, Split, Split]:
    """The cheapest tile alone: the row dimension that is cut, the rows, the vectors."""
    return min(
        _candidates(shape, arithmetic, target),
        key=lambda cut: _cut_cycles(shape, cut, arithmetic, target),
    )


def ranked_cuts(
    shape: ProductShape, arithmetic: Arithmetic, target: Target
) -> list[tuple[float, Cut]]:
    """All tiles with their modelled cycles, the cheapest first; it is ``cheapest_cut``."""
    cuts = [
        (_cut_cycles(shape, cut, arithmetic, target), cut)
        for cut in _candidates(shape, arithmetic, target)
    ]
    return sorted(cuts, key=lambda ranked: ranked[0])


def least_cycles(shape: ProductShape, arithmetic: Arithmetic, target: Target) -> float:
    """Modelled cycles of the product under its cheapest tile."""
    cuts = _candidates(shape, arithmetic, target)
    return min(_cut_cycles(shape, cut, arithmetic, target) for cut in cuts)


def _candidates(
    shape: ProductShape, arithmetic: Arithmetic, target: Target
) -> Iterator[tuple[int, Split, Split]]:
    """Cuts whose largest tile fits the registers."""
    seen = set()
    inner = 1
    for axis in range(len(shape.rows) - 1, -1, -1):
        size = shape.rows[axis]
        for most in range(1, min(MAX_ROWS // inner, size) + 1):
            rows = Split.by_size(size, most)
            for width in range(1, min(MAX_VECTORS, shape.vectors) + 1):
                vectors = Split.by_size(shape.vectors, width)
                cut = (axis, rows, vectors)
                registers = target.core.vector_registers
                fits = arithmetic.fits(rows.large * inner, vectors.large, registers)
                if cut not in seen and (fits or (most == 1 and width == 1)):
                    seen.add(cut)
                    yield cut
        inner *= size
        if inner > MAX_ROWS:
            break


def _cut_cycles(
    shape: ProductShape,
    cut: tuple[int, Split, Split],
    arithmetic: Arithmetic,
    target: Target,
) -> float:
    """Modelled cycles of all tiles."""
    axis, rows, vectors = cut
    inner = math.prod(shape.rows[axis + 1 :])
    total = 0.0
    for row_size, row_count in rows.classes():
        conflicts = _conflict_cycles(shape, axis, row_size, target)
        for vector_size, vector_count in vectors.classes():
            cycles = _tile_cycles(
                shape.depth, row_size * inner, vector_size, arithmetic, target
            )
            cycles += shape.depth / arithmetic.group * conflicts
            total += row_count * vector_count * cycles
    return total * math.prod(shape.rows[:axis]) * shape.groups


def _conflict_cycles(shape: ProductShape, axis: int, rows: int, target: Target) -> float:
    """For an element of K, where more rows lie in one set of the level-1 cache than it holds."""
    if target.core.isa != "x86_64" or not shape.row_steps:
        return 0.0
    tile = (rows, *shape.rows[axis + 1 :])
    ways = target.core.l1_data_bytes // WAY_BYTES
    if math.prod(tile) <= ways:
        return 0.0
    steps = shape.row_steps[axis:]
    lines = {
        sum(map(operator.mul, at, steps)) // LINE_BYTES
        for at in itertools.product(*map(range, tile))
    }
    most = max(
        collections.Counter(line % (WAY_BYTES // LINE_BYTES) for line in lines).values()
    )
    return CONFLICT_CYCLES * max(0, most - ways) ** 2


def _tile_cycles(
    depth: int, rows: int, vectors: int, arithmetic: Arithmetic, target: Target
) -> float:
    """One register tile: the inner loop, bounded by multiplies, loads or latency; memory."""
    step = arithmetic.step_cycles(rows, vectors, target.core.vector_registers)
    panel_bytes = _panel_bytes(depth, vectors, arithmetic)
    cycles = depth / arithmetic.group * step
    cycles += rows * arithmetic.finish_row_cycles(vectors) + TILE_OVERHEAD_CYCLES
    if not _in_level1(panel_bytes, target):
        twice_fits = 2 * panel_bytes < target.core.l2_bytes * CACHE_SHARE
        cycles += panel_bytes * (L2_CYCLES_PER_BYTE if twice_fits else L3_CYCLES_PER_BYTE)
    return cycles


def _prefetch_bytes(tiles: int, panel_bytes: int, target: Target) -> int:
    if tiles == 1:
        return STREAM_BYTES
    return 0 if _in_level1(panel_bytes, target) else PREFETCH_BYTES


def _panel_bytes(depth: int, vectors: int, arithmetic: Arithmetic) -> int:
    """Weights of one column block."""
    elements = depth * vectors * arithmetic.lanes // arithmetic.weights_per_element
    return elements * arithmetic.weight_bytes


def _in_level1(panel_bytes: int, target: Target) -> bool:
    return panel_bytes <= target.core.l1_data_bytes * CACHE_SHARE


def _row_chunks(tiles: int, tile_bytes: int, weight_bytes: int, target: Target) -> int:
    """Chunks of row tiles; those of a chunk run under one column block before the next.

    Where all weights stay in the level-2 cache, so few that their results leave in whole
    rows before they are out of it. Else as many as leave x there.
    """
    core = target.core
    resident = weight_bytes <= core.l2_bytes * RESIDENT_SHARE
    most = core.l2_bytes * (CHUNK_SHARE if resident else CACHE_SHARE) / max(1, tile_bytes)
    return -(-tiles // max(1, math.floor(most)))
