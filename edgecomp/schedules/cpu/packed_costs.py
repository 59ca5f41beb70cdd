"""Modelled cycles of products whose weights are stored in few bits and widened in registers."""

import math

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import PackedMatrixMultiply
from edgecomp.plan.row_bytes import FEW_ROWS, PLANES
from edgecomp.schedules.cpu.packed_bytes import can_multiply_bytes
from edgecomp.schedules.cpu.rates import rates_of, traffic_cycles

#: Instructions that make one vector of float32 weights: of packed bits, shift, mask, convert and
#: scale; of bytes, widen and convert.
_UNPACK_INSTRUCTIONS = 3.0
_WIDEN_INSTRUCTIONS = 2.0
#: To take four numbers of each column out of their words, and numbers that a lane multiplies at once.
_TAKE_INSTRUCTIONS, _QUAD = 1.5, 4
#: Rows for which a widened vector is used before the next tile of rows widens it again.
_ROWS_OF_A_TILE = 8


def packed_product_cycles(operation: Operation, target: Target, *, streamed: float) -> float:
    """A product with a matrix of 2, 4 or 8 bits per weight.

    Args:
        operation: of kind PackedMatrixMultiply or ScaledMatrixMultiply.
        target: device.
        streamed: part of the weights that comes from beyond the level-2 cache.
    """
    kind, x, (depth, columns) = operation.kind, operation.inputs[0], operation.inputs[1].shape
    rows = x.elements // depth
    packed = isinstance(kind, PackedMatrixMultiply)
    bits = kind.bits if isinstance(kind, PackedMatrixMultiply) else 8
    widen = _UNPACK_INSTRUCTIONS if packed else _WIDEN_INSTRUCTIONS
    rates = rates_of(target)
    vectors = depth * columns / target.lanes(32)
    instructions = vectors * (rows + math.ceil(rows / _ROWS_OF_A_TILE) * widen)
    if (
        isinstance(kind, PackedMatrixMultiply)
        and rows <= FEW_ROWS
        and can_multiply_bytes(target, bits, min(kind.block, depth))
    ):
        instructions = vectors / _QUAD * (PLANES * rows + _TAKE_INSTRUCTIONS)
    weight_bytes = depth * columns * bits // 8
    cycles = max(
        instructions / rates.instructions_per_cycle,
        weight_bytes * rates.weight_byte_cycles,
        traffic_cycles(x.bytes, operation.outputs[0].bytes, target),
    )
    return cycles + streamed * weight_bytes * rates.stream_byte_cycles
