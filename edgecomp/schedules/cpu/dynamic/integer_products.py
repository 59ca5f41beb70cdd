"""Product of two 8-bit values of which any dimension may be dynamic: the static kernel's numbers."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import IntegerBatchMultiply
from edgecomp.schedules.cpu import integer_batch_multiply
from edgecomp.schedules.cpu.arithmetic import RegisterTile
from edgecomp.schedules.cpu.dynamic.batch_walk import DynamicBatchWalk
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.integer_batch_multiply import IntegerProduct
from edgecomp.schedules.schedule import KernelCall

NAME = integer_batch_multiply.NAME


def match(operation: Operation, target: Target) -> str:
    """What the static schedule takes at the largest sizes, with static strides where it asks for 1."""
    kind = operation.kind
    if not isinstance(kind, IntegerBatchMultiply):
        return "not a product of two quantized values"
    if 1 not in kind.b.strides[-2:]:
        return "neither columns nor K of b are contiguous"
    if any(value.constant is not None for value in operation.inputs[:2]):
        return "product of a value and a constant of several dimensions"
    return integer_batch_multiply.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel, with the tiles of the largest sizes."""
    kind = operation.kind
    assert isinstance(kind, IntegerBatchMultiply)
    splits = integer_batch_multiply.default_splits(Twin(operation).operation, target)
    return [_Emitter(operation, kind, target, splits).call()]


class _Emitter(DynamicBatchWalk[RegisterTile], IntegerProduct):
    """Emits the kernel of one operation."""
