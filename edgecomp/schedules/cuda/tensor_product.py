"""Convolutions and products of 8-bit integers on tensor cores."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Convolution, MatrixMultiply, Operation
from edgecomp.schedules.cpu import convolution as cpu_convolution
from edgecomp.schedules.cpu import matrix_multiply as cpu_matrix_multiply
from edgecomp.schedules.cpu.product import Product
from edgecomp.schedules.cuda.tensor_kernel import COLUMNS, WORD, emit_tensor_product
from edgecomp.schedules.gpu import convolution, matrix_multiply
from edgecomp.schedules.gpu.dense import emit_dense
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.schedule import KernelCall

NAME = "tensor_product"

FEATURE = "int8_mma"
#: Fewer elements of K in a run leave most of an instruction unused.
_LEAST_RUN = 8


def match(operation: Operation, target: Target) -> str:
    """Claim what the GPU's schedules of the same kinds claim, where x lies in whole words."""
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
    return _refuse_shape(_product_of(operation))


def _product_of(operation: Operation) -> Product:
    if isinstance(operation.kind, Convolution):
        return cpu_convolution.product(operation)
    return cpu_matrix_multiply.product_of(operation)[0]


def _refuse_shape(product: Product) -> str:
    """Rows of x begin at words, and a tile has enough to do."""
    steps = [product.x_offset, product.x_group_stride if product.groups > 1 else 0]
    steps += [row.x for row in product.rows if row.size != 1]
    steps += [dimension.stride for dimension in product.depth[:-1] if dimension.size != 1]
    if any(int(step) % WORD for step in steps):
        return "rows that do not begin at words"
    if product.depth[-1].size < _LEAST_RUN or product.columns < COLUMNS:
        return f"only {product.depth[-1].size} elements of K and {product.columns} columns"
    return ""


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
    return [emit_dense(name, kind, product, operation, target, weight, emit_tensor_product)]
