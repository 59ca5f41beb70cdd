"""Copies of a box and constants into memory: transposes, slices, padding, layout changes."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.elementwise import LookupTable
from edgecomp.plan.movement import Fill, FillHalo, StridedCopy
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Array, Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant, load
from edgecomp.schedules.cpu import fill, lookup_table, strided_copy
from edgecomp.schedules.cpu.iteration import Space, space_of_views
from edgecomp.schedules.cpu.move import bits_dtype
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.cpu.small_types import memory_dtype
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.maps import emit_map
from edgecomp.schedules.gpu.places import LANES, gpu_of
from edgecomp.schedules.gpu.vectors import store_vector
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "move"

#: Widths that every device moves.
_BYTES = (1, 2, 4, 8)


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedules of the same kinds claim."""
    kind = operation.kind
    if not isinstance(kind, StridedCopy | Fill | FillHalo | LookupTable):
        return "not a copy"
    for value in (*operation.inputs, operation.output):
        if np.dtype(value.dtype).itemsize not in _BYTES:
            return f"a copy of {value.dtype}"
    if isinstance(kind, StridedCopy):
        return strided_copy.match(operation, target)
    if isinstance(kind, LookupTable):
        return lookup_table.match(operation, target)
    if memory_dtype(operation.output.dtype) in ("float16", "float64"):
        return f"a fill of {operation.output.dtype}"
    return fill.match(operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel, none where there is nothing to do."""
    kind, output = operation.kind, operation.output
    if isinstance(kind, FillHalo):
        return _emit_halo(kind, output, target)
    if isinstance(kind, Fill):
        if not output.elements:
            return []
        return _emit_fill(kind, output, target)
    (source,) = operation.inputs
    if isinstance(kind, LookupTable):
        space = space_of_views([output.view, source.view])
        return _emit_copy(operation, space, kind.table, target) if output.elements else []
    assert isinstance(kind, StridedCopy)
    if 0 in kind.shape:
        return []
    return _emit_copy(
        operation, strided_copy.space_of(kind, source, output), kind.lookup, target
    )


def _emit_copy(
    operation: Operation, space: Space, table: Array | None, target: Target
) -> list[KernelCall]:
    (source,), output = operation.inputs, operation.output
    tables = []
    if table is not None:
        # Elements are looked up by their bits.
        signed = np.dtype(source.dtype).kind == "i"
        ordered = np.roll(table.astype(output.dtype), 128 if signed else 0)
        tables.append(Constant("table", ordered.view(bits_dtype(output.dtype))))

    def body(builder: GridBuilder, vectors: list[Expr], _lanes: int) -> Expr:
        (value,) = vectors
        if table is None:
            return value
        return load(builder.tables[0], tirx.Cast("int32", value))

    call = emit_map(
        "copy" if table is None else "lookup",
        space,
        _moved(output, source),
        [_moved(source, output)],
        target,
        body,
        arguments=(source, *tables, output),
        most_lanes=0 if table is None else 1,
        tables=[(bits_dtype(output.dtype), 256)] if tables else [],
    )
    return [call]


def _moved(value: Value, other: Value) -> tuple[str, int]:
    """A pointer to bits, to floats where one of the two is stored in fewer bits."""
    is_copy = value.storage == other.storage
    return bits_dtype(value.stored) if is_copy else value.stored, value.view.elements


def _emit_fill(kind: Fill, output: Value, target: Target) -> list[KernelCall]:
    dtype = memory_dtype(output.dtype)
    number = fill.stored(kind.value, output.dtype)
    call = emit_map(
        "fill",
        space_of_views([output.view]),
        (output.storage or dtype, output.view.elements),
        [],
        target,
        lambda _builder, _vectors, lanes: constant(number, dtype, lanes),
        arguments=(output,),
    )
    return [call]


def _emit_halo(kind: FillHalo, output: Value, target: Target) -> list[KernelCall]:
    """A work item for each vector of the halo: rows above, rows below, then both sides."""
    halo, elements = output.halo, output.view.elements
    if not halo or not elements:
        return []
    batch, channels, height, width = output.shape
    padded_width = halo.left + width + halo.right
    above, below = halo.top * padded_width, halo.bottom * padded_width
    sides = halo.left + halo.right
    pixels = above + below + height * sides
    lanes = LANES if channels % LANES == 0 else 1
    blocks = channels // lanes
    count = batch * pixels * blocks
    dtype = memory_dtype(output.dtype)
    builder = GridBuilder.line(count, gpu_of(target).group_items)
    y = builder.pointer("y", output.storage or dtype, elements)
    with builder.each(count) as at:
        image, pixel, block = unravel(builder, at, (batch, pixels, blocks))
        place = _pixel_of_halo(builder, pixel, output)
        first = (image * builder.size(output.view.strides[0] // channels) + place) * channels
        vector = constant(fill.stored(kind.value, output.dtype), dtype, lanes)
        store_vector(builder, y, first + block * lanes, vector, lanes)
    return [builder.call("fill_halo", (output,))]


def _pixel_of_halo(builder: GridBuilder, pixel: Expr, output: Value) -> Expr:
    """Place in the padded image of a pixel of its halo."""
    halo, (_, _, height, width) = output.halo, output.shape
    padded_width, sides = halo.left + width + halo.right, halo.left + halo.right
    above, below = halo.top * padded_width, halo.bottom * padded_width
    place: Expr = pixel
    if halo.bottom:
        behind = pixel + builder.size(height * padded_width)
        place = tirx.Select(pixel < builder.size(above), pixel, behind)
    if sides:
        beside = builder.let("beside", pixel - builder.size(above + below))
        row = builder.let("row", tirx.truncdiv(beside, sides))
        column = builder.let("column", beside - row * sides)
        across = tirx.Select(column < halo.left, column, column + builder.size(width))
        inner = (row + halo.top) * builder.size(padded_width) + across
        place = tirx.Select(pixel < builder.size(above + below), place, inner)
    return builder.let("place", place)
