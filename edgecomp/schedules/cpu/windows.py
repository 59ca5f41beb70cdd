"""Loops over NHWC images for kernels that keep channels apart (depthwise, pooling, resize).

Channels are cut into groups of blocks of vectors; a work item is one output row ``(n, oh)`` of
one group. Within its rows a kernel walks tiles of neighbouring output columns, and within a
tile the blocks of the group, so that memory is read in long runs. Tails are separate code and
full tiles carry no tests. Height and width may differ from run to run: tiles then overlap.
"""

import dataclasses
from collections.abc import Callable

from edgecomp.plan.sizes import Dimension, greatest, is_dynamic
from edgecomp.plan.values import Halo, Value, View
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, ramp
from edgecomp.schedules.cpu.bands import band_rows
from edgecomp.schedules.cpu.image_tiles import Widths


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
    """Equal channel blocks beside each other in a group.

    Attributes:
        first_channel: of the first block, from the start of the group.
        blocks: how many there are.
        channels: channels of each.
        vectors: how a block is cut.
    """

    first_channel: int
    blocks: int
    channels: int
    vectors: tuple[Lanes, ...]


@dataclasses.dataclass(frozen=True)
class GroupRun:
    """Equal channel groups beside each other.

    Attributes:
        first_channel: of the first group.
        first_group: groups in earlier runs.
        groups: how many there are.
        channels: channels of each.
        segments: blocks of each.
    """

    first_channel: int
    first_group: int
    groups: int
    channels: int
    segments: tuple[Segment, ...]

    @property
    def single_block(self) -> bool:
        """Whether a group is one block, whose weights can stay in registers."""
        return len(self.segments) == 1 and self.segments[0].blocks == 1


@dataclasses.dataclass(frozen=True)
class Tile:
    """``count`` runs of ``width`` output columns, from column ``start`` on."""

    start: int
    count: int
    width: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Walk:
    """How a kernel goes through an image.

    Attributes:
        lanes: of one vector register.
        vectors: vectors in a channel block.
        blocks: blocks in a channel group.
        columns: most output columns in a tile.
        least_lanes: of the vector at the end of the channels.
    """

    lanes: int
    vectors: int
    blocks: int
    columns: int
    least_lanes: int = 1


@dataclasses.dataclass(frozen=True)
class Window:
    """Geometry of a sliding window, each pair (height, width).

    Attributes:
        size: elements of the window.
        strides: between neighbouring windows.
        dilations: between neighbouring elements.
        pads: top and left padding.
    """

    size: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int]

    def span(self, columns: int) -> int:
        """Input columns that ``columns`` neighbouring windows touch."""
        return (columns - 1) * self.strides[1] + (self.size[1] - 1) * self.dilations[1] + 1

    def users(self, columns: int) -> dict[int, list[tuple[int, int]]]:
        """Input column -> (window, tap) pairs that read it, for neighbouring windows."""
        found: dict[int, list[tuple[int, int]]] = {}
        for column in range(columns):
            for tap in range(self.size[1]):
                position = column * self.strides[1] + tap * self.dilations[1]
                found.setdefault(position, []).append((column, tap))
        return dict(sorted(found.items()))

    def refusal(self, x: Value, output: Value) -> str:
        """Return "" when the halo of ``x`` holds all windows, else what is missing."""
        ends = [
            (extent - 1) * stride + (size - 1) * dilation - pad + 1 - width
            for extent, stride, size, dilation, pad, width in zip(
                output.shape[2:],
                self.strides,
                self.size,
                self.dilations,
                self.pads,
                x.shape[2:],
                strict=True,
            )
        ]
        need = Halo(*self.pads, max(0, greatest(ends[0])), max(0, greatest(ends[1])))
        return "" if need.union(x.halo) == x.halo else f"x has {x.halo}, windows need {need}"


def channel_groups(channels: int, walk: Walk) -> tuple[GroupRun, ...]:
    """Cut channels into groups."""
    block = walk.lanes * walk.vectors
    per_group = block * walk.blocks
    groups, rest = divmod(channels, per_group)
    runs = []
    if groups:
        runs.append(GroupRun(0, 0, groups, per_group, _segments(per_group, walk)))
    if rest:
        runs.append(GroupRun(groups * per_group, groups, 1, rest, _segments(rest, walk)))
    return tuple(runs)


def even_blocks(channels: int, block: int, most: float) -> int:
    """Blocks per group so that groups are about equal and hold at most ``most`` channels."""
    total = -(-channels // block)
    groups = -(-total // max(1, int(most // block)))
    return -(-total // groups)


def _segments(channels: int, walk: Walk) -> tuple[Segment, ...]:
    block = walk.lanes * walk.vectors
    blocks, rest = divmod(channels, block)
    segments = []
    if blocks:
        segments.append(Segment(0, blocks, block, _cut_lanes(block, walk)))
    if rest:
        segments.append(Segment(blocks * block, 1, rest, _cut_lanes(rest, walk)))
    return tuple(segments)


def _cut_lanes(count: int, walk: Walk) -> tuple[Lanes, ...]:
    """Cut ``count`` channels into full vectors and a last one rounded up to a power of two."""
    full, rest = divmod(count, walk.lanes)
    cut = [Lanes(v * walk.lanes, walk.lanes, walk.lanes) for v in range(full)]
    if rest:
        lanes = max(walk.least_lanes, 1 << (rest - 1).bit_length())
        cut.append(Lanes(full * walk.lanes, lanes, rest))
    return tuple(cut)


def width_tiles(width: int, tile: int) -> tuple[Tile, ...]:
    """Cut ``width`` columns into tiles of at most ``tile``, as even as two widths allow."""
    count = -(-width // tile)
    small, large = divmod(width, count)
    tiles = [Tile(0, large, small + 1)] if large else []
    return (*tiles, Tile(large * (small + 1), count - large, small))


def walk_groups(
    builder: KernelBuilder,
    runs: tuple[GroupRun, ...],
    rows: Dimension,
    body: Callable[[GroupRun, Expr, Expr, Expr], None],
    bands: int = 1,
) -> Dimension:
    """Emit the loops over the work items [lo, hi); return how many items there are.

    Args:
        builder: kernel in the making.
        runs: channel groups.
        rows: ``n * oh``.
        body: called as ``body(run, group, begin, end)`` once per run; emits rows [begin, end)
            of channel group ``group`` (counted within the run).
        bands: of rows; all groups of a band come before the next band. Rows that differ from
            run to run are one band.
    """
    groups = sum(run.groups for run in runs)
    if is_dynamic(rows):
        _walk_band(builder, runs, builder.size(rows), (builder.lo, builder.hi), body)
        return groups * rows
    height = band_rows(rows, bands)
    bands = -(-rows // height)
    if bands == 1:
        _walk_band(builder, runs, height, (builder.lo, builder.hi), body)
        return groups * rows
    per_band = groups * height
    first = tirx.truncdiv(builder.lo, per_band)
    last = tirx.truncdiv(builder.hi + (per_band - 1), per_band)
    with builder.loop("band", first, last) as band:
        items = tuple(
            builder.let("item", end - band * per_band) for end in (builder.lo, builder.hi)
        )
        top = builder.let("top", band * height)
        below = builder.let("below", tirx.min(rows - top, height))

        def within(run: GroupRun, group: Expr, begin: Expr, end: Expr) -> None:
            last_row = builder.let("last_row", top + tirx.min(end, below))
            body(run, group, builder.let("begin_row", top + begin), last_row)

        _walk_band(builder, runs, height, items, within)
    return bands * per_band


def _walk_band(
    builder: KernelBuilder,
    runs: tuple[GroupRun, ...],
    rows: int,
    items: tuple[Expr, Expr],
    body: Callable[[GroupRun, Expr, Expr, Expr], None],
) -> None:
    """Items [low, high) of one band, which has ``rows`` items per group; clipped to the band."""
    for run in runs:
        lo = items[0] - run.first_group * rows
        hi = items[1] - run.first_group * rows
        begin = tirx.truncdiv(tirx.max(lo, 0), rows)
        end = tirx.min(tirx.truncdiv(hi + (rows - 1), rows), run.groups)
        with builder.loop("group", begin, end) as group:
            first_row = builder.let("first_row", tirx.max(lo - group * rows, 0))
            end_row = builder.let("end_row", tirx.min(hi - group * rows, rows))
            body(run, group, first_row, end_row)


def walk_tiles(
    builder: KernelBuilder,
    width: Dimension,
    walk: Walk,
    begin: Expr,
    end: Expr,
    body: Callable[[Expr, Expr, int], None],
) -> None:
    """Emit the loops over rows [begin, end) and their tiles.

    All rows of a column tile come before the next tile: the input rows that neighbouring
    output rows share are then still in the L1 cache, which whole rows would overflow.
    ``body(row, first column, columns)`` emits one tile.
    """

    def rows_of(column: Expr, columns: int) -> None:
        with builder.loop("row", begin, end) as row:
            body(row, column, columns)

    if is_dynamic(width):
        widths = Widths.of(builder, width, walk.columns)
        for size in widths.each():
            with builder.loop("tile", 0, widths.count) as index:
                rows_of(widths.start(index, size), size)
        return
    for tile in width_tiles(width, walk.columns):
        if tile.count == 1:
            rows_of(tile.start, tile.width)
            continue
        with builder.loop("tile", 0, tile.count) as index:
            rows_of(index * tile.width + tile.start, tile.width)


def walk_blocks(
    builder: KernelBuilder,
    segments: tuple[Segment, ...],
    body: Callable[[Segment, Expr], None],
) -> None:
    """Emit a loop over the blocks of each segment."""
    for segment in segments:
        if segment.blocks == 1:
            body(segment, 0)
            continue
        with builder.loop("block", 0, segment.blocks) as block:
            body(segment, block)


class Place:
    """Addresses of one tile: output row ``row`` of all images, columns from ``first`` on.

    Tensors of the output's shape (the output itself is ``out``) are added by name.
    """

    def __init__(
        self,
        builder: KernelBuilder,
        window: Window,
        x_view: View,
        out_view: View,
        row: Expr,
        first: Expr,
    ) -> None:
        self._builder, self._x_view = builder, x_view
        self._first = first
        if out_view.shape[0] == 1:
            self._image, self.out_row = 0, row
        else:
            height = builder.size(out_view.shape[2])
            self._image = builder.let("image", tirx.truncdiv(row, height))
            self.out_row = builder.let("out_row", row - self._image * height)
        top = self.out_row * window.strides[0] - window.pads[0]
        left = first * window.strides[1] - window.pads[1]
        self._x = self._pixel("x_at", x_view, top, left)
        self._at: dict[str, tuple[Expr, View]] = {}
        self.add("out", out_view)

    def add(self, name: str, view: View) -> None:
        """Add a tensor of the output's shape."""
        at = self._pixel(f"{name}_at", view, self.out_row, self._first)
        self._at[name] = (at, view)

    def x_index(self, channel: Expr, row: Expr, column: Expr) -> Expr:
        """Input element ``row`` and ``column`` from the corner of the first window."""
        strides = [self._builder.size(stride) for stride in self._x_view.strides]
        return self._x + channel + (row * strides[2] + column * strides[3])

    def index(self, name: str, channel: Expr, column: int, row: int = 0) -> Expr:
        """Element of an added tensor, ``column`` columns into the tile."""
        at, view = self._at[name]
        strides = [self._builder.size(stride) for stride in view.strides]
        return at + channel + (row * strides[2] + column * strides[3])

    def _pixel(self, name: str, view: View, row: Expr, column: Expr) -> Expr:
        size = self._builder.size
        at = size(view.offset) + row * size(view.strides[2]) + column * size(view.strides[3])
        return self._builder.let(name, at + self._image * size(view.strides[0]))


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
