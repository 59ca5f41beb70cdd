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
from tvm import tirx

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    Kernel,
    KernelBuilder,
    load,
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
from edgecomp.schedules.cpu.row_tiles import (
    RowTiles,
    TileAddresses,
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
    """
    emitter = _Emitter(product, arithmetic, epilogue, target)
    emitter.magnitude = greatest_scaled(weights, bias, epilogue)
    padded = emitter.vectors * arithmetic.lanes
    kernel = emitter.emit(f"{name}_{emitter.tile_name}__{arithmetic.name}")
    shape = (product.groups, product.columns)
    multiplier = epilogue.multiplier
    if multiplier is not None:
        full = np.broadcast_to(multiplier.reshape(-1), (product.groups * product.columns,))
        multiplier = pad_columns(full.reshape(shape), padded)
    return GemmKernel(
        kernel=kernel,
        work_items=emitter.work_items,
        row_ends=emitter.row_ends,
        weights=pack_weights(
            weights.reshape(*shape, -1, emitter.run_length),
            emitter.params.vectors,
            arithmetic,
        ),
        bias=pad_columns(bias.reshape(shape).astype(arithmetic.sum_dtype), padded),
        multiplier=multiplier,
    )


def greatest_scaled(weights: Array, bias: Array, epilogue: Epilogue) -> float:
    """No accumulator times its multiplier is greater in magnitude; 0 without multipliers."""
    if epilogue.multiplier is None:
        return 0.0
    rows = np.abs(weights.reshape(len(weights), -1).astype(np.int64))
    reach = 255 * rows.sum(axis=1) + np.abs(bias.reshape(-1).astype(np.int64))
    return float((reach * np.abs(epilogue.multiplier.reshape(-1))).max(initial=0.0))


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
    """

    group: Expr
    vector: Expr
    vectors: int
    is_last: Expr | None
    panel: Expr
    chunk_start: Expr


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
        self, product: Product, arithmetic: Arithmetic, epilogue: Epilogue, target: Target
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
        dimensions = collapse_rows(product.rows)
        self.params = self._params(tuple(d.size for d in dimensions))
        self.row_tiles = RowTiles(product, dimensions, self.params)
        self.block_chunks = -(-self.params.vectors.count // self.params.chunk_blocks)
        self.parts = -(-self.params.chunk_tiles // self.params.part_tiles)
        outer = self.params.row_chunks * product.groups
        self.work_items = outer * self.block_chunks * self.parts
        self.magnitude = float("inf")
        self.builder = KernelBuilder(target.core.isa)

    @property
    def tile_name(self) -> str:
        """Rows x columns of the register tile."""
        inner = math.prod(d.size for d in self.row_tiles.dimensions[self.params.axis + 1 :])
        columns = self.params.vectors.large * self.arithmetic.lanes
        return f"{self.params.rows.large * inner}x{columns}"

    def _params(self, rows: tuple[int, ...]) -> TileParams:
        product = self.product
        item = self.arithmetic.x_bytes
        new_bytes = max(1, product.x_elements * item // product.row_count)
        shape = ProductShape(
            rows=rows,
            vectors=self.vectors,
            groups=product.groups,
            depth=self.depth,
            row_bytes=min(self.depth * item, new_bytes),
            result_bytes=max(1, product.output_elements // product.row_count)
            * np.dtype(self.epilogue.output_dtype).itemsize,
        )
        return params_for(shape, self.arithmetic, self.target)

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
        bias = builder.pointer("bias", arithmetic.sum_dtype, padded)
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
                with builder.loop("tile", tiles.first, tiles.last) as tile:
                    self._row_tile(pointers, block, tile)
            start = stop

    def _row_tile(self, pointers: _Pointers, block: _Block, tile: Expr) -> None:
        """One tile of rows, whose size depends on its place in the cut dimension."""
        builder, split = self.builder, self.params.rows
        outer, part = self.row_tiles.place(builder, tile)
        for size, _ in split.classes():
            with builder.condition(part_condition(part, split, size)):
                addresses = self.row_tiles.addresses(builder, block.group, outer, part, size)
                sums = self._accumulate(pointers, block, tile, addresses)
                self._finish(pointers, block, addresses, sums)

    def _accumulate(
        self, pointers: _Pointers, block: _Block, tile: Expr, addresses: TileAddresses
    ) -> RegisterTile:
        """All of K for one tile, starting from the bias."""
        builder, arithmetic = self.builder, self.arithmetic
        column = (block.group * self.vectors + block.vector) * arithmetic.lanes
        sums = arithmetic.begin(
            builder, len(addresses.x), block.vectors, pointers.bias, builder.let("col", column)
        )
        next_panel: Expr = None
        if self.params.prefetch_next:
            next_panel = builder.let("next_panel", self._next_panel(block, tile))
        self._runs(
            pointers, block, sums, addresses.x, next_panel, list(self.runs), _Position(0, 0)
        )
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
        x_rows: list[Expr],
        next_panel: Expr,
        runs: list[RunDimension],
        at: _Position,
    ) -> None:
        """Loops over the outer dimensions of K, then the run itself."""
        builder = self.builder
        if not runs:
            self._run(pointers, block, sums, x_rows, next_panel, at)
            return
        outer, *inner = runs
        size = math.prod(d.size for d in inner) * self.padded_run
        with builder.loop("run", 0, outer.size) as run:
            place = _Position(
                builder.let("x_shift", at.x + run * outer.stride),
                builder.let("depth", at.depth + run * size),
            )
            self._runs(pointers, block, sums, x_rows, next_panel, inner, place)

    def _run(
        self,
        pointers: _Pointers,
        block: _Block,
        sums: RegisterTile,
        x_rows: list[Expr],
        next_panel: Expr,
        at: _Position,
    ) -> None:
        """One contiguous run of K: full steps in a loop, then what is left."""
        builder, arithmetic = self.builder, self.arithmetic
        width = sums.vectors * sums.lanes

        def emit(shift: Expr, groups: int) -> None:
            weights = block.panel + (at.depth + shift) * width
            pieces = groups if self._rows_overlap() else 1
            for piece in range(pieces):
                done = piece * arithmetic.group
                operands = Operands(
                    x=pointers.x,
                    x_rows=[row + at.x + shift + done for row in x_rows],
                    weights=pointers.weights,
                    weight_index=weights + done * width,
                )
                arithmetic.accumulate(builder, sums, operands, groups // pieces)
                if pieces > 1:  # to LLVM a prefetch may write: what was read is read again
                    ahead = operands.x_rows[0] + CACHE_LINE_BYTES
                    builder.prefetch(pointers.x, ahead, near=True)
            self._prefetch(
                pointers,
                weights,
                groups * arithmetic.group * width,
                next_panel,
                at.depth + shift,
            )

        groups = arithmetic.step // arithmetic.group
        steps, rest = divmod(self.padded_run, arithmetic.step)
        loops, single = divmod(steps, arithmetic.steps_per_loop)
        if loops:
            with builder.loop("k", 0, loops) as k:
                start = k.astype("int64") * (arithmetic.steps_per_loop * arithmetic.step)
                for step in range(arithmetic.steps_per_loop):
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
        epilogue = self.epilogue
        adds = epilogue.integer_add is not None and self.target.core.isa != "x86_64"
        return epilogue.requantize is not None and not adds

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
        at = block.group * self.vectors * lanes + column
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
                magnitude=self.magnitude,
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
                magnitude=2.0**24 * float(parameters.multiplier.reshape(-1)[0]),
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
            at = block.group * self.vectors * lanes + column
            multiplier = load(pointers.multiplier, at, lanes)
        for row in range(sums.rows):
            if pointers.residual is not None:
                residual = load(pointers.residual, addresses.residual[row] + column, lanes)
            result = self.epilogue.apply(
                builder, self.target, sums.get(row, vector), lanes, multiplier, residual
            )
            at = addresses.output[row] + column
            store_columns(builder, pointers.output, at, result, lanes, columns)
