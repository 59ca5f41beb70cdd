"""Loads and stores of vectors from any element on."""

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load, pointer_to, ramp
from edgecomp.schedules.cpu.vectors import typed


def load_vector(buffer: Buffer, index: Expr, lanes: int) -> Expr:
    """``lanes`` neighbouring elements; OpenCL asks for the alignment of one element only.

    TVM writes one load for each element where it cannot prove more.
    """
    if lanes == 1:
        return load(buffer, index)
    place = pointer_to(buffer, index)
    dtype = typed(buffer.dtype.element, lanes)
    return tirx.call_pure_extern(dtype, f"vload{lanes}", 0, place)


def store_vector(
    builder: KernelBuilder, buffer: Buffer, index: Expr, value: Expr, lanes: int
) -> None:
    """Store ``lanes`` neighbouring elements."""
    builder.store(buffer, ramp(index, lanes), value)
