"""Transposition in registers: tiles, interleaving and de-interleaving of vectors.

A tile of T x T elements is transposed by log2(T) rounds of zips (interleave low halves,
interleave high halves), which every instruction set here has as single instructions
(punpckl/punpckh, zip1/zip2, vzip). Several tiles stand side by side in one wide vector: on x86
the zips work within 128-bit groups, as the instructions do.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder
from edgecomp.schedules.cpu.iteration import Space, power_of_two_below
from edgecomp.schedules.cpu.nest import advance, chunk_end, emit_nest, unravel
from edgecomp.schedules.cpu.vectors import named

#: Columns that are worked on together: one cache line of 4-byte elements is read whole.
_BLOCK_COLUMNS = 16
_ITEM_ELEMENTS = 1024

#: (offset, lanes) -> vector in the output's type
Fetch = Callable[[Expr, int], Expr]
#: (offset, vector)
Store = Callable[[Expr, Expr], None]


def zip_vectors(a: Expr, b: Expr, lanes: int, group: int) -> tuple[Expr, Expr]:
    """Interleave the lower and the upper halves of each group of lanes."""
    low: list[int] = []
    high: list[int] = []
    for start in range(0, lanes, group):
        for i in range(start, start + group // 2):
            low += [i, lanes + i]
            high += [i + group // 2, lanes + i + group // 2]
    return tirx.Shuffle([a, b], low), tirx.Shuffle([a, b], high)


def transpose_tiles(builder: KernelBuilder, rows: Sequence[Expr], tiles: int) -> list[Expr]:
    """Transpose ``tiles`` square tiles side by side.

    Args:
        builder: receives the intermediate values.
        rows: T vectors of ``tiles * T`` lanes; lanes [k*T, (k+1)*T) belong to tile k.
        tiles: side by side.

    Returns:
        T vectors: lane k*T + r of vector c is lane k*T + c of ``rows[r]``.
    """
    size = len(rows)
    lanes = tiles * size
    vectors = list(rows)
    for _ in range(size.bit_length() - 1):
        zipped: list[Expr] = []
        for i in range(size // 2):
            for value in zip_vectors(vectors[i], vectors[i + size // 2], lanes, size):
                zipped.append(named(builder, "zip", value))
        vectors = zipped
    return vectors


def interleave(vectors: Sequence[Expr], lanes: int) -> Expr:
    """``[a0 b0 c0 a1 b1 c1 ...]``."""
    count = len(vectors)
    order = [c * lanes + i for i in range(lanes) for c in range(count)]
    return tirx.Shuffle(list(vectors), order)


def deinterleave(vector: Expr, lanes: int, count: int) -> list[Expr]:
    """The inverse of ``interleave``: ``count`` vectors of ``lanes`` lanes."""
    return [
        tirx.Shuffle([vector], [i * count + c for i in range(lanes)]) for c in range(count)
    ]


def emit_transpose(
    builder: KernelBuilder,
    space: Space,
    across: int,
    dtype: str,
    vector_bytes: int,
    registers: int,
    fetch: Fetch,
    store: Store,
) -> int:
    """Walk a space in register tiles.

    The output is contiguous along the last dimension, the input along ``across``.

    Args:
        builder: of the kernel; its range is used up.
        space: operand 0 is the output, operand 1 the input; both dimensions at least 2 long.
        across: dimension along which the input has stride 1.
        dtype: of the output.
        vector_bytes: of one register.
        registers: vector registers the tile may fill.
        fetch: loads a vector of the input, converted.
        store: stores a vector.

    Returns:
        The number of work items.
    """
    last = len(space.sizes) - 1
    row_count, column_count = space.sizes[last], space.sizes[across]
    size, tiles = _tile(row_count, column_count, dtype, vector_bytes, registers)
    others = space.without(across, last)
    block = _block_columns(row_count, size)
    blocks = max(1, column_count // block)
    output_step, row_step = space.strides[0][across], space.strides[1][last]

    def tile(output: Expr, source: Expr) -> None:
        rows: list[Expr] = []
        for r in range(size):
            parts = [fetch(source + (r + t * size) * row_step, size) for t in range(tiles)]
            row = parts[0] if tiles == 1 else _join(parts, size)
            rows.append(named(builder, "row", row))
        for c, column in enumerate(transpose_tiles(builder, rows, tiles)):
            store(output + c * output_step, column)

    def columns(output: Expr, source: Expr, begin: Expr, end: Expr) -> None:
        def at(column: Expr) -> None:
            tile(output + column * output_step, source + column)

        count = tirx.truncdiv(end - begin, size)
        with builder.loop("columns", 0, count) as index:
            at(builder.let("column", begin + index * size))
        if column_count % size:
            with builder.condition(tirx.EQ(end, column_count)):
                at(column_count - size)

    with builder.loop("item", builder.lo, builder.hi) as item:
        outer = builder.let("outer", tirx.truncdiv(item, blocks))
        part = builder.let("part", item - outer * blocks)
        begin = builder.let("begin", part * block)
        end = chunk_end(builder, part + 1, block, blocks, column_count)
        indices = unravel(builder, outer, others.sizes)
        dimensions = range(len(others.sizes))
        output, source = advance(builder, others, dimensions, indices, others.offsets)
        height = size * tiles
        with builder.loop("rows", 0, row_count // height) as index:
            row = builder.let("row", index * height)
            columns(output + row, source + row * row_step, begin, end)
        if row_count % height:
            row = row_count - height
            columns(output + row, source + row * row_step, begin, end)
    items: int = math.prod(others.sizes) * blocks
    return items


def _block_columns(rows: int, size: int) -> int:
    """Columns of a work item: whole cache lines, and enough of them where rows are few."""
    return -(-max(_BLOCK_COLUMNS, size, _ITEM_ELEMENTS // rows) // _BLOCK_COLUMNS) * (
        _BLOCK_COLUMNS
    )


def _tile(
    rows: int, columns: int, dtype: str, vector_bytes: int, registers: int
) -> tuple[int, int]:
    """Size of a tile, and how many stand side by side."""
    element_bytes = np.dtype(dtype).itemsize
    # A round makes two vectors of two: one register more than the tile is enough.
    size = min(16 // element_bytes, registers, rows, columns)
    size = power_of_two_below(size)
    fit = min(vector_bytes // (size * element_bytes), rows // size)
    return size, power_of_two_below(max(1, fit))


def _join(parts: Sequence[Expr], lanes: int) -> Expr:
    return tirx.Shuffle(list(parts), list(range(lanes * len(parts))))


def emit_interleave(
    builder: KernelBuilder, space: Space, across: int, lanes: int, fetch: Fetch, store: Store
) -> int:
    """As ``emit_transpose`` for a last dimension of 2 to 4 elements: planes are interleaved.

    The output is contiguous over (across, last).
    """
    last = len(space.sizes) - 1
    count = space.sizes[last]
    plane_step = space.strides[1][last]

    def body(output: Expr, source: Expr, width: int) -> None:
        planes = [fetch(source + c * plane_step, width) for c in range(count)]
        store(output, interleave(planes, width))

    return _along(builder, space, across, last, lanes, body)


def emit_deinterleave(
    builder: KernelBuilder, space: Space, across: int, lanes: int, fetch: Fetch, store: Store
) -> int:
    """As ``emit_transpose`` for 2 to 4 elements along ``across``: planes are split.

    The input is contiguous over (last, across).
    """
    last = len(space.sizes) - 1
    count = space.sizes[across]
    plane_step = space.strides[0][across]

    def body(output: Expr, source: Expr, width: int) -> None:
        joined = named(builder, "joined", fetch(source, width * count))
        for c, plane in enumerate(deinterleave(joined, width, count)):
            store(output + c * plane_step, plane)

    return _along(builder, space, last, across, lanes, body)


def _along(
    builder: KernelBuilder,
    space: Space,
    walked: int,
    hidden: int,
    lanes: int,
    body: Callable[[Expr, Expr, int], None],
) -> int:
    """Vectors along ``walked``; the body covers ``hidden`` itself."""
    rest = space.without(hidden)
    walked -= hidden < walked
    order = [d for d in range(len(rest.sizes)) if d != walked] + [walked]
    sizes = tuple(rest.sizes[d] for d in order)
    strides = tuple(tuple(own[d] for d in order) for own in rest.strides)
    ordered = Space(sizes, strides, rest.offsets)
    return emit_nest(
        builder, ordered, lanes, lambda offsets, width: body(offsets[0], offsets[1], width)
    )
