"""Product of a row-major value with a constant matrix."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import MatrixMultiply
from edgecomp.schedules.cpu import matrix_multiply as cpu
from edgecomp.schedules.gpu.dense import emit_dense, refuse_product
from edgecomp.schedules.schedule import KernelCall

NAME = "matrix_multiply"


def match(operation: Operation, target: Target) -> str:
    """Claim products whose right side is constant."""
    kind = operation.kind
    reason = cpu.match(operation, target)
    if reason or not isinstance(kind, MatrixMultiply):
        return reason
    return refuse_product(kind, operation)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind = operation.kind
    assert isinstance(kind, MatrixMultiply)
    product, weight = cpu.product_of(operation)
    return [emit_dense("matrix_multiply", kind, product, operation, target, weight)]
