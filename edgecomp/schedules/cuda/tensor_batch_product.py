"""Products of two activations on tensor cores, of 8-bit integers and of floats.

Floats of 16 bits where both values are stored so, and, where the build allows tf32, float32.
"""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply, IntegerBatchMultiply
from edgecomp.plan.sizes import largest
from edgecomp.schedules.cpu import batch_matrix_multiply, integer_batch_multiply
from edgecomp.schedules.cuda.tensor_batch_kernel import (
    TensorBatchKernel,
    depth_of,
    layouts_of,
)
from edgecomp.schedules.cuda.tensor_product import refuse_type
from edgecomp.schedules.gpu.elementwise import refuse_steps
from edgecomp.schedules.schedule import KernelCall

NAME = "tensor_batch_product"

#: Fewer elements of K leave most of an instruction unused.
_LEAST_DEPTH = 8


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedules of the same kinds claim, of types that an instruction has."""
    kind = operation.kind
    if isinstance(kind, IntegerBatchMultiply):
        reason = integer_batch_multiply.refuse(operation, {"uint8", "int8"}) or refuse_steps(
            kind.steps
        )
    elif isinstance(kind, BatchMatrixMultiply):
        reason = batch_matrix_multiply.match(operation, target)
    else:
        return "not a product of two values"
    a, b = operation.inputs[:2]
    reason = reason or refuse_type(a.stored, b.stored, _others(a.stored), target)
    return reason or _refuse_shape(operation)


def _others(dtype: str) -> set[str]:
    """Types that b may have beside a's."""
    return {"uint8", "int8"} if "int" in dtype else {dtype}


def _refuse_shape(operation: Operation) -> str:
    """K of a lies in order, and an instruction has enough to do."""
    layout, _ = layouts_of(operation)
    if layout.depth != 1:
        return "rows of a whose elements lie apart"
    depth = largest(depth_of(operation))
    if depth < _LEAST_DEPTH:
        return f"only {depth} elements of K"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kernel = TensorBatchKernel(operation, target)
    kernel.emit()
    work = largest(operation.output.elements * kernel.depth)
    return [kernel.builder.call(NAME, kernel.arguments, work)]
