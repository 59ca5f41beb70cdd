"""Product with a constant matrix, in pairs, whose rows differ from run to run."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.sizes import Dimension, is_dynamic, smallest
from edgecomp.schedules.cpu import paired_product
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.schedule import KernelCall

NAME = paired_product.NAME


def match(operation: Operation, target: Target) -> str:
    """Claim products whose leading dimensions alone are dynamic, where pairs pay at all sizes.

    With few rows a product waits for its weights, and pairs have more to do beside.
    """
    if not isinstance(operation.kind, MatrixMultiply):
        return "not a matrix product with a constant"
    values = [operation.inputs[0], operation.output, *operation.inputs[3:]]
    if any(is_dynamic(value.shape[-1]) for value in values):
        return "its columns are dynamic"
    x = operation.inputs[0]
    fewest = smallest(x.elements // x.shape[-1])
    if fewest < paired_product.LEAST_STREAMED_ROWS:
        return f"it may have {fewest} rows"
    return paired_product.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel, with the tiles of the most rows."""
    twin = Twin(operation)
    x = operation.inputs[0]
    row_count: Dimension = x.elements // x.shape[-1]
    call = paired_product.emit_rows(twin.operation, target, row_count)
    assert call.dynamic is not None
    return [twin.restore(call, call.dynamic)]
