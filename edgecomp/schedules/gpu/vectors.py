"""Loads and stores of vectors from any element on."""

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load, pointer_to, ramp
from edgecomp.schedules.cpu.vectors import typed
from edgecomp.schedules.gpu.halves import HALVES, load_half, store_half


def load_vector(buffer: Buffer, index: Expr, lanes: int) -> Expr:
    """``lanes`` neighbouring elements; OpenCL asks for the alignment of one element only.

    TVM writes one load for each element where it cannot prove more. Floats of 16 bits become
    float32.
    """
    if buffer.dtype.element in HALVES:
        return load_half(buffer, index, lanes)
    return load_as_stored(buffer, index, lanes)


def load_as_stored(buffer: Buffer, index: Expr, lanes: int) -> Expr:
    """The same without any conversion: float16 then needs a device that computes in it."""
    if lanes == 1:
        return load(buffer, index)
    place = pointer_to(buffer, index)
    dtype = typed(buffer.dtype.element, lanes)
    return tirx.call_pure_extern(dtype, f"vload{lanes}", 0, place)


def widened(value: Expr) -> Expr:
    """Integers as they are multiplied; those of an image are that wide."""
    wanted = tirx.dtype_of("int32").with_lanes(value.dtype.lanes)
    return value if value.dtype is wanted else tirx.Cast(wanted, value)


def store_vector(
    builder: KernelBuilder, buffer: Buffer, index: Expr, value: Expr, lanes: int
) -> None:
    """Store ``lanes`` neighbouring elements; float32 is rounded where the buffer's have 16 bits."""
    if buffer.dtype.element in HALVES and value.dtype.element == "float32":
        store_half(builder, buffer, index, value)
        return
    builder.store(buffer, ramp(index, lanes), value)
