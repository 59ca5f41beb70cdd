"""Float convolutions and products whose tiles go through local memory, where that is fast."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Convolution, MatrixMultiply, Operation
from edgecomp.schedules.cpu import convolution as cpu_convolution
from edgecomp.schedules.cpu import matrix_multiply as cpu_matrix_multiply
from edgecomp.schedules.cpu.product import Product
from edgecomp.schedules.gpu import convolution, matrix_multiply
from edgecomp.schedules.gpu.dense import emit_dense
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.gpu.shared_kernel import choose_shared_tile, emit_shared_product
from edgecomp.schedules.schedule import KernelCall

NAME = "shared_product"


def match(operation: Operation, target: Target) -> str:
    """Claim what the GPU's schedules of the same kinds claim, where there is enough of it."""
    kind = operation.kind
    if isinstance(kind, Convolution):
        reason = convolution.match(operation, target)
    elif isinstance(kind, MatrixMultiply):
        reason = matrix_multiply.match(operation, target)
    else:
        return "neither a convolution nor a product with a constant"
    if reason:
        return reason
    dtypes = {value.dtype for value in operation.inputs[:2]}
    if dtypes != {"float32"}:
        return f"a product of {', '.join(sorted(dtypes))}"
    if choose_shared_tile(_product_of(operation), gpu_of(target)) is None:
        return "tiles of local memory are no gain"
    return ""


def _product_of(operation: Operation) -> Product:
    if isinstance(operation.kind, Convolution):
        return cpu_convolution.product(operation)
    return cpu_matrix_multiply.product_of(operation)[0]


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
    return [emit_dense(name, kind, product, operation, target, weight, emit_shared_product)]
