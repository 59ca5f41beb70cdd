"""Instructions of tensor cores, and the tiles of products that warps keep."""

import dataclasses

from edgecomp.device.target import Gpu
from edgecomp.schedules.cpu.product import Product, collapse_depth

#: Rows and columns of one instruction.
ROWS, COLUMNS = 16, 8
#: Threads.
WARP = 32
#: Threads of a warp that share a row of x, each with a word of both halves of K.
SHARING = 4
#: Words that a thread may load at once, the most first.
_WORDS = (4, 2, 1)
#: Warps of a block, one below the other.
_WARPS = 4
#: Fragments of a warp: rows, columns. The larger, the less is loaded for each product.
_TILES = ((2, 4), (1, 4), (1, 2), (1, 1))
#: Warps that may share a tile, and the least steps of K that each then has.
_SLICES = (1, 2, 4, 8)
_LEAST_STEPS = 4


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A multiplication of tensor cores.

    Attributes:
        feature: of ``Gpu.features`` that a device needs for it.
        function: in the prelude.
        word: elements of x in 32 bits.
        sums: type of the sums.
    """

    feature: str
    function: str
    word: int
    sums: str

    @property
    def depth(self) -> int:
        """Elements of K: two words of each of the threads that share a row."""
        return 2 * SHARING * self.word


#: By the type that x has in memory.
INSTRUCTIONS = {
    "uint8": Instruction("int8_mma", "mma_u8", 4, "int32"),
    "int8": Instruction("int8_mma", "mma_s8", 4, "int32"),
    "float16": Instruction("fp16_mma", "mma_f16", 2, "float32"),
    "bfloat16": Instruction("bf16_mma", "mma_bf16", 2, "float32"),
    "float32": Instruction("tf32_mma", "mma_tf32", 1, "float32"),
}


@dataclasses.dataclass(frozen=True)
class WarpTile:
    """Fragments of one warp, and warps of a block.

    Attributes:
        down, across: fragments of a warp.
        warps: one below the other.
        slices: warps that share each tile; ``warps`` is 1 then.
    """

    down: int
    across: int
    warps: int
    slices: int = 1

    @property
    def rows(self) -> int:
        """Of a block."""
        return self.down * ROWS * self.warps

    @property
    def columns(self) -> int:
        """Of a block."""
        return self.across * COLUMNS


def choose_warp_tile(rows: int, columns: int, groups: int, steps: int, gpu: Gpu) -> WarpTile:
    """The largest tile with which enough warps run, by as few to a tile as that takes.

    Args:
        rows: of the product.
        columns: of a group.
        groups: of columns.
        steps: of K, that warps may share.
        gpu: the device.
    """
    for down, across in _TILES:
        for slices in _SLICES:
            if slices > 1 and steps < slices * _LEAST_STEPS:
                break
            stacked = min(_WARPS, -(-rows // (ROWS * down))) if slices == 1 else 1
            tile = WarpTile(down, across, stacked, slices)
            blocks = -(-rows // tile.rows) * -(-columns // tile.columns) * groups
            if blocks * stacked * slices * WARP >= gpu.busy_items:
                return tile
    return tile


def words_at_once(product: Product, word: int) -> int:
    """Words of x that a thread can load at once, 0 where rows do not begin at words.

    Args:
        product: addresses.
        word: elements of a word.
    """
    depth = collapse_depth(product.depth)
    steps = [product.x_offset, product.x_group_stride if product.groups > 1 else 0]
    steps += [row.x for row in product.rows if row.size != 1]
    steps += [dimension.stride for dimension in depth[:-1]]
    for words in _WORDS:
        if not any(int(step) % (words * word) for step in steps):
            return words
    return 0
