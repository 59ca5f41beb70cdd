"""The GPUs' schedules, the more special ones first: the first that claims an operation has it."""

import dataclasses
import functools

from edgecomp.device.target import Target
from edgecomp.plan.operations import (
    Convolution,
    Dequantize,
    MatrixMultiply,
    Operation,
    Pool,
    Quantize,
    Reduce,
)
from edgecomp.schedules.cuda import tensor_product
from edgecomp.schedules.gpu import (
    batch_matrix_multiply,
    convolution,
    depthwise,
    elementwise,
    gather,
    layer_norm,
    matrix_multiply,
    moves,
    pool,
    quantize,
    reduce,
    resize,
    softmax,
)
from edgecomp.schedules.schedule import KernelCall, Schedule

#: Kinds whose integers are of 8 bits on a GPU.
_OF_BYTES = (Convolution, MatrixMultiply, Pool, Reduce, Quantize, Dequantize)
_SHARED: tuple[Schedule, ...] = (
    depthwise,
    convolution,
    matrix_multiply,
    batch_matrix_multiply,
    pool,
    reduce,
    resize,
    elementwise,
    quantize,
    softmax,
    layer_norm,
    gather,
    moves,
)


@dataclasses.dataclass
class _Named:
    """A schedule under the name that reports give it for one kind of device."""

    NAME: str
    schedule: Schedule

    def match(self, operation: Operation, target: Target) -> str:
        """As the schedule's, but for arithmetic of 16-bit integers."""
        values = (*operation.inputs[:1], *operation.outputs)
        if isinstance(operation.kind, _OF_BYTES) and any(v.dtype == "int16" for v in values):
            return "16-bit integers are computed by the processor"
        return self.schedule.match(operation, target)

    def emit(self, operation: Operation, target: Target) -> list[KernelCall]:
        """As the schedule's."""
        return self.schedule.emit(operation, target)


@functools.cache
def gpu_schedules(api: str) -> tuple[Schedule, ...]:
    """Those for GPUs that are driven through an interface (``Gpu.api``)."""
    own: tuple[Schedule, ...] = (tensor_product,) if api == "cuda" else ()
    return tuple(_Named(f"{api}_{schedule.NAME}", schedule) for schedule in (*own, *_SHARED))
