"""Product of a row-major value with a constant matrix."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.values import Array, Order
from edgecomp.schedules.cpu.dense import dense_candidates, emit_dense, refuse_dense
from edgecomp.schedules.cpu.product import Product, RowDimension, RunDimension
from edgecomp.schedules.params import require_none
from edgecomp.schedules.schedule import KernelCall

NAME = "matrix_multiply"


def match(operation: Operation, target: Target) -> str:
    """Claim products whose right side is constant."""
    kind = operation.kind
    if not isinstance(kind, MatrixMultiply):
        return "not a matrix product with a constant"
    weight = operation.inputs[1].constant
    if weight is None or weight.ndim != 2:
        return "weight is not a constant [K, N]"
    values = [operation.inputs[0], operation.output, *operation.inputs[3:]]
    if any(value.order is not Order.ROW_MAJOR for value in values):
        return "a value is not row-major"
    return refuse_dense(kind, operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    return emit_candidate(operation, target, "")


def candidates(operation: Operation, target: Target) -> list[str]:
    """Tiles to measure."""
    kind = operation.kind
    if match(operation, target):
        return []
    assert isinstance(kind, MatrixMultiply)
    product, weight = product_of(operation)
    return dense_candidates(kind, product, operation, target, weight)


def emit_candidate(operation: Operation, target: Target, params: str) -> list[KernelCall]:
    """One kernel with given tiles."""
    kind = operation.kind
    require_none(match(operation, target))
    assert isinstance(kind, MatrixMultiply)
    product, weight = product_of(operation)
    return [
        emit_dense("matrix_multiply", kind, product, operation, target, weight, params=params)
    ]


def product_of(operation: Operation) -> tuple[Product, Array]:
    """Addresses, and the weight as [N, K]."""
    kind = operation.kind
    assert isinstance(kind, MatrixMultiply)
    x, weight = operation.inputs[:2]
    assert weight.constant is not None
    depth, columns = weight.constant.shape
    rows = x.elements // depth
    product = Product(
        rows=(RowDimension(rows, depth, columns, columns),),
        depth=(RunDimension(depth, 1),),
        columns=columns,
        x_elements=x.elements,
        output_elements=rows * columns,
        residual_elements=rows * columns if kind.residual else 0,
    )
    return product, weight.constant.T
