"""What a Winograd kernel computes, and what its loops hand to each other."""

import dataclasses

from edgecomp.plan.values import View
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder
from edgecomp.schedules.cpu.paired_numbers import Pairing
from edgecomp.schedules.cpu.winograd_matrices import Winograd
from edgecomp.schedules.cpu.winograd_tiles import ImageTiles, WinogradParams


@dataclasses.dataclass(frozen=True)
class Constants:
    """What lies behind the biases where products have pairs.

    Attributes:
        columns: of one product, padding included.
        factors: index of the first product's factors of x.
        starts: index of what its accumulators start from.
        multipliers: index of its multipliers.
        elements: of all.
    """

    columns: int
    factors: int
    starts: int
    multipliers: int
    elements: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class WinogradLayer:
    """What the kernel computes.

    Attributes:
        x, output: images [N, C, H, W] and [N, M, OH, OW], channels last.
        residual: of the output's shape, or None.
        pads: top and left padding.
        matrices: of the tiles.
        tiles: of the output.
        params: how the work is cut.
        pairing: of the channels, None where they are multiplied one by one.
        has_factors: whether pairs scale each channel by its own factor.
    """

    x: View
    output: View
    residual: View | None
    pads: tuple[int, int]
    matrices: Winograd
    tiles: ImageTiles
    params: WinogradParams
    pairing: Pairing | None = None
    has_factors: bool = False

    @property
    def products(self) -> int:
        """Products of matrices, n x n."""
        return self.matrices.inputs**2

    def constants(self, lanes: int) -> Constants:
        """Where they lie in the buffer of the biases."""
        padded = self.params.vectors.extent * lanes
        if self.pairing is None:
            return Constants(padded, 0, 0, 0, padded)
        factors = padded
        starts = factors + self.has_factors * self.products * self.pairing.depth
        multipliers = starts + self.products * padded
        return Constants(
            padded, factors, starts, multipliers, multipliers + self.products * padded
        )

    @property
    def work_items(self) -> int:
        """Column blocks of all units of tiles."""
        return self.params.units * self.params.vectors.count

    @property
    def grain_items(self) -> int:
        """Items of a unit: a range that has fewer transforms for others too."""
        return self.params.vectors.count if self.params.units > 1 else 1

    @property
    def workspace_elements(self) -> int:
        """float32 elements of a thread's workspace: transformed input, then sums."""
        return self.products * (self.params.input_stride + self.params.sums_stride)


@dataclasses.dataclass(frozen=True)
class Pointers:
    """Buffers of the kernel's parameters."""

    x: Buffer
    weights: Buffer
    bias: Buffer
    residual: Buffer | None
    output: Buffer
    workspace: Buffer


@dataclasses.dataclass(frozen=True)
class Tile:
    """One image tile.

    Attributes:
        image: its image.
        row, column: first of its outputs.
        not_lowest, not_rightmost: conditions under which no earlier tile stores its first rows
            and columns.
    """

    image: Expr
    row: Expr
    column: Expr
    not_lowest: Expr
    not_rightmost: Expr


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of image tiles: register tiles [first_part, end_part), tiles [first, end)."""

    first_part: Expr
    end_part: Expr
    first: Expr
    end: Expr


@dataclasses.dataclass(frozen=True)
class Columns:
    """One column block.

    Attributes:
        vector: its first vector of columns.
        vectors: how many it has, known at build time.
        is_last: condition that it holds the last columns; None where it never does.
    """

    vector: Expr
    vectors: int
    is_last: Expr | None


def declare(builder: KernelBuilder, layer: WinogradLayer, lanes: int) -> Pointers:
    """Parameters of a kernel with ``lanes`` columns in a vector, in their order."""
    padded = layer.params.vectors.extent * lanes
    weights = layer.products * layer.x.shape[1] * padded
    x = builder.pointer("x", "float32", layer.x.elements)
    panels = builder.pointer("weights", "float32", weights)
    bias = builder.pointer("bias", "float32", layer.constants(lanes).elements)
    residual = None
    if layer.residual is not None:
        residual = builder.pointer("residual", "float32", layer.residual.elements)
    output = builder.pointer("output", "float32", layer.output.elements)
    workspace = builder.pointer("workspace", "float32", layer.workspace_elements)
    return Pointers(x, panels, bias, residual, output, workspace)


def place_of(builder: KernelBuilder, tiles: ImageTiles, number: Expr) -> Tile:
    """Where image tile ``number`` lies."""
    image: Expr = 0
    if tiles.batch > 1:
        per_image = tiles.down * tiles.across
        image = builder.let("image", tirx.truncdiv(number, per_image))
        number = builder.let("in_image", number - image * per_image)
    down = builder.let("down", tirx.truncdiv(number, tiles.across))
    across = builder.let("across", number - down * tiles.across)
    row = tirx.min(down * tiles.outputs, tiles.height - tiles.outputs)
    column = tirx.min(across * tiles.outputs, tiles.width - tiles.outputs)
    return Tile(
        image,
        builder.let("out_row", row),
        builder.let("out_column", column),
        down < tiles.down - 1,
        across < tiles.across - 1,
    )


def pixel(view: View, tile: Tile, row: int, column: int) -> Expr:
    """Index of channel 0 of one of a tile's outputs."""
    strides = view.strides
    corner = view.offset + tile.image * strides[0] + tile.row * strides[2]
    return corner + tile.column * strides[3] + (row * strides[2] + column * strides[3])
