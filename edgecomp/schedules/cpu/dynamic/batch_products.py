"""float32 product of two activations of which any dimension may be dynamic."""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply
from edgecomp.schedules.cpu import batch_matrix_multiply
from edgecomp.schedules.cpu.batch_matrix_multiply import FloatProduct, Weights
from edgecomp.schedules.cpu.dynamic.batch_walk import DynamicBatchWalk
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.schedule import KernelCall

NAME = batch_matrix_multiply.NAME


def match(operation: Operation, target: Target) -> str:
    """What the static schedule takes, with contiguous columns or K in b and static strides."""
    if not isinstance(operation.kind, BatchMatrixMultiply):
        return "not a product of two values"
    if any(value.constant is not None for value in operation.inputs):
        return "product of a value and a constant of several dimensions"
    return batch_matrix_multiply.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel, with the tiles of the largest sizes."""
    kind = operation.kind
    assert isinstance(kind, BatchMatrixMultiply)
    params = batch_matrix_multiply.default_params(Twin(operation).operation, target)
    params = dataclasses.replace(params, packed=True)
    return [_Emitter(operation, kind, target, params).call()]


class _Emitter(DynamicBatchWalk[Weights], FloatProduct):
    """Emits the kernel of one operation."""
