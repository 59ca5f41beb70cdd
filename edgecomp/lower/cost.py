"""Multiply-adds of an operation: what its share of a model is measured by before it runs."""

import math

from edgecomp.plan.attention import Attention, IntegerAttention
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import (
    BatchMatrixMultiply,
    Convolution,
    IntegerBatchMultiply,
    MatrixMultiply,
    PackedMatrixMultiply,
    ScaledMatrixMultiply,
)
from edgecomp.plan.recurrence import Recurrence
from edgecomp.plan.sizes import Dimension, largest
from edgecomp.schedules.cpu.batch_operands import views_of


def multiply_adds(operation: Operation) -> int:
    """Multiply-adds at the largest sizes, 0 for operations that are not made of them."""
    return largest(_multiply_adds(operation))


def _multiply_adds(operation: Operation) -> Dimension:
    kind = operation.kind
    if isinstance(kind, (Convolution, MatrixMultiply, ScaledMatrixMultiply)):
        weight, outputs = operation.inputs[1], operation.output.elements
        depth = (
            math.prod(weight.shape[1:]) if isinstance(kind, Convolution) else weight.shape[0]
        )
        return outputs * depth
    if isinstance(kind, PackedMatrixMultiply):
        return operation.outputs[0].elements * operation.inputs[1].shape[0]
    if isinstance(kind, BatchMatrixMultiply):
        a, _, output = views_of(operation)
        return math.prod(output.shape) * a.shape[-2 if kind.transpose_a else -1]
    if isinstance(kind, IntegerBatchMultiply):
        return math.prod(kind.output.shape) * kind.a.shape[-1]
    if isinstance(kind, Attention | IntegerAttention):
        rows = operation.output.elements // kind.v.shape[-1]
        return rows * kind.k.shape[-2] * (kind.q.shape[-1] + kind.v.shape[-1])
    if isinstance(kind, Recurrence):
        # One row of the recurrence matrix per element of a gate, and step, and sequence.
        gates = operation.inputs[0].elements // kind.padded_hidden
        return gates * kind.hidden * kind.hidden
    return 0
