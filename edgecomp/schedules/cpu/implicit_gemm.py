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
from collections.abc import Iterable, Sequence

import numpy as np
from tvm import tirx

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules.builder import Buffer, Expr, Kernel, KernelBuilder, load
from edgecomp.schedules.cpu.arithmetic import Arithmetic, RegisterTile
from edgecomp.schedules.cpu.epilogue import Epilogue, store_columns
from edgecomp.schedules.cpu.tiles import (
    ProductShape,
    Split,
    TileParams,
    params_for,
    product_cycles,
)


@dataclasses.dataclass(frozen=True)
class RowDimension:
    """One dimension of the rows.

    Attributes:
        size: how many.
        x, output, residual: elements between neighbours in each tensor.
    """

    size: int
    x: int
    output: int
    residual: int = 0


@dataclasses.dataclass(frozen=True)
class RunDimension:
    """One dimension of K: how many, and elements of x between neighbours."""

    size: int
    stride: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product:
    """Addresses of an implicit matrix product.

    Attributes:
        rows: dimensions of the rows, outermost first.
        depth: dimensions of K, outermost first; the last has stride 1.
        columns: output channels of one group.
        groups: independent products; group g reads x from ``g * x_group_stride`` on and
            writes columns ``g * columns`` on.
        x_group_stride: in elements.
        x_offset, output_offset, residual_offset: of the first row.
        x_elements, output_elements, residual_elements: of the buffers.
    """

    rows: tuple[RowDimension, ...]
    depth: tuple[RunDimension, ...]
    columns: int
    groups: int = 1
    x_group_stride: int = 0
    x_offset: int = 0
    output_offset: int = 0
    residual_offset: int = 0
    x_elements: int
    output_elements: int
    residual_elements: int = 0

    @property
    def multiply_adds(self) -> int:
        """Of the whole product."""
        rows = math.prod(d.size for d in self.rows)
        return rows * math.prod(d.size for d in self.depth) * self.columns * self.groups


@dataclasses.dataclass(frozen=True)
class GemmKernel:
    """An emitted kernel and the packing that it reads.

    Its pointers are x, weights, bias, then the multipliers and the residual where the epilogue
    has them, then the output.
    """

    kernel: Kernel
    work_items: int
    workspace_bytes: int
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
    params, padded = emitter.params, emitter.vectors * arithmetic.lanes
    kernel = emitter.emit(
        f"{name}_{params.rows.large}x{params.vectors.large * arithmetic.lanes}"
        f"__{arithmetic.name}"
    )
    shape = (product.groups, product.columns)
    multiplier = epilogue.multiplier
    if multiplier is not None:
        full = np.broadcast_to(multiplier.reshape(-1), (product.groups * product.columns,))
        multiplier = _pad_columns(full.reshape(shape), padded)
    return GemmKernel(
        kernel=kernel,
        work_items=emitter.work_items,
        workspace_bytes=emitter.workspace_bytes,
        weights=pack_weights(
            weights.reshape(*shape, -1, emitter.run_length), params.vectors, arithmetic
        ),
        bias=_pad_columns(bias.reshape(shape).astype(arithmetic.sum_dtype), padded),
        multiplier=multiplier,
    )


def pack_weights(weights: Array, vectors: Split, arithmetic: Arithmetic) -> Array:
    """Weights in the order the kernel reads them.

    Args:
        weights: [groups, columns, runs, run length].
        vectors: of the columns into blocks.
        arithmetic: gives lanes and group.

    Returns:
        Flat: per group and column block [runs][run length / group][block columns][group],
        zeros where the columns or the run are padded.
    """
    groups, columns, runs, length = weights.shape
    lanes, group = arithmetic.lanes, arithmetic.group
    padding = ((0, 0), (0, vectors.extent * lanes - columns), (0, 0), (0, -length % group))
    full = np.pad(weights.astype(arithmetic.weight_dtype), padding)
    full = full.reshape(groups, vectors.extent * lanes, runs, -1, group)
    parts = []
    for g in range(groups):
        for start, size in vectors.starts():
            block = full[g, start * lanes : (start + size) * lanes]
            parts.append(arithmetic.arrange(block.transpose(1, 2, 0, 3)))
    return np.concatenate(parts)


def collapse_rows(rows: Sequence[RowDimension]) -> tuple[RowDimension, ...]:
    """Merge neighbouring dimensions that are one in every tensor; drop those of size 1."""
    merged: list[RowDimension] = []
    for inner in reversed([d for d in rows if d.size > 1]):
        last = merged[-1] if merged else None
        if last and all(
            getattr(inner, tensor) == last.size * getattr(last, tensor)
            for tensor in ("x", "output", "residual")
        ):
            merged[-1] = dataclasses.replace(last, size=last.size * inner.size)
        else:
            merged.append(inner)
    return tuple(reversed(merged)) or (RowDimension(1, 0, 0),)


def collapse_depth(depth: Sequence[RunDimension]) -> tuple[RunDimension, ...]:
    """Merge dimensions of K that are contiguous; the last one left is the run."""
    sized = [d for d in depth if d.size > 1]
    if not sized or sized[-1].stride != 1:
        sized.append(RunDimension(1, 1))
    merged = [sized[-1]]
    for outer in reversed(sized[:-1]):
        last = merged[-1]
        if outer.stride == last.size * last.stride:
            merged[-1] = RunDimension(outer.size * last.size, last.stride)
        else:
            merged.append(outer)
    return tuple(reversed(merged))


def _pad_columns(values: Array, padded: int) -> Array:
    """[groups, columns] to [groups, padded], flat."""
    return np.pad(values, ((0, 0), (0, padded - values.shape[1]))).reshape(-1)


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
class _Addresses:
    """Where one row tile lies: an index per row in each tensor."""

    x: list[Expr]
    output: list[Expr]
    residual: list[Expr]


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
        self.row_dimensions = collapse_rows(product.rows)
        self.crossing, self.params = self._choose()
        self.lines = 1 if self.crossing else self._line_count()
        self.tiles = self.lines * self.params.rows.count
        self.block_chunks = -(-self.params.vectors.count // self.params.chunk_blocks)
        chunks = -(-self.tiles // self.params.chunk_tiles)
        self.work_items = chunks * product.groups * self.block_chunks
        self.workspace_bytes = 0
        self.builder = KernelBuilder()

    def _line_count(self) -> int:
        return math.prod(d.size for d in self.row_dimensions[:-1])

    def _choose(self) -> tuple[bool, TileParams]:
        """Tiles within lines of equally spaced rows; across them where lines are too short.

        A tile that crosses lines needs an address register and a division per row.
        """
        lines, inner = self._line_count(), self.row_dimensions[-1]
        params, cycles = self._params(lines, inner.size)
        if lines == 1:
            return False, params
        crossing_params, crossing_cycles = self._params(1, lines * inner.size)
        rows = crossing_params.rows.large
        if crossing_cycles * 1.15 < cycles and rows <= 8:
            return True, crossing_params
        return False, params

    def _params(self, lines: int, line_rows: int) -> tuple[TileParams, float]:
        item = {"float32": 4}.get(self.arithmetic.x_dtype, 1)
        shape = ProductShape(
            lines=lines,
            line_rows=line_rows,
            vectors=self.vectors,
            groups=self.product.groups,
            depth=self.depth,
            row_bytes=self._bytes_per_row(item),
        )
        params = params_for(shape, self.arithmetic, self.target)
        cycles = product_cycles(
            shape, params.rows, params.vectors, self.arithmetic, self.target
        )
        return params, cycles

    def _bytes_per_row(self, item: int) -> int:
        """New bytes of x that one more row touches."""
        rows = math.prod(d.size for d in self.product.rows)
        return min(self.depth * item, max(1, self.product.x_elements * item // rows))

    def emit(self, name: str) -> Kernel:
        """The whole kernel."""
        builder, params = self.builder, self.params
        pointers = self._declare()
        with builder.loop("item", builder.lo, builder.hi) as item:
            block_chunk = builder.let("block_chunk", tirx.truncmod(item, self.block_chunks))
            rest = builder.let("rest", tirx.truncdiv(item, self.block_chunks))
            group: Expr = 0
            if self.product.groups > 1:
                group = builder.let("group", tirx.truncmod(rest, self.product.groups))
                rest = builder.let("chunk", tirx.truncdiv(rest, self.product.groups))
            first_tile = builder.let("first_tile", rest * params.chunk_tiles)
            last_tile = builder.let(
                "last_tile", tirx.min(first_tile + params.chunk_tiles, self.tiles)
            )
            self._column_blocks(pointers, group, block_chunk, first_tile, last_tile)
        return builder.finish(name)

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
        first_tile: Expr,
        last_tile: Expr,
    ) -> None:
        """Loop over the column blocks of a work item, one loop per block size."""
        builder, split = self.builder, self.params.vectors
        begin = block_chunk * self.params.chunk_blocks
        end = tirx.min(begin + self.params.chunk_blocks, split.count)
        if split.large_count == split.count:
            ranges: Iterable[tuple[Expr, Expr, int]] = [(begin, end, split.large)]
        else:
            ranges = [
                (begin, tirx.min(end, split.large_count), split.large),
                (tirx.max(begin, split.large_count), end, split.small),
            ]
        for low, high, vectors in ranges:
            low = builder.let("block_low", low)
            with builder.loop("block", low, high) as block:
                first_vector = builder.let("first_vector", _start(block, split, vectors))
                last = block == split.count - 1
                if vectors != split.small:
                    last = None
                with builder.loop("tile", first_tile, last_tile) as tile:
                    self._row_tile(pointers, group, first_vector, vectors, last, tile)

    def _row_tile(
        self,
        pointers: _Pointers,
        group: Expr,
        first_vector: Expr,
        vectors: int,
        last_block: Expr | None,
        tile: Expr,
    ) -> None:
        """One tile of rows, whose size depends on its place in the line."""
        builder, split = self.builder, self.params.rows
        line: Expr = 0
        place = tile
        if self.lines > 1:
            line = builder.let("line", tirx.truncdiv(tile, split.count))
            place = builder.let("place", tile - line * split.count)
        for rows, _ in split.classes():
            test = None
            if split.large_count < split.count:
                large = rows == split.large
                test = place < split.large_count if large else place >= split.large_count
            with builder.condition(test):
                first_row = _start(place, split, rows)
                addresses = self._addresses(group, line, first_row, rows)
                sums = self._accumulate(pointers, group, first_vector, vectors, addresses)
                self._finish(pointers, group, first_vector, last_block, addresses, sums)

    def _addresses(self, group: Expr, line: Expr, first_row: Expr, rows: int) -> _Addresses:
        """Indices of the rows of one tile."""
        product = self.product
        x_base = product.x_offset + group * product.x_group_stride
        output_base = product.output_offset + group * product.columns
        residual_base = product.residual_offset + group * product.columns
        dimensions = self.row_dimensions
        found = _Addresses([], [], [])
        if self.crossing:
            for row in range(rows):
                index = self._decompose(first_row + row, dimensions)
                found.x.append(self._let_address("x_row", x_base, index, "x"))
                found.output.append(self._let_address("y_row", output_base, index, "output"))
                if self.epilogue.residual_dtype:
                    found.residual.append(
                        self._let_address("r_row", residual_base, index, "residual")
                    )
            return found
        inner = dimensions[-1]
        index = [*self._decompose(line, dimensions[:-1]), (first_row, inner)]
        x = self._let_address("x_tile", x_base, index, "x")
        output = self._let_address("y_tile", output_base, index, "output")
        found.x.extend(x + row * inner.x for row in range(rows))
        found.output.extend(output + row * inner.output for row in range(rows))
        if self.epilogue.residual_dtype:
            residual = self._let_address("r_tile", residual_base, index, "residual")
            found.residual.extend(residual + row * inner.residual for row in range(rows))
        return found

    def _let_address(
        self, name: str, base: Expr, index: list[tuple[Expr, RowDimension]], tensor: str
    ) -> Expr:
        total = base
        for position, dimension in index:
            total = total + position * getattr(dimension, tensor)
        return self.builder.let(name, total)

    def _decompose(
        self, number: Expr, dimensions: Sequence[RowDimension]
    ) -> list[tuple[Expr, RowDimension]]:
        """Index along each dimension of a flat number."""
        found: list[tuple[Expr, RowDimension]] = []
        for position, dimension in reversed(list(enumerate(dimensions))):
            if position == 0:
                found.append((number, dimension))
                break
            quotient = self.builder.let("quotient", tirx.truncdiv(number, dimension.size))
            found.append((number - quotient * dimension.size, dimension))
            number = quotient
        return found

    def _accumulate(
        self,
        pointers: _Pointers,
        group: Expr,
        first_vector: Expr,
        vectors: int,
        addresses: _Addresses,
    ) -> RegisterTile:
        """All of K for one tile, starting from the bias."""
        builder, arithmetic = self.builder, self.arithmetic
        lanes = arithmetic.lanes
        column = builder.let("column", (group * self.vectors + first_vector) * lanes)
        tile = arithmetic.begin(builder, len(addresses.x), vectors, pointers.bias, column)
        panel = builder.let("panel", column * self.depth)
        self._runs(pointers, tile, addresses.x, panel, list(self.runs), 0)
        return arithmetic.finish(builder, tile)

    def _runs(
        self,
        pointers: _Pointers,
        tile: RegisterTile,
        x_rows: list[Expr],
        panel: Expr,
        runs: list[RunDimension],
        x_shift: Expr,
    ) -> None:
        """Loops over the outer dimensions of K, then the run itself."""
        builder = self.builder
        if not runs:
            self._run(pointers, tile, [row + x_shift for row in x_rows], panel)
            return
        outer, *inner = runs
        width = tile.vectors * tile.lanes
        size = math.prod(d.size for d in inner) * self.padded_run * width
        with builder.loop("run", 0, outer.size) as run:
            next_panel = builder.let("run_panel", panel + run * size)
            shift = builder.let("x_shift", x_shift + run * outer.stride)
            self._runs(pointers, tile, x_rows, next_panel, inner, shift)

    def _run(
        self, pointers: _Pointers, tile: RegisterTile, x_rows: list[Expr], panel: Expr
    ) -> None:
        """One contiguous run of K: full steps in a loop, then what is left."""
        builder, arithmetic = self.builder, self.arithmetic
        width = tile.vectors * tile.lanes
        step, groups = arithmetic.step, arithmetic.step // arithmetic.group

        def emit(at: Expr, count: int) -> None:
            arithmetic.accumulate(
                builder,
                tile,
                pointers.x,
                [row + at for row in x_rows],
                pointers.weights,
                panel + at * width,
                count,
            )

        steps, rest = divmod(self.padded_run, step)
        if steps:
            with builder.loop("k", 0, steps) as k:
                emit(k * step, groups)
        if rest:
            emit(steps * step, rest // arithmetic.group)

    def _finish(
        self,
        pointers: _Pointers,
        group: Expr,
        first_vector: Expr,
        last_block: Expr | None,
        addresses: _Addresses,
        tile: RegisterTile,
    ) -> None:
        """Epilogue and stores; only the last block's last vector may be partial."""
        builder, lanes = self.builder, self.arithmetic.lanes
        tail = self.product.columns % lanes
        for vector in range(tile.vectors):
            count = [(lanes, None)]
            if tail and last_block is not None and vector == tile.vectors - 1:
                count = [(tail, last_block)]
                if self.params.vectors.count > 1:
                    count.append((lanes, tirx.Not(last_block)))
                else:
                    count = [(tail, None)]
            for columns, test in count:
                with builder.condition(test):
                    self._finish_vector(
                        pointers,
                        group,
                        first_vector + vector,
                        addresses,
                        tile,
                        vector,
                        columns,
                    )

    def _finish_vector(
        self,
        pointers: _Pointers,
        group: Expr,
        column_vector: Expr,
        addresses: _Addresses,
        tile: RegisterTile,
        vector: int,
        columns: int,
    ) -> None:
        """One vector of columns in every row of the tile."""
        builder, lanes = self.builder, self.arithmetic.lanes
        multiplier = residual = None
        if pointers.multiplier is not None:
            at = (group * self.vectors + column_vector) * lanes
            multiplier = load(pointers.multiplier, at, lanes)
        for row in range(tile.rows):
            if pointers.residual is not None:
                at = addresses.residual[row] + column_vector * lanes
                residual = load(pointers.residual, at, lanes)
            result = self.epilogue.apply(
                builder, self.target, tile.get(row, vector), lanes, multiplier, residual
            )
            at = addresses.output[row] + column_vector * lanes
            store_columns(builder, pointers.output, at, result, lanes, columns)


def _start(place: Expr, split: Split, size: int) -> Expr:
    """First element of a part, given which of the two sizes it has."""
    if size == split.large:
        return place * size
    return split.large_count * split.large + (place - split.large_count) * size
