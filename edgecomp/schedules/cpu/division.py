"""Steps that divide, take remainders or powers: safe on integers, exact where they can be."""

from collections.abc import Callable

import numpy as np

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant
from edgecomp.schedules.cpu import math_wide
from edgecomp.schedules.cpu.operand import (
    FLOATS,
    LONG_BYTES,
    Context,
    Operand,
    by_lane,
    convert,
    held_as,
)
from edgecomp.schedules.cpu.vectors import lanes_of, named


def _quotient(context: Context, a: Operand, b: Operand) -> Expr:
    """Integer quotient rounded towards zero; a division by 0 gives any number, no trap."""
    if np.dtype(a.dtype).itemsize < LONG_BYTES and context.builder.has_float64:
        # Exact in float64 for 32-bit numbers, and a vector instruction.
        quotient = convert(context, a.value, a.dtype, "float64") / convert(
            context, b.value, b.dtype, "float64"
        )
        return convert(context, quotient, "float64", a.dtype)
    # x86 traps on 0, and on the least integer by -1: both divisors become 1. The sign is put
    # back by a product, not by Select: TVM lets the branches of a Select assume its condition,
    # as if they were lazy, and would take the guard away.
    zero, one = context.number(0, a.dtype), context.number(1, a.dtype)
    divisor = tirx.Select(tirx.EQ(b.value, zero), one, b.value)
    if a.dtype.startswith("uint"):
        return tirx.truncdiv(a.value, divisor)
    minus_one = context.number(-1, a.dtype)
    negative = tirx.EQ(b.value, minus_one)
    sign = tirx.Select(negative, minus_one, one)
    return tirx.truncdiv(a.value, tirx.Select(negative, one, divisor)) * sign


def divide(context: Context, operands: list[Operand]) -> Expr:
    """Integer quotients round towards zero."""
    a, b = operands
    if a.dtype in FLOATS:
        return a.value / b.value
    return _quotient(context, a, b)


def modulo(context: Context, operands: list[Operand]) -> Expr:
    """Fmod 1: the sign of the dividend, as C; fmod 0: of the divisor, as Python."""
    a, b = operands
    if a.dtype in FLOATS:
        scalar = held_as(a.dtype)
        name = "fmod" if scalar == "float64" else "fmodf"

        def remainder(x: Expr, y: Expr) -> Expr:
            return tirx.call_pure_extern(scalar, name, x, y)

        rest = named(context.builder, "rest", by_lane(remainder, a.value, b.value))
        if context.attribute("fmod", 0):
            return rest
        zero = context.number(0.0, a.dtype)
        # TVM has no comparison of bools.
        below, above = (
            tirx.And(rest < zero, b.value > zero),
            tirx.And(rest > zero, b.value < zero),
        )
        apart = tirx.Or(below, above)
        return tirx.Select(apart, rest + b.value, rest)
    divisor = b.value
    quotient = named(context.builder, "quotient", _quotient(context, a, b))
    rest = named(context.builder, "rest", a.value - quotient * divisor)
    if a.dtype.startswith("uint") or context.attribute("fmod", 0):
        return rest
    zero = context.number(0, a.dtype)
    apart = tirx.And(tirx.NE(rest, zero), (rest ^ divisor) < zero)
    return tirx.Select(apart, rest + divisor, rest)


def power(context: Context, operands: list[Operand]) -> Expr:
    """Pow; the result has the base's dtype."""
    base, exponent = operands
    if base.dtype not in FLOATS and exponent.dtype not in FLOATS:
        return _integer_power(context, base, exponent)
    if base.dtype == "float64":
        y = convert(context, exponent.value, exponent.dtype, "float64")
        return by_lane(tirx.pow, base.value, y)
    x = named(context.builder, "base", convert(context, base.value, base.dtype, "float32"))
    special = _SPECIAL_POWERS.get(exponent.scalar) if exponent.scalar is not None else None
    if special is not None:
        result = special(x)
    else:
        y = convert(context, exponent.value, exponent.dtype, "float32")
        y = named(context.builder, "exponent", y)
        result = math_wide.power(context.builder, x, y)
    return convert(context, result, "float32", context.step.dtype)


_SPECIAL_POWERS: dict[float, Callable[[Expr], Expr]] = {
    1.0: lambda x: x,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    4.0: lambda x: (x * x) * (x * x),
    -1.0: lambda x: constant(1.0, "float32", lanes_of(x)) / x,
}


def _integer_power(context: Context, base: Operand, exponent: Operand) -> Expr:
    """Repeated squaring over the bits of the exponent; wraps as products do."""
    y = named(
        context.builder, "y", convert(context, exponent.value, exponent.dtype, base.dtype)
    )
    one, zero = context.number(1, base.dtype), context.number(0, base.dtype)
    result, square = one, base.value
    for bit in range(6):
        digit = (y >> context.number(bit, base.dtype)) & one
        result = named(
            context.builder, "power", tirx.Select(tirx.EQ(digit, one), result * square, result)
        )
        square = named(context.builder, "square", square * square)
    if base.dtype.startswith("uint"):
        return result
    # Below zero only 1 and -1 have an integer power; the exponent's lowest bit gives the sign.
    odd = tirx.EQ(y & one, one)
    minus = tirx.Select(odd, zero - one, one)
    unit = tirx.Select(tirx.EQ(base.value, zero - one), minus, zero)
    unit = tirx.Select(tirx.EQ(base.value, one), one, unit)
    return tirx.Select(y < zero, unit, result)
