"""Floats of 16 bits in a GPU's memory: widened to float32 when loaded, rounded to when stored.

float16 by OpenCL's ``vload_half`` and ``vstore_half``, which every device of OpenCL 1.0 has:
arithmetic in half (cl_khr_fp16) is not needed. bfloat16 by shifts of its bits.
"""

import numpy as np

from edgecomp.device.target import Gpu
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, pointer_to, ramp
from edgecomp.schedules.cpu.small_types import narrow_bfloat16, widen_bfloat16
from edgecomp.schedules.cpu.vectors import lanes_of, typed

#: Products that are summed up in float16 where a device multiplies it faster: the error of such a
#: sum is of the order of what rounding its terms to float16 makes.
HALF_RUN = 16
#: Types of buffers whose elements are float32 in registers.
HALVES = frozenset({"float16", "bfloat16"})


def multiplies_in_half(gpu: Gpu, x_dtype: str, weight_dtype: str) -> bool:
    """Whether a few products at a time are summed up in float16.

    Args:
        gpu: the device.
        x_dtype: of the activations in memory.
        weight_dtype: of the weights.
    """
    return "fp16" in gpu.features and x_dtype == weight_dtype == "float16"


def as_halves(buffer: Buffer) -> Buffer:
    """A buffer of uint16 whose elements are taken for bfloat16."""
    return tirx.Buffer(buffer.record, tirx.dtype_of("bfloat16"))


def bits_of_halves(buffer: Buffer) -> Buffer:
    """The uint16 that a buffer of ``as_halves`` is in memory."""
    return tirx.Buffer(buffer.record, tirx.dtype_of("uint16"))


def load_half(buffer: Buffer, index: Expr, lanes: int) -> Expr:
    """``lanes`` neighbouring elements of a buffer of ``HALVES`` as float32."""
    if buffer.dtype.element == "bfloat16":
        place = pointer_to(bits_of_halves(buffer), index)
        if lanes == 1:
            return widen_bfloat16(tirx.BufferLoad(bits_of_halves(buffer), [index]))
        dtype = typed("uint16", lanes)
        return widen_bfloat16(tirx.call_pure_extern(dtype, f"vload{lanes}", 0, place))
    return tirx.call_pure_extern(
        typed("float32", lanes), f"vload_half{_suffix(lanes)}", 0, pointer_to(buffer, index)
    )


def store_half(builder: KernelBuilder, buffer: Buffer, index: Expr, value: Expr) -> None:
    """Round float32 to nearest even and store it to neighbouring elements."""
    lanes = lanes_of(value)
    if buffer.dtype.element == "bfloat16":
        wide = builder.let("wide", value, typed("float32", lanes))
        bits = narrow_bfloat16(builder, wide)
        builder.store(bits_of_halves(buffer), ramp(index, lanes), bits)
        return
    name = f"vstore_half{_suffix(lanes)}_rte"
    builder.evaluate(tirx.call_extern("int32", name, value, 0, pointer_to(buffer, index)))


def stored_floats(values: Array) -> Array:
    """Constants as they lie in memory: bfloat16 by its bits."""
    return values.view(np.uint16) if values.dtype.name == "bfloat16" else values


def _suffix(lanes: int) -> str:
    return str(lanes) if lanes > 1 else ""
