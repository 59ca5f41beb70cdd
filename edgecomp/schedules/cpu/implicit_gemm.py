"""One kernel for every dense product: convolutions, grouped ones, and matrix products.

A convolution is a product whose rows are output pixels and whose K runs over the window: for
each row a few runs of contiguous elements of x (channels last). Only addresses differ from a
plain matrix product, so nothing is copied ("implicit GEMM"). The loops, outermost first:

    work item = chunk of row tiles, group, chunk of column blocks
      column block: its panel of weights is read once per tile, from a cache
        row tile: rows x vectors accumulators in registers
          run, K
        epilogue, stores
"""

import dataclasses
import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    Kernel,
    KernelBuilder,
    constant,
    load,
    pointer_to,
    ramp,
)
from edgecomp.schedules.cpu.arithmetic import Arithmetic, Operands, RegisterTile
from edgecomp.schedules.cpu.epilogue import Epilogue, store_columns, vector_dtype
from edgecomp.schedules.cpu.narrow import (
    narrow,
    narrow_scaled,
    narrowed_together,
    pick,
    piece_order,
)
from edgecomp.schedules.cpu.packing import pack_weights, pad_columns
from edgecomp.schedules.cpu.product import (
    Product,
    RunDimension,
    collapse_depth,
    collapse_rows,
)
from edgecomp.schedules.cpu.reach import Reach, greatest_x, reach_of, start_of
from edgecomp.schedules.cpu.residual import narrow_added
from edgecomp.schedules.cpu.row_tiles import (
    RowTiles,
    TileAddresses,
    even_step,
    part_condition,
    part_start,
)
from edgecomp.schedules.cpu.tiles import (
    PREFETCH_BYTES,
    ProductShape,
    TileParams,
    params_for,
)

CACHE_LINE_BYTES = 64


@dataclasses.dataclass(frozen=True)
class GemmKernel:
    """An emitted kernel and the packing that it reads.

    Its pointers are x, weights, bias, then the multipliers and the residual where the epilogue
    has them, then the output.

    Attributes:
        kernel: the function.
        work_items: of it.
        row_ends: (work items, rows of the product that they compute, from the first on).
        weights, bias, multiplier: packed.
    """

    kernel: Kernel
    work_items: int
    row_ends: tuple[tuple[int, int], ...]
    weights: Array
    bias: Array
    multiplier: Array | None


def emit_product(
    name: str,
    product: Product,
    arithmetic: Arithmetic,
    epilogue: Epilogue,
    target: Target,
    weights: Array,
    bias: Array,
    params: TileParams | None = None,
) -> GemmKernel:
    """Choose tiles, emit the kernel, pack its constants.

    Args:
        name: of the kernel's kind, for its symbol.
        product: addresses.
        arithmetic: of the inner step.
        epilogue: of the results.
        target: the device.
        weights: [groups * columns, *depth].
        bias: [groups * columns].
        params: tiles to use, those of the cost model where None.
    """
    shape = gemm_shape(product, arithmetic, epilogue.output_dtype)
    params = params or params_for(shape, arithmetic, target)
    emitter = _Emitter(product, arithmetic, epilogue, target, params)
    emitter.reach = emitter.reach_of(weights, bias)
    padded = emitter.vectors * arithmetic.lanes
    kernel = emitter.emit(f"{name}_{emitter.tile_name}__{arithmetic.name}")
    columns = (product.groups, product.columns)
    multiplier = epilogue.multiplier
    if multiplier is not None:
        full = np.broadcast_to(multiplier.reshape(-1), (product.groups * product.columns,))
        multiplier = pad_columns(full.reshape(columns), padded)
    return GemmKernel(
        kernel=kernel,
        work_items=emitter.work_items,
        row_ends=emitter.row_ends,
        weights=pack_weights(
            weights.reshape(*columns, -1, emitter.run_length),
            emitter.params.vectors,
            arithmetic,
        ),
        bias=emitter.copies(pad_columns(emitter.start(bias.reshape(columns)), padded)),
        multiplier=multiplier,
    )


def gemm_shape(product: Product, arithmetic: Arithmetic, output_dtype: str) -> ProductShape:
    """What the choice of tiles depends on."""
    *runs, run = collapse_depth(product.depth)
    padded_run = -(-run.size // arithmetic.group) * arithmetic.group
    depth = math.prod(d.size for d in runs) * padded_run
    new_bytes = max(1, product.x_elements * arithmetic.x_bytes // product.row_count)
    return ProductShape(
        rows=tuple(d.size for d in collapse_rows(product.rows)),
        vectors=-(-product.columns // arithmetic.lanes),
        groups=product.groups,
        depth=depth,
        row_bytes=min(depth * arithmetic.x_bytes, new_bytes),
        result_bytes=max(1, product.output_elements // product.row_count)
        * np.dtype(output_dtype).itemsize,
    )


def farthest_sums(weights: Array, bias: Array, x_dtype: str) -> Array:
    """Greatest magnitude of each channel's integer accumulator."""
    rows = np.abs(weights.reshape(len(weights), -1).astype(np.int64))
    farthest: Array = greatest_x(x_dtype) * rows.sum(axis=1)
    return farthest + np.abs(bias.reshape(-1).astype(np.int64))


@dataclasses.dataclass(frozen=True)
class _Pointers:
    """Buffers of the kernel's parameters."""

    x: Buffer
    weights: Buffer
    bias: Buffer
    multiplier: Buffer | None
    residual: Buffer | None
    output: Buffer


@dataclasses.dataclass(frozen=True)
class _Tiles:
    """Row tiles [first, last) of a work item, in the chunk that starts at ``chunk_start``."""

    chunk_start: Expr
    first: Expr
    last: Expr


@dataclasses.dataclass(frozen=True)
class _Block:
    """One column block of one group.

    Attributes:
        group: number of the group.
        vector: its first vector of columns within the group.
        vectors: how many it has, known at build time.
        is_last: condition that it is the group's last; None where it never is.
        panel: index of its weights.
        chunk_start: first tile of the chunk.
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
    zero: Expr | None = None
    bias_shift: Expr = 0
    scale_shift: Expr = 0


@dataclasses.dataclass(frozen=True)
class _Position:
    """A place in K.

    Attributes:
        x: elements of x from the row's first.
        depth: elements of K, padding included, before it.
    """

    x: Expr
    depth: Expr


class _Emitter:
    """Emits one kernel; the loops of the module's docstring, one method each."""

    def __init__(
        self,
        product: Product,
        arithmetic: Arithmetic,
        epilogue: Epilogue,
        target: Target,
        params: TileParams,
    ) -> None:
        self.product = product
        self.arithmetic = arithmetic
        self.epilogue = epilogue
        self.target = target
        self.vectors = -(-product.columns // arithmetic.lanes)
        *self.runs, run = collapse_depth(product.depth)
        self.run_length = run.size
        self.padded_run = -(-run.size // arithmetic.group) * arithmetic.group
        self.depth = math.prod(d.size for d in self.runs) * self.padded_run
        self.params = params
        self.row_tiles = RowTiles(product, collapse_rows(product.rows), params)
        self.block_chunks = -(-self.params.vectors.count // self.params.chunk_blocks)
        self.parts = -(-self.params.chunk_tiles // self.params.part_tiles)
        outer = self.params.row_chunks * product.groups
        self.work_items = outer * self.block_chunks * self.parts
        self.reach = Reach(float("inf"))
        self.builder = KernelBuilder(target.core.isa)

    @property
    def tile_name(self) -> str:
        """Rows x columns of the register tile."""
        inner = math.prod(d.size for d in self.row_tiles.dimensions[self.params.axis + 1 :])
        columns = self.params.vectors.large * self.arithmetic.lanes
        return f"{self.params.rows.large * inner}x{columns}"

    def reach_of(self, weights: Array, bias: Array) -> Reach:
        """How far the accumulators go; they start without an offset where nothing narrows."""
        if self.epilogue.multiplier is None:
            return Reach(0.0)
        farthest = farthest_sums(weights, bias, self.arithmetic.x_dtype)
        reach = reach_of(self.target, farthest, self.epilogue.multiplier)
        return reach if self._narrows() else dataclasses.replace(reach, offset=0)

    def start(self, bias: Array) -> Array:
        """What accumulators start from."""
        if self.arithmetic.sum_dtype == "float32":
            return np.asarray(bias, np.float32)
        return start_of(bias, self.reach)

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
        inner = math.prod(d.size for d in self.row_tiles.dimensions[self.params.axis + 1 :])
        return self.params.rows.large * inner

    def copies(self, bias: Array) -> Array:
        """``bias_copies`` of padded biases."""
        lanes = self.arithmetic.lanes
        blocks = [
            np.tile(group[start * lanes : (start + size) * lanes], self.bias_copies)
            for group in bias.reshape(self.product.groups, -1)
            for start, size in self.params.vectors.starts()
        ]
        return np.concatenate(blocks)

    def emit(self, name: str) -> Kernel:
        """The whole kernel."""
        builder, params = self.builder, self.params
        pointers = self._declare()
        with builder.loop("item", builder.lo, builder.hi) as item:
            rest, part = self._divide(item, self.parts)
            rest, block_chunk = self._divide(rest, self.block_chunks)
            chunk, group = self._divide(rest, self.product.groups)
            chunk_start = builder.let("chunk_start", self._chunk_start(chunk))
            chunk_end = builder.let("chunk_end", self._chunk_start(chunk + 1))
            first = builder.let("first_tile", chunk_start + part * params.part_tiles)
            last = builder.let("last_tile", tirx.min(first + params.part_tiles, chunk_end))
            tiles = _Tiles(chunk_start, first, last)
            self._column_blocks(pointers, group, block_chunk, tiles)
        return builder.finish(name)

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

    def _chunk_start(self, chunk: Expr) -> Expr:
        """First row tile of a chunk. The larger ones lie between the others: halves are even."""
        size, rest = divmod(self.row_tiles.count, self.params.row_chunks)
        start = chunk * size
        if rest:
            start = start + tirx.truncdiv(chunk * rest, self.params.row_chunks)
        return start

    def _divide(self, number: Expr, by: int) -> tuple[Expr, Expr]:
        """(quotient, remainder)."""
        if by == 1:
            return number, 0
        quotient = self.builder.let("quotient", tirx.truncdiv(number, by))
        return quotient, self.builder.let("remainder", number - quotient * by)

    def _declare(self) -> _Pointers:
        """Parameters, in the order of GemmKernel."""
        builder, product, arithmetic = self.builder, self.product, self.arithmetic
        padded = product.groups * self.vectors * arithmetic.lanes
        x = builder.pointer("x", arithmetic.x_dtype, product.x_elements)
        weights = builder.pointer("weights", arithmetic.weight_dtype, padded * self.depth)
        bias = builder.pointer("bias", arithmetic.sum_dtype, padded * self.bias_copies)
        multiplier = residual = None
        if self.epilogue.multiplier is not None:
            multiplier = builder.pointer("multiplier", "float32", padded)
        if self.epilogue.residual_dtype:
            residual = builder.pointer(
                "residual", self.epilogue.residual_dtype, product.residual_elements
            )
        output = builder.pointer("output", self.epilogue.output_dtype, product.output_elements)
        return _Pointers(x, weights, bias, multiplier, residual, output)

    def _column_blocks(
        self,
        pointers: _Pointers,
        group: Expr,
        block_chunk: Expr,
        tiles: _Tiles,
    ) -> None:
        """Loop over the column blocks of a work item, one loop per block size."""
        builder, split = self.builder, self.params.vectors
        begin = block_chunk * self.params.chunk_blocks
        end = tirx.min(begin + self.params.chunk_blocks, split.count)
        start = 0
        for vectors, count in split.classes():
            stop = start + count
            low = begin if start == 0 else tirx.max(begin, start)
            high = end if stop == split.count else tirx.min(end, stop)
            low = builder.let("block_low", low)
            with builder.loop("block", low, high) as number:
                vector = builder.let("vector", part_start(number, split, vectors))
                column = (group * self.vectors + vector) * self.arithmetic.lanes
                block = _Block(
                    group,
                    vector,
                    vectors,
                    number == split.count - 1 if stop == split.count else None,
                    builder.let("panel", column * self.depth),
                    tiles.chunk_start,
                )
                self._row_tiles(pointers, block, tiles)
            start = stop

    def _pinned(self, block: _Block, tile: Expr) -> _Block:
        """The block with what keeps LLVM from rearranging a tile's loads.

        Without a loop over K it would move the loads of the whole panel out of the loop over
        tiles, and then spill and reload it; with a constant count of iterations it counts up to
        0 by addresses so far from the panel's that loads in pairs do not reach them. Tiles
        count from 0, which only this code knows.
        """
        if self.target.core.isa == "x86_64":
            return block
        zero = self.builder.let("zero", tile >> 31)
        block = dataclasses.replace(block, zero=zero)
        if not self.unrolled:
            return block
        panel = self.builder.let("panel", block.panel + zero)
        # Another 0 for the multipliers: with one index for both, loads do not go in pairs.
        other = self.builder.let("zero", tile >> 30)
        return dataclasses.replace(block, panel=panel, bias_shift=zero, scale_shift=other)

    def _row_tiles(self, pointers: _Pointers, block: _Block, tiles: _Tiles) -> None:
        """All tiles of rows, whose size depends on their place in the cut dimension."""
        builder, split = self.builder, self.params.rows
        if self.target.core.isa != "x86_64":
            for size, outer, part, tile in self.row_tiles.walk(
                builder, tiles.first, tiles.last
            ):
                self._row_tile(pointers, self._pinned(block, tile), tile, outer, part, size)
            return
        with builder.loop("tile", tiles.first, tiles.last) as tile:
            outer, part = self.row_tiles.place(builder, tile)
            for size, _ in split.classes():
                with builder.condition(part_condition(part, split, size)):
                    self._row_tile(pointers, block, tile, outer, part, size)

    def _row_tile(
        self,
        pointers: _Pointers,
        block: _Block,
        tile: Expr,
        outer: Expr,
        part: Expr,
        size: int,
    ) -> None:
        """One tile of rows."""
        addresses = self.row_tiles.addresses(self.builder, block.group, outer, part, size)
        sums = self._accumulate(pointers, block, tile, addresses)
        self._finish(pointers, block, addresses, sums)

    def _accumulate(
        self, pointers: _Pointers, block: _Block, tile: Expr, addresses: TileAddresses
    ) -> RegisterTile:
        """All of K for one tile, starting from the bias."""
        builder, arithmetic = self.builder, self.arithmetic
        vector = block.group * self.vectors + block.vector + block.bias_shift
        column = vector * (arithmetic.lanes * self.bias_copies)
        stride = block.vectors * arithmetic.lanes if self.bias_copies > 1 else 0
        at = builder.let("col", column)
        rows = len(addresses.x)
        sums = arithmetic.begin(builder, rows, block.vectors, pointers.bias, at, stride)
        next_panel: Expr = None
        if self.params.prefetch_next:
            next_panel = builder.let("next_panel", self._next_panel(block, tile))
        start = _Position(0, 0)
        self._runs(pointers, block, sums, addresses, next_panel, list(self.runs), start)
        return arithmetic.finish(builder, sums)

    def _next_panel(self, block: _Block, tile: Expr) -> Expr:
        """Index of this tile's share of the next column block's weights."""
        width = block.vectors * self.arithmetic.lanes
        share = -(-width * self.depth // self.params.chunk_tiles)
        return block.panel + width * self.depth + (tile - block.chunk_start) * share

    def _runs(
        self,
        pointers: _Pointers,
        block: _Block,
        sums: RegisterTile,
        addresses: TileAddresses,
        next_panel: Expr,
        runs: list[RunDimension],
        at: _Position,
    ) -> None:
        """Loops over the outer dimensions of K, then the run itself."""
        builder = self.builder
        if not runs:
            self._run(pointers, block, sums, addresses, next_panel, at)
            return
        outer, *inner = runs
        size = math.prod(d.size for d in inner) * self.padded_run
        with builder.loop("run", 0, outer.size) as run:
            place = _Position(
                builder.let("x_shift", at.x + run * outer.stride),
                builder.let("depth", at.depth + run * size),
            )
            self._runs(pointers, block, sums, addresses, next_panel, inner, place)

    def _run(
        self,
        pointers: _Pointers,
        block: _Block,
        sums: RegisterTile,
        addresses: TileAddresses,
        next_panel: Expr,
        at: _Position,
    ) -> None:
        """One contiguous run of K: full steps in a loop, then what is left."""
        builder, arithmetic = self.builder, self.arithmetic
        width = sums.vectors * sums.lanes

        def operands(shift: Expr) -> Operands:
            return Operands(
                x=pointers.x,
                x_rows=[row + at.x + shift for row in addresses.x],
                x_shifts=tuple(addresses.x_shifts),
                weights=pointers.weights,
                weight_index=block.panel + (at.depth + shift) * width,
            )

        if arithmetic.accumulate_run(builder, sums, operands(0), self.padded_run):
            return

        def emit(shift: Expr, groups: int) -> None:
            here = operands(shift)
            pieces = groups if self._rows_overlap() else 1
            for piece in range(pieces):
                part = operands(shift + piece * arithmetic.group) if pieces > 1 else here
                arithmetic.accumulate(builder, sums, part, groups // pieces)
                if pieces > 1:  # to LLVM a prefetch may write: what was read is read again
                    ahead = part.x_rows[0] + CACHE_LINE_BYTES
                    builder.prefetch(pointers.x, ahead, near=True)
            self._prefetch(
                pointers,
                here.weight_index,
                groups * arithmetic.group * width,
                next_panel,
                at.depth + shift,
            )

        groups = arithmetic.step // arithmetic.group
        steps, rest = divmod(self.padded_run, arithmetic.step)
        loop_steps = arithmetic.loop_steps(steps)
        loops, single = divmod(steps, loop_steps)
        if loops:
            end = loops
            if loops > 1 and block.zero is not None:
                end = builder.let("loops", loops + block.zero)
            with builder.loop("k", 0, end) as k:
                start = k.astype("int64") * (loop_steps * arithmetic.step)
                for step in range(loop_steps):
                    emit(start + step * arithmetic.step if step else start, groups)
        for step in range(steps - single, steps):
            emit(step * arithmetic.step, groups)
        if rest:
            emit(steps * arithmetic.step, rest // arithmetic.group)

    def _rows_overlap(self) -> bool:
        """Whether a run of one row holds elements of the next row's, as at an image of 3 channels.

        LLVM would keep them in registers from one step to another, and spill sums for that.
        """
        step = self.row_tiles.dimensions[-1].x
        return (
            self.target.core.isa == "x86_64"
            and self.arithmetic.group > 1
            and abs(step) < self.run_length
        )

    def _prefetch(
        self, pointers: _Pointers, used: Expr, elements: int, next_panel: Expr, depth: Expr
    ) -> None:
        """Ask for weights: soon needed ones, and a share of the next column block's.

        Args:
            pointers: gives the weights.
            used: index of the weights just used.
            elements: how many they were.
            next_panel: first element of this tile's share, or None.
            depth: elements of K before those just used.
        """
        item = self.arithmetic.weight_bytes
        line = CACHE_LINE_BYTES // item
        if self.params.prefetch_bytes:
            ahead = used + self.params.prefetch_bytes // item
            for shift in range(0, elements, line):
                near = self.params.prefetch_bytes <= PREFETCH_BYTES
                self.builder.prefetch(pointers.weights, ahead + shift, near=near)
        if next_panel is not None:
            share = -(-elements // self.params.chunk_tiles)
            per_depth = -(-elements // (self.params.chunk_tiles * self.arithmetic.step))
            for shift in range(0, share, line):
                at = next_panel + depth * per_depth + shift
                self.builder.prefetch(pointers.weights, at, near=False)

    def _finish(
        self, pointers: _Pointers, block: _Block, addresses: TileAddresses, sums: RegisterTile
    ) -> None:
        """Epilogue and stores; only the last block's last vector may be partial."""
        lanes = self.arithmetic.lanes
        tail = self.product.columns % lanes
        whole = sums.vectors - bool(tail and block.is_last is not None)
        narrowed = whole if self._narrows() else 0
        for row in range(sums.rows if narrowed else 0):
            for first in range(0, narrowed, 4):
                count = min(4, narrowed - first)
                self._finish_bytes(
                    pointers, block, addresses, sums, row, range(first, first + count)
                )
        step = even_step(addresses.output_shifts)
        if self.arithmetic.stores_rows and whole and step is not None:
            self._finish_rows(pointers, block, addresses, sums, whole, step)
            narrowed = whole
        for vector in range(narrowed, sums.vectors):
            partial = tail and block.is_last is not None and vector == sums.vectors - 1
            cases: list[tuple[int, Expr | None]] = [(lanes, None)]
            if partial and self.params.vectors.count == 1:
                cases = [(tail, None)]
            elif partial:
                cases = [(tail, block.is_last), (lanes, tirx.Not(block.is_last))]
            for columns, test in cases:
                with self.builder.condition(test):
                    self._finish_vector(pointers, block, addresses, sums, vector, columns)

    def _narrows(self) -> bool:
        """Whether several vectors of a row become one of bytes."""
        isa, epilogue = self.target.core.isa, self.epilogue
        adds = epilogue.integer_add is not None and isa == "armv7"
        return epilogue.requantize is not None and not adds

    def _scale_index(self, block: _Block, vector: int) -> Expr:
        """Of the multipliers of one of the block's vectors."""
        first = block.group * self.vectors + block.vector + block.scale_shift
        return (first + vector) * self.arithmetic.lanes

    def _finish_bytes(
        self,
        pointers: _Pointers,
        block: _Block,
        addresses: TileAddresses,
        sums: RegisterTile,
        row: int,
        vectors: range,
    ) -> None:
        """Some neighbouring whole vectors of columns in one row.

        The instructions take two or four vectors: missing ones are neighbours again.
        """
        builder, lanes = self.builder, self.arithmetic.lanes
        assert self.epilogue.requantize is not None
        column = (block.vector + vectors.start) * lanes
        at = self._scale_index(block, vectors.start)
        pairs = narrowed_together(self.target, vectors)
        totals = [sums.get(row, vector) for vector in pairs]
        multipliers = [
            load(pointers.multiplier, at + (vector - vectors.start) * lanes, lanes)
            for vector in pairs
        ]
        dtype = self.epilogue.output_dtype
        if self.epilogue.integer_add is None:
            result = narrow(
                builder,
                self.target,
                totals,
                multipliers,
                self.epilogue.requantize,
                dtype=dtype,
                reach=self.reach,
            )
        elif self.target.core.isa != "x86_64":
            residual = load(
                pointers.residual, addresses.residual[row] + column, len(vectors) * lanes
            )
            indices = np.arange(len(pairs) * lanes) % (len(vectors) * lanes)
            result = narrow_added(
                builder,
                self.target,
                totals,
                multipliers,
                pick([residual, residual], indices),
                self.epilogue.requantize,
                self.epilogue.integer_add,
                dtype=dtype,
                reach=self.reach,
            )
        else:
            first = addresses.residual[row] + column - vectors.start * lanes
            sums_at = zip(pairs, totals, multipliers, strict=True)
            added = {
                vector: self._scaled_sum(pointers, total, multiplier, first + vector * lanes)
                for vector, total, multiplier in sums_at
            }
            parameters = self.epilogue.integer_add.requantize
            result = narrow_scaled(
                builder,
                self.target,
                [added[vector] for vector in pairs],
                parameters,
                dtype=dtype,
                reach=Reach(2.0**24 * float(parameters.multiplier.reshape(-1)[0])),
            )
        count = len(vectors) * lanes
        if len(pairs) > len(vectors) or self.target.core.isa == "x86_64":
            order = piece_order(self.target, len(pairs) * lanes)
            result = pick([result], order.reshape(-1)[:count])
        output = ramp(addresses.output[row] + column, count)
        builder.store(pointers.output, output, result)

    def _scaled_sum(
        self, pointers: _Pointers, total: Expr, multiplier: Expr, residual_at: Expr
    ) -> Expr:
        """One vector of accumulators, requantized and added to its residual."""
        lanes = self.arithmetic.lanes
        residual = load(pointers.residual, residual_at, lanes)
        value = self.epilogue.scaled_sum(self.target, total, lanes, multiplier, residual)
        return self.builder.let("added", value, vector_dtype("float32", lanes))

    def _finish_rows(
        self,
        pointers: _Pointers,
        block: _Block,
        addresses: TileAddresses,
        sums: RegisterTile,
        vectors: int,
        step: int,
    ) -> None:
        """The first vectors of columns in rows that lie ``step`` elements apart."""
        builder, lanes = self.builder, self.arithmetic.lanes
        column = block.vector * lanes
        results = []
        for row in range(sums.rows):
            results.append(
                builder.array("result", self.epilogue.output_dtype, vectors * lanes)
            )
            for vector in range(vectors):
                residual = None
                if pointers.residual is not None:
                    at = addresses.residual[row] + column + vector * lanes
                    residual = load(pointers.residual, at, lanes)
                value = self.epilogue.apply(
                    builder, self.target, sums.get(row, vector), lanes, None, residual
                )
                builder.store(results[-1], ramp(vector * lanes, lanes), value)
        first = pointer_to(pointers.output, addresses.output[0] + column)
        self.arithmetic.store_rows(builder, results, vectors, first, step)

    def _finish_vector(
        self,
        pointers: _Pointers,
        block: _Block,
        addresses: TileAddresses,
        sums: RegisterTile,
        vector: int,
        columns: int,
    ) -> None:
        """One vector of columns in every row of the tile."""
        builder, lanes = self.builder, self.arithmetic.lanes
        column = (block.vector + vector) * lanes
        multiplier = residual = None
        if pointers.multiplier is not None:
            multiplier = load(pointers.multiplier, self._scale_index(block, vector), lanes)
        for row in range(sums.rows):
            if pointers.residual is not None:
                residual = load(pointers.residual, addresses.residual[row] + column, lanes)
            total = sums.get(row, vector)
            if self.reach.offset:
                total = total - constant(self.reach.offset, "int32", lanes)
            result = self.epilogue.apply(
                builder, self.target, total, lanes, multiplier, residual
            )
            at = addresses.output[row] + column
            store_columns(builder, pointers.output, at, result, lanes, columns)
