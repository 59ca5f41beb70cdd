"""The end of kernels whose work items hold vectors of neighbouring channels or columns."""

from edgecomp.plan.sizes import Dimension
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr
from edgecomp.schedules.cpu.vectors import lanes_of
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import is_multiple
from edgecomp.schedules.gpu.vectors import store_vector


def store_columns(
    builder: GridBuilder,
    buffer: Buffer,
    at: Expr,
    value: Expr,
    column: Expr,
    columns: Dimension,
) -> None:
    """Store a vector of neighbouring columns, and nothing behind the last one.

    Args:
        builder: of the kernel.
        buffer: of the results.
        at: place of the first column.
        value: results as they are stored.
        column: number of the first column, a multiple of their number; it is one of them.
        columns: of the whole.
    """
    lanes = lanes_of(value)
    if is_multiple(columns, lanes):
        store_vector(builder, buffer, at, value, lanes)
        return
    result = builder.let("result", value, str(value.ty.dtype))
    for lane in range(lanes):
        is_certain = lane == 0 or (isinstance(columns, int) and columns % lanes > lane)
        test = None if is_certain else column + lane < builder.size(columns)
        with builder.condition(test):
            builder.store(buffer, at + lane, tirx.Shuffle([result], [lane]))
