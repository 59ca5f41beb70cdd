"""Loops over NHWC images for kernels that keep channels apart (depthwise, pooling, resize).

An image is cut into rows ``(n, oh)`` and channel blocks; a work item is one row of one block.
Within an item the kernel walks tiles of neighbouring output columns. All shapes are static, so
tails are separate code and full tiles carry no tests.
"""

import dataclasses
from collections.abc import Callable

from tvm import tirx

from edgecomp.plan.values import Value, View
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, ramp


@dataclasses.dataclass(frozen=True)
class Lanes:
    """One vector of a channel block.

    Attributes:
        offset: first channel, from the start of the block.
        lanes: elements computed, a power of two; loads may run into what follows the channels.
        valid: elements that exist and are stored.
    """

    offset: int
    lanes: int
    valid: int


@dataclasses.dataclass(frozen=True)
class Segment:
    """Neighbouring channel blocks that share code.

    Attributes:
        first_channel: of the first block.
        first_block: blocks in earlier segments.
        blocks: how many there are.
        channels: channels of each.
        vectors: how a block is cut.
    """

    first_channel: int
    first_block: int
    blocks: int
    channels: int
    vectors: tuple[Lanes, ...]


@dataclasses.dataclass(frozen=True)
class Tile:
    """``count`` runs of ``width`` output columns, from column ``start`` on."""

    start: int
    count: int
    width: int


def channel_segments(channels: int, lanes: int, vectors: int) -> tuple[Segment, ...]:
    """Cut channels into blocks of ``vectors`` full vectors and one block for the rest."""
    block = lanes * vectors
    full, rest = divmod(channels, block)
    segments = []
    if full:
        cut = tuple(Lanes(v * lanes, lanes, lanes) for v in range(vectors))
        segments.append(Segment(0, 0, full, block, cut))
    if rest:
        segments.append(Segment(full * block, full, 1, rest, cut_lanes(rest, lanes)))
    return tuple(segments)


def cut_lanes(count: int, lanes: int) -> tuple[Lanes, ...]:
    """Cut ``count`` elements into full vectors and a last one rounded up to a power of two."""
    full, rest = divmod(count, lanes)
    cut = [Lanes(v * lanes, lanes, lanes) for v in range(full)]
    if rest:
        cut.append(Lanes(full * lanes, 1 << (rest - 1).bit_length(), rest))
    return tuple(cut)


def width_tiles(width: int, tile: int) -> tuple[Tile, ...]:
    """Cut ``width`` columns into tiles of at most ``tile``, as even as two widths allow."""
    count = -(-width // tile)
    small, large = width // count, width % count
    tiles = [Tile(0, large, small + 1)] if large else []
    return (*tiles, Tile(large * (small + 1), count - large, small))


def block_count(segments: tuple[Segment, ...]) -> int:
    """Channel blocks of all segments."""
    return sum(segment.blocks for segment in segments)


def walk_blocks(
    builder: KernelBuilder,
    segments: tuple[Segment, ...],
    rows: int,
    body: Callable[[Segment, Expr, Expr, Expr], None],
    *,
    channels_outer: bool,
) -> int:
    """Emit the loops over the work items [lo, hi); return how many items there are.

    Args:
        builder: kernel in the making.
        segments: channel blocks.
        rows: ``n * oh``.
        body: called as ``body(segment, block, begin, end)`` once per segment and emits rows
            [begin, end) of channel block ``block`` (counted within the segment).
        channels_outer: all rows of a block before the next block (weights stay in registers,
            the rows of one block in L1) or all blocks of a row before the next row.
    """
    blocks = block_count(segments)
    if channels_outer:
        for segment in segments:
            _walk_channels_outer(builder, segment, rows, body)
    else:
        last = tirx.truncdiv(builder.hi + (blocks - 1), blocks)
        with builder.loop("row", tirx.truncdiv(builder.lo, blocks), last) as row:
            for segment in segments:
                first = row * blocks + segment.first_block
                begin = tirx.max(builder.lo - first, 0)
                end = tirx.min(builder.hi - first, segment.blocks)
                with builder.loop("block", begin, end) as block:
                    body(segment, block, row, row + 1)
    return blocks * rows


def _walk_channels_outer(
    builder: KernelBuilder,
    segment: Segment,
    rows: int,
    body: Callable[[Segment, Expr, Expr, Expr], None],
) -> None:
    lo = builder.lo - segment.first_block * rows
    hi = builder.hi - segment.first_block * rows
    begin = tirx.truncdiv(tirx.max(lo, 0), rows)
    end = tirx.min(tirx.truncdiv(hi + (rows - 1), rows), segment.blocks)
    with builder.loop("block", begin, end) as block:
        first_row = builder.let("first_row", tirx.max(lo - block * rows, 0))
        end_row = builder.let("end_row", tirx.min(hi - block * rows, rows))
        body(segment, block, first_row, end_row)


def walk_tiles(
    builder: KernelBuilder, tiles: tuple[Tile, ...], body: Callable[[int, Expr], None]
) -> None:
    """Emit a loop per tile width; ``body(width, first column)`` emits one tile."""
    for tile in tiles:
        if tile.count == 1:
            body(tile.width, tile.start)
            continue
        with builder.loop("tile", 0, tile.count) as index:
            body(tile.width, index * tile.width + tile.start)


def pixel_index(view: View, row: Expr, rows_per_image: int, image_row: Expr, column: Expr) -> Expr:
    """Index of channel 0 of the pixel (image_row, column) of image ``row // rows_per_image``."""
    index = view.offset + image_row * view.strides[2] + column * view.strides[3]
    if view.shape[0] > 1:
        index = index + tirx.truncdiv(row, rows_per_image) * view.strides[0]
    return index


def row_of_image(view: View, row: Expr) -> Expr:
    """``row`` of all images to the row within its image, given the output's view."""
    return row if view.shape[0] == 1 else tirx.truncmod(row, view.shape[2])


def store_valid(
    builder: KernelBuilder, buffer: Buffer, index: Expr, value: Expr, vector: Lanes
) -> None:
    """Store the valid elements of a vector, in pieces whose lengths are powers of two."""
    done = 0
    while done < vector.valid:
        piece = 1 << ((vector.valid - done).bit_length() - 1)
        part = value if piece == vector.lanes else lanes_of(value, done, piece)
        builder.store(buffer, ramp(index + done, piece), part)
        done += piece


def lanes_of(value: Expr, first: int, count: int) -> Expr:
    """``count`` neighbouring lanes of a vector (a scalar for one)."""
    return tirx.Shuffle([value], [tirx.const(first + i, "int32") for i in range(count)])


def is_image(value: Value) -> bool:
    """Whether a value has four dimensions and static extents above zero."""
    return len(value.shape) == 4 and min(value.shape) > 0
