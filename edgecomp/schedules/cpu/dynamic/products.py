"""Product with a constant matrix whose rows differ from run to run."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.sizes import Dimension, is_dynamic
from edgecomp.schedules.cpu import matrix_multiply
from edgecomp.schedules.cpu.dense import emit_dense
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.schedule import KernelCall

NAME = matrix_multiply.NAME


def match(operation: Operation, target: Target) -> str:
    """Claim products whose leading dimensions alone are dynamic."""
    if not isinstance(operation.kind, MatrixMultiply):
        return "not a matrix product with a constant"
    values = [operation.inputs[0], operation.output, *operation.inputs[3:]]
    if any(is_dynamic(value.shape[-1]) for value in values):
        return "its columns are dynamic"
    return matrix_multiply.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel, with the tiles of the most rows."""
    twin = Twin(operation)
    kind = twin.operation.kind
    assert isinstance(kind, MatrixMultiply)
    product, weight = matrix_multiply.product_of(twin.operation)
    x = operation.inputs[0]
    row_count: Dimension = x.elements // x.shape[-1]
    call = emit_dense(
        "matrix_multiply",
        kind,
        product,
        twin.operation,
        target,
        weight,
        row_count=row_count,
    )
    assert call.dynamic is not None
    return [twin.restore(call, call.dynamic)]
