"""Convolutions and products of 8-bit integers on devices that multiply four of them at once."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Convolution, MatrixMultiply, Operation
from edgecomp.schedules.cpu import convolution as cpu_convolution
from edgecomp.schedules.cpu import matrix_multiply as cpu_matrix_multiply
from edgecomp.schedules.cpu.product import collapse_depth
from edgecomp.schedules.gpu import convolution, matrix_multiply
from edgecomp.schedules.gpu.dense import emit_dense
from edgecomp.schedules.gpu.dot_kernel import WORD, emit_dot_product
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.schedule import KernelCall

NAME = "dot_product"

FEATURE = "int8_dot"


def match(operation: Operation, target: Target) -> str:
    """Claim what the GPU's schedules of the same kinds claim, of whole words of K."""
    kind = operation.kind
    if isinstance(kind, Convolution):
        reason = convolution.match(operation, target)
    elif isinstance(kind, MatrixMultiply):
        reason = matrix_multiply.match(operation, target)
    else:
        return "neither a convolution nor a product with a constant"
    if reason:
        return reason
    if FEATURE not in gpu_of(target).features:
        return f"the device has no {FEATURE}"
    dtypes = operation.inputs[0].dtype, operation.inputs[1].dtype
    if dtypes[0] not in ("uint8", "int8") or dtypes[1] != "int8":
        return f"a product of {dtypes[0]} and {dtypes[1]}"
    if isinstance(kind, Convolution):
        product = cpu_convolution.product(operation)
    else:
        product = cpu_matrix_multiply.product_of(operation)[0]
    run = collapse_depth(product.depth)[-1].size
    return "" if run >= WORD else f"only {run} neighbouring elements of K"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind = operation.kind
    if isinstance(kind, Convolution):
        name, weight = "convolution", cpu_convolution.channels_last(operation)
        product = cpu_convolution.product(operation)
    else:
        assert isinstance(kind, MatrixMultiply)
        name = "matrix_multiply"
        product, weight = cpu_matrix_multiply.product_of(operation)
    return [emit_dense(name, kind, product, operation, target, weight, emit_dot_product)]
