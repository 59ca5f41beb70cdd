"""The GPUs' schedules, the more special ones first: the first that claims an operation has it."""

import dataclasses
import functools

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
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

#: Interfaces whose texts have the functions of ``halves.py``.
_HALF_APIS = ("opencl", "cuda")
#: Schedules whose kernels load and store floats of 16 bits where a value is stored so.
_OF_HALVES: tuple[Schedule, ...] = (
    tensor_product,
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


@functools.cache
def half_schedules(api: str) -> tuple[Schedule, ...]:
    """As ``gpu_schedules``, those first whose kernels store floats of 16 bits."""
    every = gpu_schedules(api)
    able = [schedule for schedule in every if stores_halves(api, schedule.NAME)]
    return (*able, *(schedule for schedule in every if schedule not in able))


def stores_halves(api: str, name: str) -> bool:
    """Whether the schedule of a name loads and stores floats of 16 bits."""
    return api in _HALF_APIS and any(f"{api}_{schedule.NAME}" == name for schedule in _OF_HALVES)
