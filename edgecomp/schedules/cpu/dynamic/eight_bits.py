"""Conversions, tables, sums and products of 8-bit values, in any order and around any halo."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.elementwise import LookupTable, QuantizedAdd, QuantizedMultiply
from edgecomp.plan.operations import Operation
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.sizes import largest
from edgecomp.schedules.builder import Expr, KernelBuilder, ramp
from edgecomp.schedules.cpu import lookup_table, quantize, quantized_binary
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call, emit_nest
from edgecomp.schedules.cpu.iteration import space_of_views
from edgecomp.schedules.cpu.move import Convert, bits_dtype, load_strided
from edgecomp.schedules.cpu.quantize import LANES
from edgecomp.schedules.cpu.table import TableLookup, table_lanes
from edgecomp.schedules.cpu.vectors import pinned
from edgecomp.schedules.schedule import Constant, KernelCall, Schedule

NAME = "eight_bits"
_KINDS: tuple[tuple[tuple[type, ...], Schedule], ...] = (
    ((Quantize, Dequantize), quantize),
    ((LookupTable,), lookup_table),
    ((QuantizedAdd, QuantizedMultiply), quantized_binary),
)


def static_schedule(operation: Operation) -> Schedule | str:
    """The schedule that takes an operation of fixed size; for other operations why there is none."""
    for kinds, schedule in _KINDS:
        if isinstance(operation.kind, kinds):
            return schedule
    return "neither a conversion, a table nor a quantized sum"


def match(operation: Operation, target: Target) -> str:
    """What the static schedules take."""
    schedule = static_schedule(operation)
    if isinstance(schedule, str):
        return schedule
    return schedule.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    if isinstance(operation.kind, QuantizedAdd | QuantizedMultiply):
        return [_binary(operation, target)]
    return [_unary(operation, target)]


def _binary(operation: Operation, target: Target) -> KernelCall:
    """A sum or a product."""
    (a, b), output = operation.inputs, operation.output
    builder = KernelBuilder(target.core.isa)
    buffers = tuple(
        builder.pointer(name, value.dtype, largest(value.view.elements))
        for name, value in (("a", a), ("b", b), ("y", output))
    )
    views = [value.view.broadcast_to(output.shape) for value in (a, b)]
    space = space_of_views([output.view, *views])
    body = quantized_binary.body_of(builder, operation, buffers, space)
    items = emit_nest(builder, space, LANES, body)
    return dynamic_call(builder, quantized_binary.name_of(operation), (a, b, output), items)


def _unary(operation: Operation, target: Target) -> KernelCall:
    """A conversion or a table."""
    kind, (source,), output = operation.kind, operation.inputs, operation.output
    builder = KernelBuilder(target.core.isa)
    arguments: list[Constant] = []
    convert: Convert
    if isinstance(kind, LookupTable):
        x = builder.pointer("x", "uint8", largest(source.view.elements))
        table = TableLookup(builder, target, kind.table.astype(output.dtype), source.dtype)
        arguments.append(table.constant)
        y = builder.pointer("y", bits_dtype(output.dtype), largest(output.view.elements))
        lanes, convert, name = table_lanes(target, output.dtype), table, "lookup"
    else:
        x = builder.pointer("x", source.dtype, largest(source.view.elements))
        y = builder.pointer("y", output.dtype, largest(output.view.elements))
        convert = quantize.conversion(builder, operation, target)
        lanes, name = LANES, quantize.name_of(operation)
    narrows = np.dtype(source.dtype).itemsize > np.dtype(output.dtype).itemsize
    space = space_of_views([output.view, source.view])

    def body(offsets: list[Expr], width: int) -> None:
        value = convert(load_strided(x, offsets[1], space.inner_stride(1), width))
        if narrows:
            value = pinned(builder, "value", value)
        builder.store(y, ramp(offsets[0], width, space.inner_stride(0)), value)

    items = emit_nest(builder, space, lanes, body)
    return dynamic_call(builder, name, (source, *arguments, output), items)
