"""The GPU's schedules, the more special ones first: the first that claims an operation has it."""

from edgecomp.schedules.mobile_gpu import (
    batch_matrix_multiply,
    convolution,
    depthwise,
    elementwise,
    gather,
    layer_norm,
    matrix_multiply,
    moves,
    pool,
    quantize,
    reduce,
    resize,
    softmax,
)
from edgecomp.schedules.schedule import Schedule

SCHEDULES: tuple[Schedule, ...] = (
    depthwise,
    convolution,
    matrix_multiply,
    batch_matrix_multiply,
    pool,
    reduce,
    resize,
    elementwise,
    quantize,
    softmax,
    layer_norm,
    gather,
    moves,
)
