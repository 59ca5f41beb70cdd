"""Loop nests over an iteration space: work items, outer loops, one vector loop inside.

The vector loop has no scalar tail: a row whose length is not a multiple of the vector ends with
a vector that overlaps the one before, which computes the same elements once more. Rows shorter
than a vector use the greatest power of two that fits. So kernels never write beside their
elements, and an output must not be an input.
"""

from collections.abc import Callable, Sequence

from edgecomp.plan.sizes import Dimension
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder
from edgecomp.schedules.cpu.iteration import GRAIN_ELEMENTS, Space, power_of_two_below, split

#: (offset of the first element per operand, lanes)
Body = Callable[[list[Expr], int], None]


def emit_nest(
    builder: KernelBuilder,
    space: Space,
    lanes: int,
    body: Body,
    grain_elements: int = GRAIN_ELEMENTS,
) -> int:
    """Emit the loops.

    Args:
        builder: of the kernel; its range is used up.
        space: what to walk.
        lanes: of a full vector, a power of two.
        body: emits the work of one vector.
        grain_elements: least elements of a work item.

    Returns:
        The number of work items.
    """
    lanes = min(lanes, power_of_two_below(space.sizes[-1]))
    cut = split(space.sizes, grain_elements, lanes)
    if len(space.sizes) == 1:
        with builder.condition(builder.lo < builder.hi):
            begin = builder.let("begin", builder.lo * cut.chunk)
            end = chunk_end(builder, builder.hi, cut.chunk, cut.items, space.sizes[0])
            _vectors(builder, space, lanes, list(space.offsets), begin, end, body)
        return cut.items
    with builder.loop("item", builder.lo, builder.hi) as item:
        outer, begin, end = item, 0, space.sizes[cut.dimension]
        if cut.chunks > 1:
            outer = builder.let("outer", tirx.truncdiv(item, cut.chunks))
            part = builder.let("part", item - outer * cut.chunks)
            begin = builder.let("begin", part * cut.chunk)
            end = chunk_end(builder, part + 1, cut.chunk, cut.chunks, end)
        indices = unravel(builder, outer, space.sizes[: cut.dimension])
        bases = advance(builder, space, range(cut.dimension), indices, space.offsets)
        _level(builder, space, lanes, cut.dimension, bases, (begin, end), body)
    return cut.items


def chunk_end(builder: KernelBuilder, index: Expr, chunk: int, chunks: int, size: int) -> Expr:
    """End of the chunks before ``index``: the last chunk takes the remainder."""
    if chunk * chunks == size:
        return builder.let("end", index * chunk)
    last = tirx.Select(index >= chunks, tirx.const(size, "int32"), index * chunk)
    return builder.let("end", last)


def unravel(builder: KernelBuilder, index: Expr, sizes: Sequence[Dimension]) -> list[Expr]:
    """Indices of each dimension from a row-major number."""
    indices: list[Expr] = []
    for size in reversed(sizes[1:]):
        extent = builder.size(size)
        outer = builder.let("outer", tirx.truncdiv(index, extent))
        indices.append(builder.let("index", index - outer * extent))
        index = outer
    if sizes:
        indices.append(index)
    return indices[::-1]


def advance(
    builder: KernelBuilder,
    space: Space,
    dimensions: Sequence[int],
    indices: Sequence[Expr],
    bases: Sequence[Expr],
) -> list[Expr]:
    """Offsets of each operand moved to these indices."""
    moved: list[Expr] = []
    for base, strides in zip(bases, space.strides, strict=True):
        offset = base
        for d, index in zip(dimensions, indices, strict=True):
            if strides[d] != 0:
                offset = offset + index * builder.size(strides[d])
        moved.append(offset if isinstance(offset, int) else builder.let("base", offset))
    return moved


def _level(
    builder: KernelBuilder,
    space: Space,
    lanes: int,
    d: int,
    bases: list[Expr],
    bounds: tuple[Expr, Expr],
    body: Body,
) -> None:
    if d == len(space.sizes) - 1:
        _vectors(builder, space, lanes, bases, *bounds, body)
        return
    with builder.loop("i", *bounds) as index:
        inner = advance(builder, space, [d], [index], bases)
        _level(builder, space, lanes, d + 1, inner, (0, space.sizes[d + 1]), body)


def _vectors(
    builder: KernelBuilder,
    space: Space,
    lanes: int,
    bases: list[Expr],
    begin: Expr,
    end: Expr,
    body: Body,
) -> None:
    """One row, [begin, end) of the innermost dimension; at least ``lanes`` long."""

    def at(position: Expr) -> list[Expr]:
        return [
            base + position * strides[-1]
            for base, strides in zip(bases, space.strides, strict=True)
        ]

    size = space.sizes[-1]
    length = end - begin
    count = length // lanes if isinstance(length, int) else tirx.truncdiv(length, lanes)
    if isinstance(count, int) and count == 1:
        body(at(begin), lanes)
    else:
        with builder.loop("vector", 0, count) as vector:
            body(at(begin + vector * lanes), lanes)
    if size % lanes:
        # Only the row's last piece has a remainder: the others are multiples of the vector.
        if isinstance(end, int):
            body(at(end - lanes), lanes)
        else:
            with builder.condition(tirx.EQ(end, size)):
                body(at(end - lanes), lanes)
