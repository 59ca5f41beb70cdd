"""Products on tensor cores: each warp keeps a tile of sums of 32 bits.

    for each place of the window, for a few elements of K:
        load rows of x, 16 of them for each fragment, a vector of up to 16 bytes by each thread
        for each eight columns: load their weights, multiply and add all of both

Fragments are those of mma.m16n8k32 of 8-bit integers, m16n8k16 of float16 and bfloat16, and
m16n8k8 of tf32 (PTX ISA 8.5, "Matrix Fragments"), which differ in nothing but how many elements a
word of 32 bits holds: thread t of a warp has the rows t / 4 and t / 4 + 8 of a tile of sums, and
its columns 2 (t % 4) and the next; of x it has one word of each half of K in both rows, of the
weights one word of each half in the column t / 4.

Which elements of K stand in which word is free as long as x and weights agree. A thread has
``words`` neighbouring words of x, so that it loads them at once; weights lie in the order in which
the threads of a warp read them. Where K ends within a step, words behind it are zero. Threads
behind the last row or column compute what the last ones do, and store nothing.

Where the tiles are too few to keep the device busy, several warps share one: each has every n-th
step of K, and the sums of all are added through shared memory, always in the same order.
"""

import dataclasses
import math

import numpy as np

from edgecomp.device.target import Gpu, Target
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant, load, pointer_to
from edgecomp.schedules.cpu.epilogue import Epilogue
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.cpu.product import Product, collapse_depth, collapse_rows
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.halves import stored_floats
from edgecomp.schedules.gpu.places import flat_target, gpu_of
from edgecomp.schedules.gpu.product_kernel import DeviceProduct, device_product
from edgecomp.schedules.gpu.vectors import load_vector, store_vector

#: Rows and columns of one instruction.
ROWS, COLUMNS = 16, 8
_WARP = 32
#: Threads of a warp that share a row of x, each with a word of both halves of K.
_SHARING = 4
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
        return 2 * _SHARING * self.word


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
            if blocks * stacked * slices * _WARP >= gpu.busy_items:
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


class _TensorKernel:
    """One kernel in the making."""

    def __init__(
        self, product: Product, epilogue: Epilogue, target: Target, x_dtype: str
    ) -> None:
        self.product, self.epilogue, self.target = product, epilogue, target
        self.instruction = INSTRUCTIONS[x_dtype]
        self.rows, self.depth = collapse_rows(product.rows), collapse_depth(product.depth)
        self.row_count = int(product.row_count)
        self.words = words_at_once(product, self.instruction.word)
        #: Instructions of a step: a thread's words are two for each.
        self.parts = max(1, self.words // 2)
        self.step_elements = self.parts * self.instruction.depth
        self.steps = -(-self.depth[-1].size // self.step_elements)
        self.windows = math.prod(d.size for d in self.depth[:-1])
        self.tile = choose_warp_tile(
            self.row_count,
            product.columns,
            product.groups,
            self.windows * self.steps,
            gpu_of(target),
        )
        slices = self.tile.slices
        #: Steps of a warp, and of all of them: those behind the last multiply by zero.
        self.rounds = -(-self.windows * self.steps // slices)
        self.all_steps = self.rounds * slices
        self.blocks = -(-product.columns // self.tile.columns)
        self.padded_columns = self.blocks * self.tile.columns
        down = -(-self.row_count // self.tile.rows)
        self.builder = GridBuilder(
            (self.blocks * product.groups, down, 1), (_WARP, self.tile.warps * slices, 1)
        )
        pointer = self.builder.pointer
        constants = product.groups * self.padded_columns
        self.x = pointer("x", x_dtype, product.x_elements)
        words = constants * self.all_steps * self.step_elements // self.instruction.word
        self.weights = pointer("weights", "int32", words)
        self.bias = pointer("bias", self.instruction.sums, constants)
        self.multiplier = self.residual = None
        if epilogue.multiplier is not None:
            self.multiplier = pointer("multiplier", "float32", constants)
        if epilogue.residual_dtype:
            self.residual = pointer("z", epilogue.residual_dtype, product.residual_elements)
        self.y = pointer("y", epilogue.output_dtype, product.output_elements)
        self.sums_dtype = f"{self.instruction.sums}x4"
        self.sums = self.builder.array(
            "sums", self.sums_dtype, self.tile.down * self.tile.across
        )

    @property
    def _step_words(self) -> int:
        """Words of weights that a warp reads in a step."""
        return self.tile.across * _WARP * 2 * self.parts

    def emit(self) -> None:
        """All statements."""
        builder, product, tile = self.builder, self.product, self.tile
        lane = builder.item(0)
        block: Expr = builder.group(0)
        self.group: Expr = 0
        if product.groups > 1:
            self.group = builder.let("group", tirx.truncdiv(block, self.blocks))
            block = builder.let("block", block - self.group * self.blocks)
        self.quad = builder.let("quad", tirx.truncdiv(lane, _SHARING))
        self.place = builder.let("place", lane - self.quad * _SHARING)
        own = builder.let("own", self.place * 2)
        self.column = builder.let("column", block * tile.columns + own)
        constant_at: Expr = self.column
        if product.groups > 1:
            constant_at = builder.let(
                "constant_at", self.group * self.padded_columns + self.column
            )
        self.constant_at = constant_at
        x_ats = self._find_rows()
        self._start_sums()
        # [groups][blocks][steps][fragments][threads][words]
        blocks = block + self.group * self.blocks if product.groups > 1 else block
        each = self.all_steps * self._step_words
        weight_at = builder.let("weight_at", blocks * each + lane * (2 * self.parts))
        if tile.slices > 1:
            self._accumulate_slice(x_ats, weight_at)
            self._join_slices()
            with builder.condition(builder.item(1) < 1):
                self._finish()
            return
        self._accumulate(0, x_ats, weight_at)
        self._finish()

    def _find_rows(self) -> list[Expr]:
        """Places in x of this thread's rows; those in the output and the residual are kept."""
        builder, product, tile = self.builder, self.product, self.tile
        warp: Expr = builder.group(1)
        if tile.slices == 1:
            warp = warp * tile.warps + builder.item(1)
        first = builder.let("first", warp * (tile.down * ROWS) + self.quad)
        self.row_numbers: list[Expr] = []
        self.row_ats: list[tuple[Expr, Expr]] = []
        x_ats: list[Expr] = []
        own = max(1, self.words) * self.instruction.word
        for part in range(2 * tile.down):
            number = builder.let("row", first + part * (ROWS // 2))
            inside = builder.let(
                "inside", tirx.Min(number, tirx.const(self.row_count - 1, "int32"))
            )
            indices = unravel(builder, inside, [int(d.size) for d in self.rows])
            ats: list[Expr] = []
            for tensor, offset in (
                ("x", product.x_offset),
                ("output", product.output_offset),
                ("residual", product.residual_offset),
            ):
                at: Expr = offset
                for dimension, index in zip(self.rows, indices, strict=True):
                    at = index * getattr(dimension, tensor) + at
                if product.groups > 1:
                    step = product.x_group_stride if tensor == "x" else product.columns
                    at = at + self.group * step
                at = at + (self.place * own if tensor == "x" else self.column)
                ats.append(builder.let(f"{tensor}_at", at))
            self.row_numbers.append(number)
            self.row_ats.append((ats[1], ats[2]))
            x_ats.append(ats[0])
        return x_ats

    def _start_sums(self) -> None:
        """Both rows of a tile begin with the columns' bias, in the first of several slices."""
        builder, tile, dtype = self.builder, self.tile, self.instruction.sums
        for n in range(tile.across):
            at = self.constant_at + n * COLUMNS
            pair = builder.let("start", load_vector(self.bias, at, 2), f"{dtype}x2")
            low, high = (tirx.Shuffle([pair], [k]) for k in range(2))
            if tile.slices > 1:
                low, high = (
                    builder.let(
                        "own", tirx.Select(builder.item(1) < 1, x, constant(0, dtype)), dtype
                    )
                    for x in (low, high)
                )
            start = tirx.call_pure_extern(self.sums_dtype, "pack", low, high, low, high)
            start = builder.let("starts", start, self.sums_dtype)
            for m in range(tile.down):
                builder.store(self.sums, self._index(m, n), start)

    def _index(self, m: int, n: int) -> Expr:
        return tirx.const(m * self.tile.across + n, "int32")

    def _accumulate(self, dimension: int, x_ats: list[Expr], weight_at: Expr) -> None:
        """Loops over the window, then over the run of neighbouring elements."""
        builder, depth = self.builder, self.depth
        if dimension < len(depth) - 1:
            below = math.prod(d.size for d in depth[dimension + 1 : -1])
            each = self.steps * self._step_words
            with builder.loop("k", 0, depth[dimension].size) as k:
                moved = k * int(depth[dimension].stride)
                self._accumulate(
                    dimension + 1,
                    [builder.let("x_at", at + moved) for at in x_ats],
                    builder.let("weight_at", weight_at + k * (below * each)),
                )
            return
        whole = self.depth[-1].size // self.step_elements
        if whole:
            with builder.loop("k", 0, whole) as k:
                self._step(
                    [builder.let("x_at", at + k * self.step_elements) for at in x_ats],
                    builder.let("weight_at", weight_at + k * self._step_words),
                )
        if whole < self.steps:
            begin = whole * self.step_elements
            self._step(
                [at + begin for at in x_ats],
                weight_at + whole * self._step_words,
                tirx.const(self.depth[-1].size - begin, "int32"),
            )

    def _accumulate_slice(self, x_ats: list[Expr], weight_at: Expr) -> None:
        """Every n-th step of K, all dimensions of it in one loop."""
        builder, total = self.builder, self.windows * self.steps
        run = self.depth[-1].size
        with builder.loop("round", 0, self.rounds) as round_:
            step = builder.let("step", round_ * self.tile.slices + builder.item(1))
            inside = step
            if self.all_steps != total:
                inside = builder.let("inside", tirx.Min(step, tirx.const(total - 1, "int32")))
            indices = unravel(
                builder, inside, [*(d.size for d in self.depth[:-1]), self.steps]
            )
            begin = builder.let("begin", indices[-1] * self.step_elements)
            moved: Expr = begin
            for dimension, index in zip(self.depth[:-1], indices[:-1], strict=True):
                moved = moved + index * int(dimension.stride)
            left: Expr = None
            if run % self.step_elements or self.all_steps != total:
                left = builder.let("left", run - begin)
            if self.all_steps != total:
                left = builder.let(
                    "left", tirx.Select(step < total, left, constant(0, "int32"))
                )
            self._step(
                [builder.let("x_at", at + moved) for at in x_ats],
                builder.let("weight_at", weight_at + step * self._step_words),
                left,
            )

    def _step(self, x_ats: list[Expr], weight_at: Expr, left: Expr | None = None) -> None:
        """``step_elements`` of K, of which ``left`` are there."""
        builder, tile, parts = self.builder, self.tile, self.parts
        rows = [self._words_of(at, left) for at in x_ats]
        fragments = []
        for m in range(tile.down):
            for part in range(parts):
                above, below = rows[2 * m], rows[2 * m + 1]
                low, high = 2 * part, 2 * part + 1
                packed = tirx.call_pure_extern(
                    "int32x4", "pack", above[low], below[low], above[high], below[high]
                )
                fragments.append(builder.let("a", packed, "int32x4"))
        for n in range(tile.across):
            at = weight_at + n * (_WARP * 2 * parts)
            loaded = builder.let(
                "w", load_vector(self.weights, at, 2 * parts), f"int32x{2 * parts}"
            )
            for part in range(parts):
                pair = [tirx.Shuffle([loaded], [2 * part + k]) for k in range(2)]
                weight = tirx.call_pure_extern("int32x2", "pack", *pair)
                weight = builder.let("b", weight, "int32x2")
                for m in range(tile.down):
                    total = load(self.sums, self._index(m, n))
                    total = tirx.call_pure_extern(
                        self.sums_dtype,
                        self.instruction.function,
                        fragments[m * parts + part],
                        weight,
                        total,
                    )
                    builder.store(self.sums, self._index(m, n), total)

    def _words_of(self, at: Expr, left: Expr | None) -> list[Expr]:
        """A thread's words of a row of x: two for each instruction; zero behind the end of K."""
        builder, word = self.builder, self.instruction.word
        if self.words > 1:
            count = 2 * self.parts
            name, dtype = f"words{count}", f"int32x{count}"
            loaded = builder.let(
                "x", tirx.call_pure_extern(dtype, name, pointer_to(self.x, at)), dtype
            )
            words = [tirx.Shuffle([loaded], [k]) for k in range(count)]
            begins = [self.place * (count * word) + k * word for k in range(count)]
        else:
            half = self.instruction.depth // 2
            words = [
                tirx.call_pure_extern("int32", "word", pointer_to(self.x, at + k * half))
                for k in range(2)
            ]
            begins = [self.place * word + k * half for k in range(2)]
        if left is None:
            return words
        zero = constant(0, "int32")
        return [
            builder.let("word", tirx.Select(begin < left, x, zero))
            for begin, x in zip(begins, words, strict=True)
        ]

    def _join_slices(self) -> None:
        """The first warp adds the sums of the others to its own."""
        builder, tile = self.builder, self.tile
        tiles = tile.down * tile.across
        lane, own = builder.item(0), builder.item(1)
        shared = builder.shared_array(
            "shared", self.sums_dtype, (tile.slices - 1) * tiles * _WARP
        )
        with builder.condition(own > 0):
            for index in range(tiles):
                at = (own - 1) * (tiles * _WARP) + index * _WARP + lane
                builder.store(shared, at, load(self.sums, tirx.const(index, "int32")))
        builder.barrier()
        with builder.condition(own < 1):
            for index in range(tiles):
                place = tirx.const(index, "int32")
                for other in range(tile.slices - 1):
                    at = lane + (other * tiles + index) * _WARP
                    both = load(self.sums, place) + load(shared, at)
                    builder.store(self.sums, place, both)

    def _finish(self) -> None:
        builder, tile = self.builder, self.tile
        for n in range(tile.across):
            multiplier = None
            if self.multiplier is not None:
                value = load_vector(self.multiplier, self.constant_at + n * COLUMNS, 2)
                multiplier = builder.let("m", value, "float32x2")
            for part in range(2 * tile.down):
                self._finish_pair(part, n, multiplier)

    def _finish_pair(self, part: int, n: int, multiplier: Expr | None) -> None:
        """Two neighbouring columns of one row."""
        builder, columns = self.builder, self.product.columns
        output_at, residual_at = self.row_ats[part]
        column = self.column + n * COLUMNS
        with builder.condition(
            tirx.And(self.row_numbers[part] < self.row_count, column < columns)
        ):
            sums = builder.let(
                "sum", load(self.sums, self._index(part // 2, n)), self.sums_dtype
            )
            lanes = [tirx.Shuffle([sums], [2 * (part % 2) + k]) for k in range(2)]
            pair = f"{self.instruction.sums}x2"
            total = builder.let("total", tirx.call_pure_extern(pair, "pack", *lanes), pair)
            residual = None
            if self.residual is not None:
                residual = load_vector(self.residual, residual_at + n * COLUMNS, 2)
            value = self.epilogue.apply(
                builder, flat_target(self.target), total, 2, multiplier, residual
            )
            at = output_at + n * COLUMNS
            if columns % 2 == 0:
                store_vector(builder, self.y, at, value, 2)
                return
            result = builder.let("result", value, str(value.ty.dtype))
            builder.store(self.y, at, tirx.Shuffle([result], [0]))
            with builder.condition(column + 1 < columns):
                builder.store(self.y, at + 1, tirx.Shuffle([result], [1]))


def emit_tensor_product(
    name: str,
    product: Product,
    epilogue: Epilogue,
    target: Target,
    x_dtype: str,
    weight: Array,
    bias: Array,
) -> DeviceProduct:
    """The kernel of a product; arguments as ``product_kernel.emit_product``."""
    made = _TensorKernel(product, epilogue, target, x_dtype)
    made.emit()
    packed = _packed(weight, made, product.groups)
    return device_product(
        made.builder,
        f"tensor_{name}",
        product,
        epilogue,
        packed,
        bias,
        made.padded_columns,
    )


def _packed(weight: Array, made: _TensorKernel, groups: int) -> Array:
    """Words as threads read them: [groups, blocks, steps, fragments, threads, words]."""
    tile, run, word = made.tile, made.depth[-1].size, made.instruction.word
    kept = _in_words(weight, word).reshape(groups, -1, made.windows, run)
    spare = made.padded_columns - kept.shape[1], made.steps * made.step_elements - run
    padded = np.pad(kept, ((0, 0), (0, spare[0]), (0, 0), (0, spare[1])))
    steps = made.windows * made.steps
    # A thread has the column t / 4, and t % 4 says which elements: neighbouring words, or the
    # same word of both halves of K.
    inner = (_SHARING, 2 * made.parts) if made.words > 1 else (2, _SHARING)
    split = padded.reshape(groups, made.blocks, tile.across, COLUMNS, steps, *inner, word)
    if made.words == 1:
        split = split.swapaxes(5, 6)
    ordered = split.transpose(0, 1, 4, 2, 3, 5, 6, 7)
    every = np.pad(
        ordered, ((0, 0), (0, 0), (0, made.all_steps - steps), *[(0, 0)] * (ordered.ndim - 3))
    )
    return np.ascontiguousarray(every).reshape(-1).view(np.int32)


def _in_words(weight: Array, word: int) -> Array:
    """Weights as the instruction reads them: floats of 32 bits have ten of mantissa."""
    if word > 1:
        return stored_floats(weight)
    bits = np.ascontiguousarray(weight, np.float32).view(np.uint32)
    # To nearest, ties away from zero: cvt.rna.tf32.f32. Weights are finite.
    return ((bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)
