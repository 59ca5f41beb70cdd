"""What is known of an implicit GEMM's kernel before its loops are emitted."""

import dataclasses
import functools
import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.sizes import Dimension, Size, quotient
from edgecomp.plan.values import Array
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.epilogue import Epilogue
from edgecomp.schedules.cpu.image_tiles import ImageTiles
from edgecomp.schedules.cpu.product import (
    Product,
    RunDimension,
    collapse_depth,
    collapse_rows,
)
from edgecomp.schedules.cpu.reach import Reach, greatest_x, reach_of
from edgecomp.schedules.cpu.row_tiles import DynamicRowTiles, RowTiles
from edgecomp.schedules.cpu.runtime_scale import RuntimePointers
from edgecomp.schedules.cpu.tiles import TileParams

#: The fewest tiles that share asking for the next panel where a run decides how many there are.
_LEAST_PREFETCH_TILES = 2


@dataclasses.dataclass(frozen=True)
class Pointers:
    """Buffers of the kernel's parameters."""

    x: Buffer
    weights: Buffer
    bias: Buffer
    multiplier: Buffer | None
    residual: Buffer | None
    output: Buffer
    runtime: RuntimePointers | None = None


@dataclasses.dataclass(frozen=True)
class Block:
    """One column block of one group.

    Attributes:
        group: number of the group.
        vector: its first vector of columns within the group.
        vectors: how many it has, known at build time.
        is_last: condition that it is the group's last; None where it never is.
        panel: index of its weights.
        chunk_start: first tile of the chunk.
        share: elements of the next column block's panel that a tile of rows asks for; None
            where tiles ask for none.
        depth_share: the same for one element of K.
        zero: 0, which LLVM takes for a number that depends on the tile; None on x86.
        bias_shift: 0 or such a number.
        scale_shift: 0 or another.
    """

    group: Expr
    vector: Expr
    vectors: int
    is_last: Expr | None
    panel: Expr
    chunk_start: Expr
    share: Expr | None = None
    depth_share: Expr = 0
    zero: Expr | None = None
    bias_shift: Expr = 0
    scale_shift: Expr = 0


@dataclasses.dataclass(frozen=True)
class GemmPlan:
    """One kernel: what it computes and how that is cut.

    Attributes:
        product: addresses.
        arithmetic: of the inner step.
        epilogue: of the results.
        target: the device.
        params: tiles.
        reach: of the accumulators.
        row_count: rows of a run, where they differ from run to run; the product has the most.
        image: addresses where they differ as well; ``product`` has those of the largest sizes.
    """

    product: Product
    arithmetic: Arithmetic
    epilogue: Epilogue
    target: Target
    params: TileParams
    reach: Reach
    row_count: Size | None = None
    image: Product | None = None

    @property
    def addresses(self) -> Product:
        """Where rows and runs lie."""
        return self.image or self.product

    @property
    def vectors(self) -> int:
        """Vectors of accumulators that hold the columns of one group."""
        return -(-self.product.columns // self.arithmetic.lanes)

    @functools.cached_property
    def runs(self) -> tuple[RunDimension, ...]:
        """Dimensions of K outside a contiguous run."""
        return collapse_depth(self.addresses.depth)[:-1]

    @functools.cached_property
    def run_length(self) -> int:
        """Contiguous elements of K."""
        return collapse_depth(self.addresses.depth)[-1].size

    @property
    def padded_run(self) -> int:
        """The same, in whole groups."""
        return -(-self.run_length // self.arithmetic.group) * self.arithmetic.group

    @property
    def depth(self) -> int:
        """K, padding included."""
        return math.prod(d.size for d in self.runs) * self.padded_run

    @property
    def stored_depth(self) -> int:
        """Elements of a column in the packed weights."""
        return self.depth // self.arithmetic.weights_per_element

    @functools.cached_property
    def row_tiles(self) -> RowTiles:
        """Addresses of the register tiles' rows."""
        if self.image is not None:
            return ImageTiles(self.image, self.image.rows[-1:], self.params)
        kind = RowTiles if self.row_count is None else DynamicRowTiles
        return kind(self.product, collapse_rows(self.product.rows), self.params)

    @property
    def dynamic_chunks(self) -> Dimension:
        """Chunks of a run: as few as hold all rows, for each reads all weights."""
        rows = self.params.rows.large * self.params.chunk_tiles
        assert self.row_count is not None
        return quotient(self.row_count + (rows - 1), rows)

    @property
    def items(self) -> Dimension:
        """Work items of a run."""
        if self.row_count is None:
            return self.work_items
        return self.dynamic_chunks * (self.work_items // self.params.row_chunks)

    @property
    def prefetch_tiles(self) -> int:
        """The fewest tiles that share asking for the next column block's panel."""
        return self.params.chunk_tiles if self.row_count is None else _LEAST_PREFETCH_TILES

    @property
    def block_chunks(self) -> int:
        """Work items that share the column blocks of a group."""
        return -(-self.params.vectors.count // self.params.chunk_blocks)

    @property
    def parts(self) -> int:
        """Work items that share the row tiles of a chunk."""
        return -(-self.params.chunk_tiles // self.params.part_tiles)

    @property
    def work_items(self) -> int:
        """Of the kernel."""
        outer = self.params.row_chunks * self.product.groups
        return outer * self.block_chunks * self.parts

    @property
    def narrows(self) -> bool:
        """Whether several vectors of a row become one of bytes."""
        return _narrows(self.epilogue, self.target)

    @property
    def tile_name(self) -> str:
        """Rows x columns of the register tile."""
        inner = math.prod(d.size for d in self.row_tiles.dimensions[self.params.axis + 1 :])
        columns = self.params.vectors.large * self.arithmetic.lanes
        return f"{self.params.rows.large * inner}x{columns}"

    @property
    def unrolled(self) -> bool:
        """Whether K takes no loop that repeats."""
        steps = self.padded_run // self.arithmetic.step
        return not self.runs and steps <= self.arithmetic.loop_steps(steps)

    @property
    def bias_copies(self) -> int:
        """How often each column block's biases lie behind each other: once per row of a tile.

        Accumulators then start by loads in pairs instead of copies of registers, which take
        slots of the units that multiply.
        """
        if not (self.unrolled and self.arithmetic.loads_biases):
            return 1
        inner: int = math.prod(
            d.size for d in self.row_tiles.dimensions[self.params.axis + 1 :]
        )
        return self.params.rows.large * inner

    @property
    def bias_elements(self) -> int:
        """Of the constant that accumulators start from."""
        return self.product.groups * self.vectors * self.arithmetic.lanes * self.bias_copies

    @property
    def row_ends(self) -> tuple[tuple[int, int], ...]:
        """(work items, rows that they compute) at the end of each chunk."""
        chunks, axis = self.params.row_chunks, self.params.axis
        items = self.work_items // chunks
        sizes = [dimension.size for dimension in self.row_tiles.dimensions]
        split, inner = self.params.rows, math.prod(sizes[axis + 1 :])
        starts = [start for start, _ in split.starts()]
        ends = []
        for chunk in range(1, chunks + 1):
            outer, part = divmod(chunk * self.row_tiles.count // chunks, split.count)
            rows = outer * split.extent + (starts[part] if part else 0)
            ends.append((chunk * items, rows * inner))
        return tuple(ends)

    def declare(self, builder: KernelBuilder) -> Pointers:
        """Parameters, in the order of GemmKernel."""
        product, arithmetic = self.product, self.arithmetic
        padded = product.groups * self.vectors * arithmetic.lanes
        x = builder.pointer("x", arithmetic.x_dtype, product.x_elements)
        weights = builder.pointer(
            "weights", arithmetic.weight_dtype, padded * self.stored_depth
        )
        bias = builder.pointer("bias", arithmetic.sum_dtype, self.bias_elements)
        multiplier = residual = None
        if self.epilogue.multiplier is not None:
            multiplier = builder.pointer("multiplier", "float32", padded)
        runtime = None
        if self.epilogue.runtime is not None:
            runtime = RuntimePointers.declare(builder, padded, self.epilogue.runtime)
        if self.epilogue.residual_dtype:
            residual = builder.pointer(
                "residual", self.epilogue.residual_dtype, product.residual_elements
            )
        output = builder.pointer("output", self.epilogue.output_dtype, product.output_elements)
        return Pointers(x, weights, bias, multiplier, residual, output, runtime)


def reach_of_sums(
    arithmetic: Arithmetic, epilogue: Epilogue, target: Target, weights: Array, bias: Array
) -> Reach:
    """How far the accumulators go; they start without an offset where nothing narrows."""
    is_float = arithmetic.sum_dtype == "float32"
    if epilogue.multiplier is None or is_float or arithmetic.x_dtype == "int32":
        return Reach(0.0)
    farthest = farthest_sums(weights, bias, arithmetic.x_dtype, arithmetic.shift)
    reach = reach_of(target, farthest, epilogue.multiplier)
    return reach if _narrows(epilogue, target) else dataclasses.replace(reach, offset=0)


def _narrows(epilogue: Epilogue, target: Target) -> bool:
    adds = epilogue.integer_add is not None and target.core.isa == "armv7"
    bytes_ = epilogue.output_dtype in ("uint8", "int8")
    return epilogue.requantize is not None and bytes_ and not adds


def farthest_sums(weights: Array, bias: Array, x_dtype: str, shift: int = 0) -> Array:
    """Greatest magnitude of each channel's integer accumulator."""
    rows = np.abs(weights.reshape(len(weights), -1).astype(np.int64))
    farthest: Array = (greatest_x(x_dtype) * rows.sum(axis=1)) << shift
    return farthest + np.abs(bias.reshape(-1).astype(np.int64))
