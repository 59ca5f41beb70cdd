"""Convolutions and products with constants alike, for schedules that compute both."""

from collections.abc import Callable

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution, MatrixMultiply
from edgecomp.schedules.cpu import convolution as cpu_convolution
from edgecomp.schedules.cpu import matrix_multiply as cpu_matrix_multiply
from edgecomp.schedules.cpu.product import Product
from edgecomp.schedules.gpu import convolution, matrix_multiply
from edgecomp.schedules.gpu.dense import emit_dense
from edgecomp.schedules.gpu.dense_kernel import DeviceProduct, ProductTask
from edgecomp.schedules.schedule import KernelCall


def refusal(operation: Operation, target: Target) -> str:
    """Why a GPU's schedules of these kinds do not claim an operation, "" where one does."""
    if isinstance(operation.kind, Convolution):
        return convolution.match(operation, target)
    if isinstance(operation.kind, MatrixMultiply):
        return matrix_multiply.match(operation, target)
    return "neither a convolution nor a product with a constant"


def product_of(operation: Operation) -> Product:
    """Addresses of a claimed operation."""
    if isinstance(operation.kind, Convolution):
        return cpu_convolution.product(operation)
    return cpu_matrix_multiply.product_of(operation)[0]


def emit_by(
    make: Callable[[ProductTask], DeviceProduct], operation: Operation, target: Target
) -> list[KernelCall]:
    """One kernel, as ``make`` emits it."""
    kind = operation.kind
    if isinstance(kind, Convolution):
        name, weight = "convolution", cpu_convolution.channels_last(operation)
        product = cpu_convolution.product(operation)
    else:
        assert isinstance(kind, MatrixMultiply)
        name = "matrix_multiply"
        product, weight = cpu_matrix_multiply.product_of(operation)
    return [emit_dense(name, kind, product, operation, target, weight, make)]
