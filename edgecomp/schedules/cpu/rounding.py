"""From scaled float32 to a quantized integer, the same bits on every target."""

import numpy as np

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant
from edgecomp.schedules.cpu.bounds import clamp
from edgecomp.schedules.cpu.math import bits_of
from edgecomp.schedules.cpu.vectors import lanes_of, typed

#: Added to a float32 of magnitude below 2^22, it leaves no fraction bits: half to even. The
#: integer then stands in the mantissa.
ROUNDING_MAGIC = 1.5 * 2.0**23
ROUNDING_MAGIC_BITS = 0x4B400000


def to_quantized(
    builder: KernelBuilder, scaled: Expr, zero_point: int, low: int, high: int, dtype: str
) -> Expr:
    """``int(round_half_even(clamp(scaled, low - z, high - z))) + z``.

    Args:
        builder: of the kernel.
        scaled: float32, not NaN.
        zero_point: in the range of ``dtype``.
        low: least result.
        high: greatest result.
        dtype: of the result, 8 or 16 bits.
    """
    lanes = lanes_of(scaled)
    bounded = clamp(scaled, float(low - zero_point), float(high - zero_point), builder.isa)
    return tirx.Cast(typed(dtype, lanes), rounded(bounded, zero_point))


def rounded(x: Expr, plus: int = 0) -> Expr:
    """``int32(round_half_even(x)) + plus`` of float32 of magnitude below 2^22."""
    lanes = lanes_of(x)
    # The sum's last bit is worth 1: its bits, less those of the number added, are the result.
    shifted = bits_of(x + constant(ROUNDING_MAGIC, "float32", lanes))
    return shifted - constant(ROUNDING_MAGIC_BITS - plus, "int32", lanes)


def as_float(x: Expr) -> Expr:
    """An 8-bit integer as float32, exactly."""
    lanes = lanes_of(x)
    return tirx.Cast(typed("float32", lanes), tirx.Cast(typed("int32", lanes), x))


def is_power_of_two(value: float) -> bool:
    """Whether products with the value only move the exponent."""
    return bool(np.frexp(np.float32(value))[0] == 0.5)
