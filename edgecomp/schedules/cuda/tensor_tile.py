"""Instructions of tensor cores, what each thread of a warp has of them, and tiles of products."""

import dataclasses

from edgecomp.device.target import Gpu
from edgecomp.schedules.cpu.product import Product, collapse_depth, collapse_rows

#: Threads.
WARP = 32
#: Words that a thread may load at once, the most first.
_WORDS = (4, 2, 1)
#: Warps of a block, one below the other.
_WARPS = 4
#: Warps that may share a tile, and the least steps of K that each then has.
_SLICES = (1, 2, 4, 8)
_LEAST_STEPS = 4
_Parts = tuple[tuple[int, int, int], ...]


@dataclasses.dataclass(frozen=True)
class Fragments:
    """Which elements of an instruction's matrices a thread has.

    Numbers that depend on the thread are sums of parts of its number in the warp: ``(shift, bits,
    factor)`` takes so many bits behind ``shift`` others, times ``factor``.

    Attributes:
        rows: of x, in an instruction.
        columns: of the weights.
        sharing: threads that have the same row of x, each with a word of both halves of K.
        x_row: the thread's first row of x.
        x_rows: all of them, from the first.
        place: which of the threads that share a row it is.
        weights: which words of the weights it has, among those of all columns.
        column: the thread's column, whose weights it has.
        sum_row: its first row of the sums.
        sum_rows: both of them, from the first.
        sum_column: the first column of its sums.
        sum_columns: pairs of neighbouring columns, from the first.
        tiles: fragments of a warp, down and across. The larger, the less is loaded for each
            product; the largest sums of 7 warps fit into 48 KB.
        among: what the prelude calls those threads that share a row of the sums: ``quad_max``.
        exchange: function of the prelude that makes words of a thread's rows of sums words of its
            row of x; none where they are the same.
    """

    rows: int
    columns: int
    sharing: int
    x_row: _Parts
    x_rows: tuple[int, ...]
    place: _Parts
    weights: _Parts
    column: _Parts
    sum_row: _Parts
    sum_rows: tuple[int, int]
    sum_column: _Parts
    sum_columns: tuple[int, ...]
    tiles: tuple[tuple[int, int], ...]
    among: str = "quad"
    exchange: str = ""

    @property
    def sums(self) -> int:
        """Of a thread: pairs of both rows, for one pair of columns after the other."""
        return 4 * len(self.sum_columns)

    @property
    def row_sums(self) -> int:
        """Of a thread in a row."""
        return 2 * len(self.sum_columns)

    @property
    def x_words(self) -> int:
        """Words of x that a thread has for an instruction."""
        return 2 * len(self.x_rows)


#: 16 rows of which four threads each share two.
SIXTEEN_ROWS = Fragments(
    rows=16,
    columns=8,
    sharing=4,
    x_row=((2, 3, 1),),
    x_rows=(0, 8),
    place=((0, 2, 1),),
    weights=((0, 5, 1),),
    column=((2, 3, 1),),
    sum_row=((2, 3, 1),),
    sum_rows=(0, 8),
    sum_column=((0, 2, 2),),
    sum_columns=(0,),
    tiles=((2, 4), (1, 4), (1, 2), (1, 1)),
)
#: Four products of 8 rows and the same 8 columns, each by two groups of four threads: those of
#: bits 2 and 3 of their number, and of bit 4. Every thread has a row of x of its own.
QUAD_PAIRS = Fragments(
    rows=32,
    columns=8,
    sharing=1,
    x_row=((2, 2, 8), (0, 2, 1), (4, 1, 4)),
    x_rows=(0,),
    place=(),
    weights=((0, 2, 1), (4, 1, 4)),
    column=((0, 2, 1), (4, 1, 4)),
    sum_row=((2, 2, 8), (0, 1, 1), (4, 1, 4)),
    sum_rows=(0, 2),
    sum_column=((1, 1, 2),),
    sum_columns=(0, 4),
    tiles=((1, 4), (1, 2), (1, 1)),
    among="twin",
    exchange="quads_of_sums",
)
#: 16 rows and 16 columns, in shared memory on their way to and from the instruction: two threads load a
#: row or a column, and four have the sums of two rows. All of them read the weights at one place.
SQUARES = Fragments(
    rows=16,
    columns=16,
    sharing=2,
    x_row=((1, 4, 1),),
    x_rows=(0,),
    place=((0, 1, 1),),
    weights=(),
    column=((1, 4, 1),),
    sum_row=((2, 3, 1),),
    sum_rows=(0, 8),
    sum_column=((0, 2, 4),),
    sum_columns=(0, 2),
    tiles=((2, 2), (1, 2), (1, 1)),
)


@dataclasses.dataclass(frozen=True)
class Staging:
    """How numbers come to an instruction whose manual gives no order of its fragments, and back.

    A warp has shared memory for it, where they lie as a matrix does: functions of the prelude store
    what threads have by ``Fragments`` there and let the instruction load it, or the other way round.
    Between the two a fragment is words that nobody but the instruction knows the meaning of; sums
    may be added to other sums all the same, since fragments of one type are alike.

    Attributes:
        rows: of words of x to fragments of the first operand.
        columns: of words of another value to fragments of the second one.
        weights: of a place in memory, where weights lie in order, to a fragment of the second one.
        sums: of a fragment of sums to those of each thread.
        exchange: of words of both rows of a thread's sums to a fragment of the first operand.
    """

    rows: str
    columns: str
    weights: str
    sums: str
    exchange: str

    @staticmethod
    def of_bytes(kind: str) -> "Staging":
        """Of elements of 8 bits: s8 or u8."""
        return Staging(
            rows=f"wmma_rows_{kind}",
            columns=f"wmma_columns_{kind}",
            weights=f"wmma_weights_{kind}",
            sums="wmma_sums",
            exchange=f"wmma_exchange_{kind}",
        )


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A multiplication of tensor cores.

    Attributes:
        feature: of ``Gpu.features`` that a device needs for it.
        function: in the prelude.
        word: elements of x in 32 bits.
        sums: type of the sums.
        fragments: of a thread.
        staging: None where the manual says what a thread has of a fragment.
        x_shift: x is multiplied as what is stored less this.
    """

    feature: str
    function: str
    word: int
    sums: str
    fragments: Fragments = SIXTEEN_ROWS
    staging: Staging | None = None
    x_shift: int = 0

    @property
    def depth(self) -> int:
        """Elements of K: two words of each of the threads that share a row."""
        return 2 * self.fragments.sharing * self.word


#: wmma: both operands are signed, or both are not.
_SIGNED_SQUARES = Instruction(
    "int8_wmma", "wmma_s8", 4, "int32", SQUARES, Staging.of_bytes("s8")
)
#: By the type that x has in memory, those that are better first.
INSTRUCTIONS = {
    "uint8": (
        Instruction("int8_mma", "mma_u8", 4, "int32"),
        dataclasses.replace(_SIGNED_SQUARES, x_shift=128),
    ),
    "int8": (Instruction("int8_mma", "mma_s8", 4, "int32"), _SIGNED_SQUARES),
    "float16": (
        Instruction("fp16_mma", "mma_f16", 2, "float32"),
        Instruction("fp16_quad_mma", "mma_f16_quads", 2, "float32", QUAD_PAIRS),
    ),
    "bfloat16": (Instruction("bf16_mma", "mma_bf16", 2, "float32"),),
    "float32": (Instruction("tf32_mma", "mma_tf32", 1, "float32"),),
}


def instruction_for(dtype: str, gpu: Gpu) -> Instruction | None:
    """That of a device for elements of x; None where it has none."""
    every = INSTRUCTIONS.get(dtype, ())
    return next((i for i in every if i.feature in gpu.features), None)


@dataclasses.dataclass(frozen=True)
class WarpTile:
    """Fragments of one warp, and warps of a block.

    Attributes:
        height, width: rows and columns of a fragment.
        down, across: fragments of a warp.
        warps: one below the other.
        slices: warps that share each tile; ``warps`` is 1 then.
    """

    height: int
    width: int
    down: int
    across: int
    warps: int
    slices: int = 1

    @property
    def rows(self) -> int:
        """Of a block."""
        return self.down * self.height * self.warps

    @property
    def columns(self) -> int:
        """Of a block."""
        return self.across * self.width


def choose_warp_tile(
    fragments: Fragments,
    rows: int,
    columns: int,
    groups: int,
    steps: int,
    gpu: Gpu,
    least_across: int = 1,
) -> WarpTile:
    """The largest tile with which enough warps run, by as few to a tile as that takes.

    Args:
        fragments: of the instruction.
        rows: of the product.
        columns: of a group.
        groups: of columns.
        steps: of K, that warps may share.
        gpu: the device.
        least_across: fragments of a warp side by side, at least.
    """
    for down, across in fragments.tiles:
        if across < least_across:
            break
        for slices in _SLICES:
            if slices > 1 and steps < slices * _LEAST_STEPS:
                break
            height = fragments.rows
            stacked = min(_WARPS, -(-rows // (height * down))) if slices == 1 else 1
            tile = WarpTile(height, fragments.columns, down, across, stacked, slices)
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
    steps += [row.x for row in collapse_rows(product.rows)]
    steps += [dimension.stride for dimension in depth[:-1]]
    for words in _WORDS:
        if not any(int(step) % (words * word) for step in steps):
            return words
    return 0
