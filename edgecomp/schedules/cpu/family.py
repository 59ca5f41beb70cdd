"""The CPU's schedules, the more special ones first: the first that claims an operation has it."""

from edgecomp.schedules.cpu import (
    convolution,
    depthwise_f32,
    lookup_table,
    matrix_multiply,
    strided_copy,
)
from edgecomp.schedules.schedule import Schedule

SCHEDULES: tuple[Schedule, ...] = (
    depthwise_f32,
    convolution,
    matrix_multiply,
    lookup_table,
    strided_copy,
)
