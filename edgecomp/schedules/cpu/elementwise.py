"""Chains of elementwise operators over broadcast inputs, in one pass over memory."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import largest
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, ramp
from edgecomp.schedules.cpu.iteration import space_of_views
from edgecomp.schedules.cpu.move import load_strided
from edgecomp.schedules.cpu.nest import emit_nest
from edgecomp.schedules.cpu.operand import Context, Operand, held_as
from edgecomp.schedules.cpu.small_types import (
    memory_dtype,
    narrow_bfloat16,
    widen_bfloat16,
)
from edgecomp.schedules.cpu.steps import emit_step, refusal
from edgecomp.schedules.cpu.vectors import named, typed
from edgecomp.schedules.schedule import KernelCall

NAME = "elementwise"
#: Pointers a kernel may take (EC_MAX_KERNEL_POINTERS of the runtime), the output's included.
MAX_POINTERS = 12


def match(operation: Operation, target: Target) -> str:
    """Any chain whose operators and dtypes steps.py knows."""
    del target
    kind = operation.kind
    if not isinstance(kind, Elementwise):
        return "not an elementwise chain"
    if len(distinct_inputs(operation)) + 1 > MAX_POINTERS:
        return f"{len(operation.inputs)} inputs"
    dtypes = [value.dtype for value in operation.inputs]
    for step in kind.steps:
        reason = refusal(step, [dtypes[k] for k in step.operands])
        if reason:
            return reason
        dtypes.append(step.dtype)
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel. Constants of one element become part of its code."""
    if not operation.output.elements:
        return []
    chain = Chain(operation, target)
    items = emit_nest(chain.builder, chain.space, chain.lanes, chain.body)
    return [KernelCall(chain.builder.finish("elementwise"), chain.arguments, items)]


class Chain:
    """The kernel of one chain, apart from its loops.

    Attributes:
        builder: of the kernel.
        arguments: of its call.
        space: what its loops walk; operand 0 is the output.
        lanes: of a full vector.
    """

    def __init__(self, operation: Operation, target: Target) -> None:
        """Declare the pointers."""
        output = operation.output
        self._operation, self._target = operation, target
        self.builder = builder = KernelBuilder(target.core.isa)
        self._pointers = pointers = distinct_inputs(operation)
        self._buffers = {
            value: _pointer(builder, f"x{k}", value) for k, value in enumerate(pointers)
        }
        self._result = _pointer(builder, "y", output)
        views = [value.view.broadcast_to(output.shape) for value in pointers]
        self.space = space_of_views([output.view, *views])
        self.arguments = (*pointers, output)
        self.lanes = target.lanes(_widest_bits(operation))

    def body(self, offsets: list[Expr], lanes: int) -> None:
        """All steps for one vector."""
        builder, space, operation = self.builder, self.space, self._operation
        assert isinstance(operation.kind, Elementwise)
        places = zip(self._pointers, offsets[1:], strict=True)
        loaded = {
            value: _load(
                builder, self._buffers[value], value, offset, space.inner_stride(k), lanes
            )
            for k, (value, offset) in enumerate(places, start=1)
        }
        chain = [loaded.get(value) or immediate(value, lanes) for value in operation.inputs]
        for step in operation.kind.steps:
            context = Context(builder, step, lanes, self._target.core.isa)
            chain.append(emit_step(context, [chain[k] for k in step.operands]))
        stored = stored_form(builder, chain[-1], operation.output.dtype, lanes)
        builder.store(self._result, ramp(offsets[0], lanes, space.inner_stride(0)), stored)


def distinct_inputs(operation: Operation) -> list[Value]:
    """Inputs that need a pointer, each once."""
    wanted = [value for value in operation.inputs if _scalar(value) is None]
    return list(dict.fromkeys(wanted))


def _scalar(value: Value) -> float | int | None:
    if value.constant is None or value.constant.size != 1:
        return None
    number = value.constant.reshape(-1)[0].item()
    assert isinstance(number, float | int)
    return number


def _widest_bits(operation: Operation) -> int:
    kind = operation.kind
    assert isinstance(kind, Elementwise)
    dtypes = [value.dtype for value in operation.inputs] + [step.dtype for step in kind.steps]
    return 8 * max(np.dtype(held_as(dtype)).itemsize for dtype in dtypes)


def _pointer(builder: KernelBuilder, name: str, value: Value) -> Buffer:
    return builder.pointer(name, memory_dtype(value.dtype), largest(value.view.elements))


def _load(
    builder: KernelBuilder, buffer: Buffer, value: Value, offset: Expr, stride: int, lanes: int
) -> Operand:
    vector = load_strided(buffer, offset, stride, lanes)
    if value.dtype == "bool":
        vector = tirx.NE(vector, constant(0, "uint8", lanes))
    elif value.dtype == "float16":
        vector = tirx.Cast(typed("float32", lanes), vector)
    elif value.dtype == "bfloat16":
        vector = widen_bfloat16(vector)
    return Operand(named(builder, "x", vector), value.dtype)


def immediate(value: Value, lanes: int) -> Operand:
    """A constant of one element in every lane."""
    scalar = _scalar(value)
    assert scalar is not None
    if value.dtype == "bool":
        return Operand(constant(bool(scalar), "bool", lanes), "bool", scalar)
    return Operand(constant(scalar, held_as(value.dtype), lanes), value.dtype, scalar)


def stored_form(builder: KernelBuilder, operand: Operand, dtype: str, lanes: int) -> Expr:
    """The result in its memory form."""
    if dtype == "bool":
        one, zero = constant(1, "uint8", lanes), constant(0, "uint8", lanes)
        return tirx.Select(operand.value, one, zero)
    if dtype == "float16":
        return tirx.Cast(typed("float16", lanes), operand.value)
    if dtype == "bfloat16":
        return narrow_bfloat16(builder, operand.value)
    return operand.value
