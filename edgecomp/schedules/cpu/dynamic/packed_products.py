"""Product with a matrix of few bits per weight whose rows differ from run to run."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import PackedMatrixMultiply
from edgecomp.plan.sizes import is_dynamic
from edgecomp.schedules.cpu import packed_product
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.schedule import KernelCall

NAME = packed_product.NAME


def match(operation: Operation, target: Target) -> str:
    """Claim products whose leading dimensions alone are dynamic."""
    if not isinstance(operation.kind, PackedMatrixMultiply):
        return "not a product with packed weights"
    if is_dynamic(operation.inputs[0].shape[-1]):
        return "its columns are dynamic"
    return packed_product.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel: whole tiles of rows, then row after row."""
    twin = Twin(operation)
    x = operation.inputs[0]
    (call,) = packed_product.emit_packed(
        twin.operation, target, row_count=x.elements // x.shape[-1]
    )
    assert call.dynamic is not None
    return [twin.restore(call, call.dynamic)]
