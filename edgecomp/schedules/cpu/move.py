"""Moving one operand into another, element by element: copies, layout changes, conversions.

The way through memory depends on the strides alone:

* both contiguous along one dimension: rows of vectors;
* the input contiguous along another one: tiles transposed in registers, or whole planes
  interleaved where one of the two dimensions has 2 to 4 elements (images of 3 channels);
* anything else: vectors of the output gathered element by element.
"""

from collections.abc import Callable

import numpy as np

from edgecomp.device.target import Target
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load, ramp, splat
from edgecomp.schedules.cpu.iteration import Space
from edgecomp.schedules.cpu.nest import emit_nest
from edgecomp.schedules.cpu.transpose import (
    emit_deinterleave,
    emit_interleave,
    emit_transpose,
)
from edgecomp.schedules.cpu.vectors import pinned

#: (vector of the input's type) -> vector of the output's type
Convert = Callable[[Expr], Expr]
_FEW = 4


def emit_move(
    builder: KernelBuilder,
    target: Target,
    space: Space,
    output: Buffer,
    source: Buffer,
    lanes: int,
    convert: Convert,
) -> int:
    """Emit ``output[...] = convert(source[...])`` over a space.

    Args:
        builder: of the kernel; its range is used up.
        target: for vector widths.
        space: operand 0 is the output, operand 1 the source.
        output: buffer that is written.
        source: buffer that is read.
        lanes: of a full vector, a power of two.
        convert: elementwise, of any number of lanes.

    Returns:
        The number of work items.
    """
    converts = np.dtype(str(source.dtype)).itemsize > np.dtype(str(output.dtype)).itemsize

    def fetch(offset: Expr, width: int) -> Expr:
        value = convert(load(source, offset, width))
        return pinned(builder, "value", value) if converts else value

    def store(offset: Expr, value: Expr) -> None:
        builder.store(output, ramp(offset, int(value.ty.dtype.lanes)), value)

    across = _transposed_dimension(space)
    if across is None:

        def body(offsets: list[Expr], width: int) -> None:
            value = convert(load_strided(source, offsets[1], space.inner_stride(1), width))
            builder.store(output, ramp(offsets[0], width, space.inner_stride(0)), value)

        return emit_nest(builder, space, lanes, body)
    last = len(space.sizes) - 1
    rows, columns = space.sizes[last], space.sizes[across]
    if rows <= _FEW and space.strides[0][across] == rows and columns > rows:
        return emit_interleave(builder, space, across, lanes, fetch, store)
    if columns <= _FEW and space.strides[1][last] == columns:
        return emit_deinterleave(builder, space, across, lanes, fetch, store)
    # A conversion from a wider type needs registers of its own.
    registers = target.core.vector_registers // (2 if converts else 1)
    return emit_transpose(
        builder,
        space,
        across,
        str(output.dtype),
        target.core.vector_bits // 8,
        registers,
        fetch,
        store,
    )


def bits_dtype(dtype: str) -> str:
    """Unsigned integer type of the same width: copies need no other."""
    return f"uint{8 * np.dtype(dtype).itemsize}"


def load_strided(buffer: Buffer, offset: Expr, stride: int, lanes: int) -> Expr:
    """Vector of elements ``stride`` apart; stride 0 repeats one."""
    if stride == 0 and lanes > 1:
        return splat(load(buffer, offset), lanes)
    if stride == 1 or lanes == 1:
        return load(buffer, offset, lanes)
    return tirx.BufferLoad(buffer, [ramp(offset, lanes, stride)])


def _transposed_dimension(space: Space) -> int | None:
    """The dimension along which only the input is contiguous.

    None unless the output is contiguous along the last one and the input is not.
    """
    if space.inner_stride(0) != 1 or space.inner_stride(1) in (0, 1):
        return None
    for d, stride in enumerate(space.strides[1][:-1]):
        if stride == 1:
            return d
    return None
