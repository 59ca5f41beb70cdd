"""Operations whose first dimension alone is dynamic, and that treat each index of it alike.

Images of a batch: the kernels are those of one image, repeated with pointers that advance.
"""

import dataclasses
from typing import Any

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.attention import Softmax
from edgecomp.plan.elementwise import LookupTable, QuantizedAdd, QuantizedMultiply
from edgecomp.plan.movement import Fill, FillHalo, Resize, StridedCopy
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.reductions import Pool, Reduce
from edgecomp.plan.sizes import Dimension, Size, has_dynamic, largest
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.family import SCHEDULES
from edgecomp.schedules.schedule import Constant, Dynamic, KernelCall, Schedule

NAME = "leading"

#: Kinds that never mix indices of the first dimension.
_SEPARATE = (Convolution, Pool, Resize, Fill, FillHalo, LookupTable, Quantize, Dequantize)


def match(operation: Operation, target: Target) -> str:
    """Claim operations that go through their first dimension index by index."""
    reason = _refusal(operation)
    if reason:
        return reason
    one = Twin(operation, leading=1).operation
    if _static_schedule(one, target) is None:
        return "no kernel for one index of the first dimension"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """The kernels of one index, repeated."""
    twin = Twin(operation, leading=1)
    schedule = _static_schedule(twin.operation, target)
    assert schedule is not None
    count = _leading(operation)
    calls = []
    for call in schedule.emit(twin.operation, target):
        strides = tuple(_stride_bytes(argument) for argument in call.arguments)
        restored = twin.restore(call, Dynamic(count, strides=strides))
        total = call.multiply_adds * largest(count)
        calls.append(dataclasses.replace(restored, multiply_adds=total))
    return calls


def _static_schedule(operation: Operation, target: Target) -> Schedule | None:
    return next((s for s in SCHEDULES if not s.match(operation, target)), None)


def _leading(operation: Operation) -> Dimension:
    """The size of the output's first dimension."""
    shape = operation.outputs[0].shape
    return shape[0] if shape else 1


def _refusal(operation: Operation) -> str:
    """Why indices of the first dimension are not independent of each other, "" if they are."""
    count = _leading(operation)
    if not isinstance(count, Size):
        return "not a batch: the first dimension of its result is fixed"
    for value in (*operation.inputs, *operation.outputs):
        if value.constant is not None:
            if has_dynamic(value.shape):
                return "a constant of dynamic size"
        elif not value.shape or value.shape[0] != count or has_dynamic(value.shape[1:]):
            return "not a batch: other dimensions than the first are dynamic"
    kind = operation.kind
    if any(size != count for size in _sizes_in(kind)):
        return "not a batch: a number of it depends on the size"
    return _kind_refusal(kind, operation)


def _kind_refusal(kind: Any, operation: Operation) -> str:
    if isinstance(kind, _SEPARATE):
        return ""
    rank = len(operation.outputs[0].shape)
    if isinstance(kind, (QuantizedAdd, QuantizedMultiply)):
        fits = all(
            len(value.shape) <= rank
            and (value.constant is None or len(value.shape) < rank or value.shape[0] == 1)
            for value in operation.inputs
        )
        return "" if fits else "a constant differs along the first dimension"
    if isinstance(kind, Reduce):
        axes = {axis % len(operation.inputs[0].shape) for axis in kind.axes}
        return "a reduction over the batch" if 0 in axes or kind.centred else ""
    if isinstance(kind, Softmax):
        return "a softmax over the batch" if kind.axis % rank == 0 else ""
    if isinstance(kind, StridedCopy):
        alone = kind.permutation.count(0) == 1 and kind.permutation[0] == 0
        plain = (kind.in_start[0], kind.in_step[0], kind.out_start[0], kind.out_step[0])
        return "" if alone and plain == (0, 1, 0, 1) else "a copy that mixes the batch"
    return "not an operation on images or 8-bit values"


def _sizes_in(field: Any) -> list[Size]:
    """All dynamic numbers of a kind."""
    if isinstance(field, Size):
        return [field]
    if isinstance(field, tuple):
        return [size for each in field for size in _sizes_in(each)]
    if dataclasses.is_dataclass(field) and not isinstance(field, type):
        fields = dataclasses.fields(field)
        return [size for f in fields for size in _sizes_in(getattr(field, f.name))]
    return []


def _stride_bytes(argument: Value | Constant) -> int:
    if isinstance(argument, Constant) or argument.constant is not None:
        return 0
    stride: int = argument.view.strides[0]
    return stride * np.dtype(argument.dtype).itemsize
