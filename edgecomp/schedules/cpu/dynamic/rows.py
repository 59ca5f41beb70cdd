"""Kernels that compute one row per work item: the same at any number of rows."""

from edgecomp.device.target import Target
from edgecomp.plan.movement import Gather
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import LayerNorm
from edgecomp.plan.sizes import has_dynamic
from edgecomp.schedules.cpu import gather, layer_norm
from edgecomp.schedules.cpu.dynamic.largest import Twin, items_of
from edgecomp.schedules.schedule import Dynamic, KernelCall

NAME = "rows"


def match(operation: Operation, target: Target) -> str:
    """Layer normalisation of static rows; static slices at dynamic indices along axis 0."""
    kind, source = operation.kind, operation.inputs[0] if operation.inputs else None
    if isinstance(kind, LayerNorm):
        assert source is not None
        if has_dynamic(source.shape[kind.axis % len(source.shape) :]):
            return "layer normalisation over a dynamic dimension"
        return layer_norm.match(Twin(operation).operation, target)
    if isinstance(kind, Gather):
        assert source is not None
        axis = kind.axis % len(source.shape)
        if has_dynamic(source.shape) or items_of(source.shape[:axis]) != 1:
            return "gather from a dynamic value, or not along its first dimension"
        return gather.match(Twin(operation).operation, target)
    return "not a layer normalisation or a gather"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """The static kernel; its work items are rows."""
    kind, source = operation.kind, operation.inputs[0]
    twin = Twin(operation)
    if isinstance(kind, LayerNorm):
        rows = items_of(source.shape[: kind.axis % len(source.shape)])
        calls = layer_norm.emit(twin.operation, target)
    else:
        rows = operation.inputs[1].elements
        calls = gather.emit(twin.operation, target)
    return [twin.restore(call, Dynamic(rows)) for call in calls]
