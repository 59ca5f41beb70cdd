"""The end of kernels whose work items hold vectors of neighbouring channels or columns."""

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import LANES
from edgecomp.schedules.gpu.vectors import store_vector


def store_columns(
    builder: GridBuilder,
    buffer: Buffer,
    at: Expr,
    value: Expr,
    column: Expr,
    columns: int,
) -> None:
    """Store a vector of neighbouring columns, and nothing behind the last one.

    Args:
        builder: of the kernel.
        buffer: of the results.
        at: place of the first column.
        value: ``LANES`` results as they are stored.
        column: number of the first column, a multiple of ``LANES``; it is one of them.
        columns: of the whole.
    """
    if columns % LANES == 0:
        store_vector(builder, buffer, at, value, LANES)
        return
    result = builder.let("result", value, str(value.ty.dtype))
    for lane in range(LANES):
        is_certain = columns % LANES > lane
        with builder.condition(None if is_certain else column + lane < columns):
            builder.store(buffer, at + lane, tirx.Shuffle([result], [lane]))
