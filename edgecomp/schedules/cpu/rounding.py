"""From scaled float32 to a quantized integer, the same bits on every target."""

import numpy as np

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant
from edgecomp.schedules.cpu.bounds import clamp
from edgecomp.schedules.cpu.math import bits_of
from edgecomp.schedules.cpu.vectors import lanes_of, typed

#: 1.5 * 2^23: adding it rounds half to even, and leaves the integer in the mantissa.
_ROUND = 12582912.0
_ROUND_BITS = 0x4B400000


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
    shifted = bits_of(bounded + constant(_ROUND, "float32", lanes))
    stored = shifted - constant(_ROUND_BITS - zero_point, "int32", lanes)
    return tirx.Cast(typed(dtype, lanes), stored)


def as_float(x: Expr) -> Expr:
    """An 8-bit integer as float32, exactly."""
    lanes = lanes_of(x)
    return tirx.Cast(typed("float32", lanes), tirx.Cast(typed("int32", lanes), x))


def is_power_of_two(value: float) -> bool:
    """Whether products with the value only move the exponent."""
    return bool(np.frexp(np.float32(value))[0] == 0.5)
