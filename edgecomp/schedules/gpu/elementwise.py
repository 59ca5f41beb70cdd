"""Chains of elementwise operators over broadcast inputs: a work item for each vector."""

import dataclasses
from collections.abc import Sequence

from edgecomp.device.target import Target
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant
from edgecomp.schedules.cpu import elementwise as cpu
from edgecomp.schedules.cpu.elementwise import (
    distinct_inputs,
    immediate,
    stored_form,
)
from edgecomp.schedules.cpu.iteration import space_of_views
from edgecomp.schedules.cpu.operand import INTEGERS, Context, Operand
from edgecomp.schedules.cpu.small_types import memory_dtype
from edgecomp.schedules.cpu.steps import emit_step
from edgecomp.schedules.cpu.vectors import named, typed
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.halves import HALVES
from edgecomp.schedules.gpu.maps import emit_map
from edgecomp.schedules.schedule import KernelCall

NAME = "elementwise"

#: Types that every device has.
DTYPES = frozenset({"float32", "int32", "uint8", "int8", "bool", "int64"})
#: Steps that call a function of the C library, which kernels of a GPU do not have; Mod on floats.
LIBRARY_STEPS = frozenset({"Mod", "Pow"})
#: Steps that compute in float64 where their operands are integers.
_WIDE_OF_INTEGERS = frozenset({"Shrink"})
#: Steps that are a function of OpenCL's, on float32.
_NATIVE = {
    name: name.lower()
    for name in (
        *("Sin", "Cos", "Tan", "Asin", "Acos", "Atan"),
        *("Sinh", "Cosh", "Asinh", "Acosh", "Atanh"),
    )
}


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedule claims, of types and functions that every device has."""
    kind = operation.kind
    reason = cpu.match(operation, target)
    if reason or not isinstance(kind, Elementwise):
        return reason
    reason = refuse_steps(kind.steps)
    if reason:
        return reason
    # Floats of 16 bits are rounded where they are stored, so at the end alone.
    rounded = kind.steps[-1].operator == "Cast" and kind.steps[-1].dtype in HALVES
    inner = kind.steps[:-1] if rounded else kind.steps
    dtypes = [value.dtype for value in operation.inputs if value.dtype not in HALVES]
    for dtype in (*dtypes, *(step.dtype for step in inner)):
        if dtype not in DTYPES:
            return f"a chain of {dtype}"
    return ""


def refuse_steps(steps: Sequence[Step]) -> str:
    """Which of the CPU's steps kernels of a GPU cannot compute, "" for none."""
    for step in steps:
        is_integer = step.operator == "Mod" and step.dtype in INTEGERS
        if step.operator in LIBRARY_STEPS and not is_integer:
            return f"operator {step.operator}"
        if step.operator in _WIDE_OF_INTEGERS and step.dtype in INTEGERS:
            return f"operator {step.operator} of {step.dtype}"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel. Constants of one element become part of its code."""
    output, kind = operation.output, operation.kind
    assert isinstance(kind, Elementwise)
    if not output.elements:
        return []
    inputs = distinct_inputs(operation)
    views = [value.view.broadcast_to(output.shape) for value in inputs]
    space = space_of_views([output.view, *views])

    def body(builder: GridBuilder, vectors: list[Expr], lanes: int) -> Expr:
        loaded = {
            value: operand_of(builder, value, vector, lanes)
            for value, vector in zip(inputs, vectors, strict=True)
        }
        chain = [loaded.get(value) or immediate(value, lanes) for value in operation.inputs]
        *inner, last = kind.steps
        if last.dtype in HALVES:  # a store rounds
            last = dataclasses.replace(last, dtype="float32")
        result = emit_steps(builder, (*inner, last), chain, lanes)
        return stored_form(builder, result, last.dtype, lanes)

    call = emit_map(
        NAME,
        space,
        _pointer(output),
        [_pointer(value) for value in inputs],
        target,
        body,
        arguments=(*inputs, output),
        most_lanes=0 if _is_float(operation, kind) else 1,
    )
    return [call]


def emit_steps(
    builder: GridBuilder, steps: Sequence[Step], operands: Sequence[Operand], lanes: int
) -> Operand:
    """The result of a chain's last step."""
    chain = list(operands)
    for step in steps:
        given = [chain[k] for k in step.operands]
        if step.operator in _NATIVE and step.dtype == "float32":
            chain.append(_native(builder, _NATIVE[step.operator], given[0], lanes))
            continue
        context = Context(builder, step, lanes, builder.isa)
        chain.append(emit_step(context, given))
    return chain[-1]


def _native(builder: GridBuilder, function: str, x: Operand, lanes: int) -> Operand:
    value = tirx.call_pure_extern(typed("float32", lanes), function, x.value)
    return Operand(named(builder, "native", value), "float32")


def _is_float(operation: Operation, kind: Elementwise) -> bool:
    """Whether all of a chain is float32: vectors of truths differ from device to device."""
    return set(_dtypes(operation, kind)) <= {"float32", *HALVES}


def _dtypes(operation: Operation, kind: Elementwise) -> list[str]:
    """Of all that a chain reads and makes."""
    return [value.dtype for value in operation.inputs] + [step.dtype for step in kind.steps]


def _pointer(value: Value) -> tuple[str, int]:
    stored = value.stored
    return stored if stored in HALVES else memory_dtype(stored), value.view.elements


def operand_of(builder: GridBuilder, value: Value, vector: Expr, lanes: int) -> Operand:
    """What was loaded of a value, as steps take it."""
    if value.dtype == "bool":
        vector = tirx.NE(vector, constant(0, "uint8", lanes))
    return Operand(named(builder, "x", vector), value.dtype)
