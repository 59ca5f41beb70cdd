"""The CPU's schedules, the more special ones first: the first that claims an operation has it."""

from edgecomp.schedules.cpu import (
    batch_matrix_multiply,
    convolution,
    depthwise_f32,
    depthwise_int8,
    elementwise,
    fill,
    gather,
    layer_norm,
    lookup_table,
    matrix_multiply,
    pool,
    quantize,
    quantized_binary,
    reduce,
    resize,
    softmax,
    strided_copy,
    winograd,
)
from edgecomp.schedules.schedule import Schedule

SCHEDULES: tuple[Schedule, ...] = (
    depthwise_f32,
    depthwise_int8,
    winograd,
    convolution,
    matrix_multiply,
    batch_matrix_multiply,
    pool,
    reduce,
    resize,
    quantized_binary,
    elementwise,
    lookup_table,
    quantize,
    softmax,
    layer_norm,
    gather,
    strided_copy,
    fill,
)
