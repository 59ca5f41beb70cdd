"""The GPUs' schedules, the more special ones first: the first that claims an operation has it."""

import dataclasses
import functools

from edgecomp.device.gpu_file import APIS
from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.schedules.cuda import tensor_product
from edgecomp.schedules.gpu import (
    attention,
    batch_matrix_multiply,
    convolution,
    depthwise,
    elementwise,
    gather,
    layer_norm,
    matrix_multiply,
    moves,
    packed_product,
    pool,
    quantize,
    reduce,
    resize,
    shared_product,
    softmax,
    winograd,
)
from edgecomp.schedules.schedule import KernelCall, Schedule

_SHARED: tuple[Schedule, ...] = (
    depthwise,
    winograd,
    shared_product,
    convolution,
    matrix_multiply,
    packed_product,
    attention,
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
        """As the schedule's."""
        return self.schedule.match(operation, target)

    def emit(self, operation: Operation, target: Target) -> list[KernelCall]:
        """As the schedule's."""
        return self.schedule.emit(operation, target)


@functools.cache
def gpu_schedules(api: str) -> tuple[Schedule, ...]:
    """Those for GPUs that are driven through an interface (``Gpu.api``)."""
    own: tuple[Schedule, ...] = (tensor_product,) if api == "cuda" else ()
    return tuple(_Named(f"{api}_{schedule.NAME}", schedule) for schedule in (*own, *_SHARED))


def gpu_names(name: str) -> tuple[str, ...]:
    """Of a schedule, for every interface."""
    return tuple(f"{api}_{name}" for api in APIS)
