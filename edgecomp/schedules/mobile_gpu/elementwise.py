"""Chains of elementwise operators over broadcast inputs: one work item for each element."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Elementwise, Operation
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.cpu.elementwise import (
    MAX_POINTERS,
    _distinct,
    _immediate,
    _load,
    _stored,
)
from edgecomp.schedules.cpu.iteration import space_of_views
from edgecomp.schedules.cpu.operand import Context
from edgecomp.schedules.cpu.small_types import memory_dtype
from edgecomp.schedules.cpu.steps import emit_step, refusal
from edgecomp.schedules.mobile_gpu.builder import GridBuilder, line_of_groups
from edgecomp.schedules.mobile_gpu.places import gpu_of, places_of_items
from edgecomp.schedules.schedule import KernelCall

NAME = "opencl_elementwise"

#: Types that every device has.
DTYPES = frozenset({"float32", "int32", "uint8", "int8", "bool", "int64"})


def match(operation: Operation, target: Target) -> str:
    """Any chain whose operators and dtypes steps.py knows."""
    del target
    kind = operation.kind
    if not isinstance(kind, Elementwise):
        return "not an elementwise chain"
    if len(_distinct(operation)) + 1 > MAX_POINTERS:
        return f"{len(operation.inputs)} inputs"
    dtypes = [value.dtype for value in operation.inputs]
    for step in kind.steps:
        reason = refusal(step, [dtypes[k] for k in step.operands])
        if reason:
            return reason
        dtypes.append(step.dtype)
    for dtype in dtypes:
        if dtype not in DTYPES:
            return f"a chain of {dtype}"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel. Constants of one element become part of its code."""
    output, kind = operation.output, operation.kind
    assert isinstance(kind, Elementwise)
    if not output.elements:
        return []
    items = gpu_of(target).group_items
    groups = line_of_groups(output.elements, items)
    builder = GridBuilder(groups, (items, 1, 1))
    pointers = _distinct(operation)
    buffers = {value: _pointer(builder, f"x{k}", value) for k, value in enumerate(pointers)}
    result = _pointer(builder, "y", output)
    views = [value.view.broadcast_to(output.shape) for value in pointers]
    space = space_of_views([output.view, *views])
    with places_of_items(builder, space, groups[0] * items) as offsets:
        loaded = {
            value: _load(builder, buffers[value], value, offset, 1, 1)
            for value, offset in zip(pointers, offsets[1:], strict=True)
        }
        chain = [loaded.get(value) or _immediate(value, 1) for value in operation.inputs]
        for step in kind.steps:
            context = Context(builder, step, 1, builder.isa)
            chain.append(emit_step(context, [chain[k] for k in step.operands]))
        builder.store(result, offsets[0], _stored(builder, chain[-1], output.dtype, 1))
    kernel = builder.finish("opencl_elementwise")
    return [KernelCall(kernel, (*pointers, output), 1, launch=builder.launch)]


def _pointer(builder: GridBuilder, name: str, value: Value) -> tirx.Buffer:
    return builder.pointer(name, memory_dtype(value.dtype), value.view.elements)
