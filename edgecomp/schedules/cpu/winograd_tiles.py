"""How a Winograd convolution is cut: image tiles, blocks of them, register tiles, columns."""

import dataclasses
import math

from edgecomp.device.target import Target
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.bands import shares_rows
from edgecomp.schedules.cpu.tiles import Cut, ProductShape, Split, cheapest_cut
from edgecomp.schedules.cpu.winograd_matrices import Winograd

#: Part of the level-2 cache that the transformed tiles of a block may take, where the weights
#: stay there beside them, and where they are read again for each block (the fewer, the better).
BLOCK_SHARE_RESIDENT = 0.25
BLOCK_SHARE_STREAMED = 0.75
#: Part of the level-2 cache up to which weights stay there.
WEIGHTS_SHARE = 0.5
#: How far ahead of its use the panel of weights is asked for, while it comes to the level-2
#: cache panel by panel.
PREFETCH_BYTES = 1024
CACHE_LINE_BYTES = 64


@dataclasses.dataclass(frozen=True)
class ImageTiles:
    """Square tiles that cover an output image.

    The last tile of a row or column of tiles lies at the image's edge and overlaps the one
    before where the size is no multiple: so no tile reads beyond the padding. What overlaps is
    stored once, by the earlier tile.

    Attributes:
        outputs: of a tile, in each dimension.
        batch, height, width: of the output.
    """

    outputs: int
    batch: int
    height: int
    width: int

    @property
    def across(self) -> int:
        """Tiles beside each other."""
        return -(-self.width // self.outputs)

    @property
    def down(self) -> int:
        """Tiles above each other."""
        return -(-self.height // self.outputs)

    @property
    def count(self) -> int:
        """All tiles."""
        return self.batch * self.down * self.across

    @property
    def overlap_rows(self) -> int:
        """First rows of the lowest tiles that others store."""
        return self.down * self.outputs - self.height

    @property
    def overlap_columns(self) -> int:
        """First columns of the rightmost tiles that others store."""
        return self.across * self.outputs - self.width


@dataclasses.dataclass(frozen=True, kw_only=True)
class WinogradParams:
    """How the work is cut.

    Attributes:
        rows: image tiles in register tiles (they are the rows of the products).
        vectors: of the output channels in column blocks.
        block_parts: register tiles of a block, a multiple of ``unit_parts``.
        unit_parts: register tiles that threads do not share: one, or a block.
        channel_stride: elements of the workspace between neighbouring image tiles.
        input_stride: elements between products in the transformed input.
        sums_stride: elements between products in the sums of a column block.
        columns: of the widest column block.
        prefetch_bytes: how far ahead of its use the panel of weights is asked for, 0 for not.
    """

    rows: Split
    vectors: Split
    block_parts: int
    unit_parts: int
    channel_stride: int
    input_stride: int
    sums_stride: int
    columns: int
    prefetch_bytes: int

    @property
    def blocks(self) -> int:
        """Blocks of image tiles."""
        return -(-self.rows.count // self.block_parts)

    @property
    def units(self) -> int:
        """Groups of register tiles that threads do not share."""
        return -(-self.rows.count // self.unit_parts)


def params_for(
    tiles: ImageTiles,
    channels: int,
    columns: int,
    matrices: Winograd,
    arithmetic: Arithmetic,
    target: Target,
    cut: Cut | None = None,
) -> WinogradParams:
    """Blocks whose transformed tiles, for all channels, stay in the level-2 cache.

    Args:
        tiles: of the output.
        channels: of the input.
        columns: channels of the output.
        matrices: of the tiles.
        arithmetic: of the products.
        target: the device.
        cut: register tile of the products, the cheapest where None.
    """
    lanes = arithmetic.lanes
    shape = product_shape(tiles.count, channels, columns, matrices, arithmetic)
    _, rows, vectors = cut or cheapest_cut(shape, arithmetic, target)
    channel_stride = arithmetic.row_stride(channels)
    width = vectors.large * lanes
    tile_bytes = matrices.inputs**2 * (channel_stride + width) * 4
    resident = weights_resident(channels, columns, matrices, target)
    share = BLOCK_SHARE_RESIDENT if resident else BLOCK_SHARE_STREAMED
    most = target.core.l2_bytes * share / (tile_bytes * rows.large)
    blocks = -(-rows.count // max(1, math.floor(most)))
    block_parts = -(-rows.count // blocks)
    block_rows = block_parts * rows.large
    return WinogradParams(
        rows=rows,
        vectors=vectors,
        block_parts=block_parts,
        unit_parts=1 if _by_rows(tiles, channels, columns, matrices) else block_parts,
        channel_stride=channel_stride,
        input_stride=_spread(block_rows * channel_stride),
        sums_stride=_spread(block_rows * width),
        columns=width,
        # Only measured on x86: in-order cores would pay an issue slot for each.
        prefetch_bytes=PREFETCH_BYTES if target.core.isa == "x86_64" else 0,
    )


def _by_rows(tiles: ImageTiles, channels: int, columns: int, matrices: Winograd) -> bool:
    """Whether threads share the image tiles rather than the columns."""
    weights = matrices.inputs**2 * channels * columns
    transformed = tiles.count * matrices.inputs**2 * channels
    results = tiles.batch * tiles.height * tiles.width * columns
    return shares_rows(weights, transformed + results)


def weights_resident(channels: int, columns: int, matrices: Winograd, target: Target) -> bool:
    """Whether the transformed weights stay in the level-2 cache from block to block."""
    weights = 4 * matrices.inputs**2 * channels * columns
    return weights <= target.core.l2_bytes * WEIGHTS_SHARE


def product_shape(
    rows: int, channels: int, columns: int, matrices: Winograd, arithmetic: Arithmetic
) -> ProductShape:
    """The products of one convolution as groups."""
    return ProductShape(
        rows=(rows,),
        vectors=-(-columns // arithmetic.lanes),
        groups=matrices.inputs**2,
        depth=channels,
        row_bytes=4 * channels,
        row_steps=(4 * arithmetic.row_stride(channels),),
    )


def _spread(elements: int) -> int:
    """At least so many elements, an odd number of cache lines.

    The products of one tile are stored that far apart: an even number would put them into few
    sets of the level-1 cache.
    """
    lines = -(-elements * 4 // CACHE_LINE_BYTES)
    return (lines | 1) * CACHE_LINE_BYTES // 4


def image_tiles(shape: tuple[int, ...], outputs: int) -> ImageTiles:
    """Tiles of an output [N, M, OH, OW]."""
    batch, _, height, width = shape
    return ImageTiles(outputs, batch, height, width)
