"""Operations on every element of values of one shape, whatever the shape: chunk by chunk.

The kernel is that of one static chunk, repeated over the memory. The last chunk goes on behind
the last element, where nothing else lies.
"""

import dataclasses

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Order, Value
from edgecomp.schedules.cpu.dynamic.eight_bits import static_schedule
from edgecomp.schedules.schedule import Constant, Dynamic, KernelCall

NAME = "flat"
#: Elements of a chunk: enough to hide the call, few enough to share among threads.
_CHUNK = 2048


def match(operation: Operation, target: Target) -> str:
    """8-bit conversions, tables, sums and products of values of one shape and order."""
    schedule = static_schedule(operation)
    if isinstance(schedule, str):
        return schedule
    output = operation.output
    for value in operation.inputs:
        if value.constant is not None or value.shape != output.shape:
            return "its values have several shapes"
    for value in (*operation.inputs, output):
        if value.order is not output.order or value.halo or value.part_of is not None:
            return "its values lie in several orders"
    return schedule.match(_chunk_of(operation), target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """The kernels of one chunk, repeated."""
    schedule = static_schedule(operation)
    assert not isinstance(schedule, str)
    chunk = _chunk_of(operation)
    pairs = zip(
        (*chunk.inputs, *chunk.outputs), (*operation.inputs, *operation.outputs), strict=True
    )
    origin = dict(pairs)
    items = operation.output.elements + (_CHUNK - 1)
    calls = []
    for call in schedule.emit(chunk, target):
        arguments = tuple(a if isinstance(a, Constant) else origin[a] for a in call.arguments)
        strides = tuple(_stride_bytes(argument) for argument in arguments)
        dynamic = Dynamic(items, _CHUNK, strides=strides, overrun_bytes=strides)
        calls.append(dataclasses.replace(call, arguments=arguments, dynamic=dynamic))
    return calls


def _stride_bytes(argument: Value | Constant) -> int:
    if isinstance(argument, Constant):
        return 0
    return _CHUNK * np.dtype(argument.dtype).itemsize


def _chunk_of(operation: Operation) -> Operation:
    """The same on one chunk."""

    def chunk(value: Value) -> Value:
        return Value(
            value.name,
            (_CHUNK,),
            value.dtype,
            Order.ROW_MAJOR,
            quantization=value.quantization,
        )

    twins = {v: chunk(v) for v in (*operation.inputs, *operation.outputs)}
    return Operation(
        operation.kind,
        [twins[value] for value in operation.inputs],
        [twins[value] for value in operation.outputs],
        operation.nodes,
        operation.source,
    )
