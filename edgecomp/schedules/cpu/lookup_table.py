"""Any function of one 8-bit value, through a table."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.elementwise import LookupTable
from edgecomp.plan.operations import Operation
from edgecomp.schedules.builder import KernelBuilder
from edgecomp.schedules.cpu.iteration import space_of_views
from edgecomp.schedules.cpu.move import bits_dtype, emit_move
from edgecomp.schedules.cpu.table import TableLookup, table_lanes
from edgecomp.schedules.schedule import KernelCall

NAME = "lookup_table"


def match(operation: Operation, target: Target) -> str:
    """8-bit input, any orders."""
    del target
    if not isinstance(operation.kind, LookupTable):
        return "not a table lookup"
    if np.dtype(operation.inputs[0].dtype).itemsize != 1:
        return f"table of {operation.inputs[0].dtype}"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, LookupTable)
    (source,) = operation.inputs
    if not output.elements:
        return []
    builder = KernelBuilder()
    x = builder.pointer("x", "uint8", source.view.elements)
    table = kind.table.astype(output.dtype)
    lookup = TableLookup(builder, target, table, source.dtype)
    y = builder.pointer("y", bits_dtype(output.dtype), output.view.elements)
    space = space_of_views([output.view, source.view])
    items = emit_move(builder, target, space, y, x, table_lanes(target, output.dtype), lookup)
    return [KernelCall(builder.finish("lookup"), (source, lookup.constant, output), items)]
