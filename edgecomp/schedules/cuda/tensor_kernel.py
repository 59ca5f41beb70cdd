"""Products of 8-bit integers on tensor cores: each warp keeps a tile of 32-bit sums.

    for each place of the window, for 32 elements of K:
        load rows of x, 16 of them for each fragment, words of four elements
        for each eight columns: load their weights, multiply and add all of both

Fragments are those of mma.m16n8k32 (PTX ISA 8.5, "Matrix Fragments for mma.m16n8k32"): thread t of
a warp has the rows t / 4 and t / 4 + 8 of a tile of sums, and its columns 2 (t % 4) and the next.
Weights lie in the order in which the threads of a warp read them. Where K is no multiple of 32, x
is read on behind it and multiplied by weights of zero: integers stay exact. Threads behind the
last row or column compute what the last ones do, and store nothing.
"""

import dataclasses
import math

import numpy as np

from edgecomp.device.target import Gpu, Target
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, load, pointer_to
from edgecomp.schedules.cpu.epilogue import Epilogue
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.cpu.product import Product, collapse_depth, collapse_rows
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import flat_target, gpu_of
from edgecomp.schedules.gpu.product_kernel import DeviceProduct, device_product
from edgecomp.schedules.gpu.vectors import load_vector, store_vector

#: Elements of K, rows and columns of one instruction.
DEPTH, ROWS, COLUMNS = 32, 16, 8
#: Elements of x that a thread loads at once.
WORD = 4
_WARP = 32
#: Warps of a block, one below the other.
_WARPS = 4
#: Fragments of a warp: rows, columns. The larger, the less is loaded for each product.
_TILES = ((2, 4), (1, 4), (1, 2), (1, 1))


@dataclasses.dataclass(frozen=True)
class WarpTile:
    """Fragments of one warp, and warps of a block."""

    down: int
    across: int
    warps: int

    @property
    def rows(self) -> int:
        """Of a block."""
        return self.down * ROWS * self.warps

    @property
    def columns(self) -> int:
        """Of a block."""
        return self.across * COLUMNS


def choose_warp_tile(rows: int, columns: int, groups: int, gpu: Gpu) -> WarpTile:
    """The largest tile with which enough warps run, the smallest where there are never enough."""
    for down, across in _TILES:
        warps = min(_WARPS, -(-rows // (ROWS * down)))
        tile = WarpTile(down, across, warps)
        blocks = -(-rows // tile.rows) * -(-columns // tile.columns) * groups
        if blocks * warps * _WARP >= gpu.busy_items:
            break
    return tile


class _TensorKernel:
    """One kernel in the making."""

    def __init__(
        self, product: Product, epilogue: Epilogue, target: Target, x_dtype: str
    ) -> None:
        self.product, self.epilogue, self.target = product, epilogue, target
        self.rows, self.depth = collapse_rows(product.rows), collapse_depth(product.depth)
        self.row_count = int(product.row_count)
        self.tile = choose_warp_tile(
            self.row_count, product.columns, product.groups, gpu_of(target)
        )
        self.steps = -(-self.depth[-1].size // DEPTH)
        self.windows = math.prod(d.size for d in self.depth[:-1])
        self.blocks = -(-product.columns // self.tile.columns)
        self.padded_columns = self.blocks * self.tile.columns
        down = -(-self.row_count // self.tile.rows)
        self.builder = GridBuilder(
            (self.blocks * product.groups, down, 1), (_WARP, self.tile.warps, 1)
        )
        self.multiply = "mma_u8" if x_dtype == "uint8" else "mma_s8"
        pointer = self.builder.pointer
        constants = product.groups * self.padded_columns
        self.x = pointer("x", x_dtype, product.x_elements)
        words = constants * self.windows * self.steps * DEPTH // WORD
        self.weights = pointer("weights", "int32", words)
        self.bias = pointer("bias", "int32", constants)
        self.multiplier = self.residual = None
        if epilogue.multiplier is not None:
            self.multiplier = pointer("multiplier", "float32", constants)
        if epilogue.residual_dtype:
            self.residual = pointer("z", epilogue.residual_dtype, product.residual_elements)
        self.y = pointer("y", epilogue.output_dtype, product.output_elements)
        self.sums = self.builder.array("sums", "int32x4", self.tile.down * self.tile.across)

    def emit(self) -> None:
        """All statements."""
        builder, product, tile = self.builder, self.product, self.tile
        lane = builder.item(0)
        block: Expr = builder.group(0)
        self.group: Expr = 0
        if product.groups > 1:
            self.group = builder.let("group", tirx.truncdiv(block, self.blocks))
            block = builder.let("block", block - self.group * self.blocks)
        self.quad = builder.let("quad", tirx.truncdiv(lane, 4))
        self.place = builder.let("place", lane - self.quad * 4)
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
        # [groups][blocks][windows][steps][fragments][threads][2 words]
        blocks = block + self.group * self.blocks if product.groups > 1 else block
        each = self.windows * self.steps * tile.across * _WARP * 2
        weight_at = builder.let("weight_at", blocks * each + lane * 2)
        self._accumulate(0, x_ats, weight_at)
        self._finish()

    def _find_rows(self) -> list[Expr]:
        """Places in x of this thread's rows; those in the output and the residual are kept."""
        builder, product, tile = self.builder, self.product, self.tile
        warp = builder.group(1) * tile.warps + builder.item(1)
        first = builder.let("first", warp * (tile.down * ROWS) + self.quad)
        self.row_numbers: list[Expr] = []
        self.row_ats: list[tuple[Expr, Expr]] = []
        x_ats: list[Expr] = []
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
                at = at + (self.place * WORD if tensor == "x" else self.column)
                ats.append(builder.let(f"{tensor}_at", at))
            self.row_numbers.append(number)
            self.row_ats.append((ats[1], ats[2]))
            x_ats.append(ats[0])
        return x_ats

    def _start_sums(self) -> None:
        """Both rows of a tile begin with the columns' bias."""
        builder, tile = self.builder, self.tile
        for n in range(tile.across):
            at = self.constant_at + n * COLUMNS
            pair = builder.let("start", load_vector(self.bias, at, 2), "int32x2")
            low, high = (tirx.Shuffle([pair], [k]) for k in range(2))
            start = tirx.call_pure_extern("int32x4", "pack", low, high, low, high)
            start = builder.let("starts", start, "int32x4")
            for m in range(tile.down):
                builder.store(self.sums, self._index(m, n), start)

    def _index(self, m: int, n: int) -> Expr:
        return tirx.const(m * self.tile.across + n, "int32")

    def _accumulate(self, dimension: int, x_ats: list[Expr], weight_at: Expr) -> None:
        """Loops over the window, then over the run of neighbouring elements."""
        builder, depth, tile = self.builder, self.depth, self.tile
        each = self.steps * tile.across * _WARP * 2
        if dimension < len(depth) - 1:
            below = math.prod(d.size for d in depth[dimension + 1 : -1])
            with builder.loop("k", 0, depth[dimension].size) as k:
                moved = k * int(depth[dimension].stride)
                self._accumulate(
                    dimension + 1,
                    [builder.let("x_at", at + moved) for at in x_ats],
                    builder.let("weight_at", weight_at + k * (below * each)),
                )
            return
        with builder.loop("k", 0, self.steps) as k:
            step = tile.across * _WARP * 2
            self._step(
                [builder.let("x_at", at + k * DEPTH) for at in x_ats],
                builder.let("weight_at", weight_at + k * step),
            )

    def _step(self, x_ats: list[Expr], weight_at: Expr) -> None:
        """``DEPTH`` elements of K."""
        builder, tile = self.builder, self.tile
        fragments = []
        for m in range(tile.down):
            words = [
                tirx.call_pure_extern(
                    "int32", "word", pointer_to(self.x, x_ats[2 * m + row] + half * DEPTH // 2)
                )
                for half in range(2)
                for row in range(2)
            ]
            packed = tirx.call_pure_extern("int32x4", "pack", *words)
            fragments.append(builder.let("a", packed, "int32x4"))
        for n in range(tile.across):
            at = weight_at + n * (_WARP * 2)
            weight = builder.let("b", load_vector(self.weights, at, 2), "int32x2")
            for m, fragment in enumerate(fragments):
                total = load(self.sums, self._index(m, n))
                total = tirx.call_pure_extern(
                    "int32x4", self.multiply, fragment, weight, total
                )
                builder.store(self.sums, self._index(m, n), total)

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
            sums = builder.let("sum", load(self.sums, self._index(part // 2, n)), "int32x4")
            lanes = [tirx.Shuffle([sums], [2 * (part % 2) + k]) for k in range(2)]
            total = tirx.call_pure_extern("int32x2", "pack", *lanes)
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
    """The kernel of a product of 8-bit integers; arguments as ``product_kernel.emit_product``."""
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
    """Words as threads read them: [groups, blocks, windows, steps, fragments, threads, 2]."""
    tile, run = made.tile, made.depth[-1].size
    kept = weight.reshape(groups, -1, made.windows, run)
    spare = made.padded_columns - kept.shape[1], made.steps * DEPTH - run
    padded = np.pad(kept, ((0, 0), (0, spare[0]), (0, 0), (0, spare[1])))
    split = padded.reshape(
        groups, made.blocks, tile.across, COLUMNS, made.windows, made.steps, 2, 4, WORD
    )
    # A thread has column t / 4, and the elements 4 (t % 4) of each half of K.
    ordered = split.transpose(0, 1, 4, 5, 2, 3, 7, 6, 8)
    return np.ascontiguousarray(ordered).reshape(-1).view(np.int32)
