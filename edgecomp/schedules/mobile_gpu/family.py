"""The GPU's schedules, the more special ones first: the first that claims an operation has it."""

from edgecomp.schedules.mobile_gpu import (
    convolution,
    elementwise,
    matrix_multiply,
    moves,
    quantize,
)
from edgecomp.schedules.schedule import Schedule

SCHEDULES: tuple[Schedule, ...] = (
    convolution,
    matrix_multiply,
    elementwise,
    quantize,
    moves,
)
