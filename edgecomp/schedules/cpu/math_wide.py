"""Functions of float32 vectors that need float64 inside: pow, sin, cos.

``x^y = 2^(y log2 x)`` loses log2(y log2 x) bits in the product; float64 has them to spare, and
costs less than double-float arithmetic. Sine and cosine reduce their argument in float64 by parts
of pi/2 (Cody and Waite); vectors with a magnitude from 2^30 on take a branch that first takes whole
turns off in integers (Payne and Hanek).

Integers are converted through the bits of float64 (int64 <-> float64 conversions are not in
AVX2).
"""

import math

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Expr,
    KernelBuilder,
    constant,
    load,
    ramp,
    reinterpret,
)
from edgecomp.schedules.cpu.math import (
    absolute,
    bits_of,
    copy_sign,
    from_bits,
    is_infinite,
    is_nan,
    truncate,
)
from edgecomp.schedules.cpu.vectors import any_lane, lanes_of, named, pinned, typed

#: 1.5 * 2^52: adding it rounds to an integer, which then stands in the low mantissa bits.
_ROUND = 6755399441055744.0
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
#: log2(m) = s * sum(c_k s^(2k)), s = (m - 1) / (m + 1), |s| <= 0.1716: the series, error 1e-12.
_LOG2 = tuple(2.0 / math.log(2.0) / (2 * k + 1) for k in range(7))
#: 2^f = sum((f ln 2)^k / k!), |f| <= 1/2: the series, error 7e-12.
_EXP2 = tuple(math.log(2.0) ** k / math.factorial(k) for k in range(10))
#: Taylor series of sin(r) / r and cos(r) in r^2, |r| <= pi/4: errors 1e-9 and 2e-10.
_SIN = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(5))
_COS = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(6))
#: pi/2 in two parts; the first has 21 bits, so that its product with a 32-bit integer is exact.
_HALF_PI_HIGH = math.ldexp(round(math.ldexp(math.pi / 2, 20)), -20)
_HALF_PI_LOW = 1.5707963267948966 - _HALF_PI_HIGH + 6.123233995736766e-17
#: Bits of 2^30: arguments of less are reduced in float64.
_LARGE = 157 << 23
#: Bits of 1 / (2 pi) behind the point: enough for the largest float32, whose last bit is 2^104.
_TURN_BITS = 192
_TURNS = 0x28BE60DB9391054A7F09D5F47D4D377036D8A5664F10E410


def _double(value: float, like: Expr) -> Expr:
    return constant(value, "float64", lanes_of(like))


def _long(value: int, like: Expr) -> Expr:
    return constant(value, "int64", lanes_of(like))


def _widen(x: Expr) -> Expr:
    return tirx.Cast(typed("float64", lanes_of(x)), x)


def _narrow(x: Expr) -> Expr:
    return tirx.Cast(typed("float32", lanes_of(x)), x)


def _bits(x: Expr) -> Expr:
    return reinterpret(typed("int64", lanes_of(x)), x)


def _from_bits(bits: Expr) -> Expr:
    return reinterpret(typed("float64", lanes_of(bits)), bits)


def _horner(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    total = _double(coefficients[-1], x)
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + _double(coefficient, x)
    return total


def _log2(builder: KernelBuilder, x: Expr) -> Expr:
    """Binary logarithm of a positive, finite, normal float64."""
    bits = named(builder, "bits", _bits(x))
    # The exponent is biased so that the shift sees a positive number: AVX2 has no arithmetic
    # 64-bit shift.
    biased = (bits - _long(_SQRT_HALF_BITS, x) + _long(1024 << 52, x)) >> _long(52, x)
    biased = pinned(builder, "biased", biased)
    mantissa = _from_bits(bits - ((biased - _long(1024, x)) << _long(52, x)))
    mantissa = pinned(builder, "mantissa", mantissa)
    power = _from_bits(biased + _long(0x4338000000000000, x)) - _double(_ROUND + 1024.0, x)
    s = (mantissa - _double(1.0, x)) / (mantissa + _double(1.0, x))
    s = pinned(builder, "s", s)
    return power + s * _horner(named(builder, "z", s * s), _LOG2)


def _exp2(builder: KernelBuilder, x: Expr) -> Expr:
    """``2^x`` for a float64 in [-1000, 1000]."""
    shifted = pinned(builder, "shifted", x + _double(_ROUND, x))
    n = _from_bits(_bits(shifted)) - _double(_ROUND, x)
    fraction = pinned(builder, "fraction", x - n)
    scale = _from_bits((_bits(shifted) + _long(1023, x)) << _long(52, x))
    return _horner(fraction, _EXP2) * scale


def power(builder: KernelBuilder, x: Expr, y: Expr) -> Expr:
    """``x^y`` with the special cases of C99's pow."""
    lanes = lanes_of(x)
    zero, one = constant(0.0, "float32", lanes), constant(1.0, "float32", lanes)
    infinity = constant(float("inf"), "float32", lanes)
    magnitude = named(builder, "base", absolute(builder, x))
    wide = pinned(builder, "wide", _widen(magnitude))
    logarithm = _log2(builder, wide)
    logarithm = tirx.Select(tirx.EQ(magnitude, zero), _double(float("-inf"), wide), logarithm)
    logarithm = tirx.Select(
        tirx.EQ(magnitude, infinity), _double(float("inf"), wide), logarithm
    )
    product = pinned(builder, "product", _widen(y) * logarithm)
    low, high = _double(-300.0, wide), _double(300.0, wide)
    result = _narrow(_exp2(builder, tirx.Min(high, tirx.Max(low, product))))
    result = pinned(builder, "result", result)

    whole = tirx.EQ(truncate(builder, y), y)
    # From 2^24 on every float32 is even, and infinity counts as even.
    half = y * constant(0.5, "float32", lanes)
    half = named(builder, "half", half)
    odd = tirx.And(whole, tirx.NE(truncate(builder, half), half))
    result = tirx.Select(odd, copy_sign(result, x), result)
    undefined = tirx.And(tirx.And(x < zero, tirx.Not(is_infinite(x))), tirx.Not(whole))
    undefined = tirx.Or(undefined, tirx.Or(is_nan(x), is_nan(y)))
    result = tirx.Select(undefined, from_bits(constant(0x7FC00000, "int32", lanes)), result)
    unit = tirx.Or(tirx.EQ(y, zero), tirx.EQ(x, one))
    unit = tirx.Or(unit, tirx.And(tirx.EQ(magnitude, one), is_infinite(y)))
    return tirx.Select(unit, one, result)


def _sine(builder: KernelBuilder, x: Expr, quarter: int) -> Expr:
    """``sin(x + quarter * pi / 2)``; inf and NaN give NaN."""
    wide = _within_turns(builder, x)
    shifted = wide * _double(2.0 / math.pi, wide) + _double(_ROUND, wide)
    shifted = named(builder, "shifted", shifted)
    n = named(builder, "n", _from_bits(_bits(shifted)) - _double(_ROUND, wide))
    r = (wide - n * _double(_HALF_PI_HIGH, wide)) - n * _double(_HALF_PI_LOW, wide)
    r = named(builder, "r", r)
    z = named(builder, "z", r * r)
    quadrant = named(builder, "quadrant", _bits(shifted) + _long(quarter, wide))
    odd = tirx.EQ(quadrant & _long(1, wide), _long(1, wide))
    value = tirx.Select(odd, _horner(z, _COS), r * _horner(z, _SIN))
    flip = (quadrant & _long(2, wide)) << _long(62, wide)
    return _narrow(_from_bits(_bits(value) ^ flip))


def _within_turns(builder: KernelBuilder, x: Expr) -> Expr:
    """An angle of at most 2^30 with the sine and the cosine of x, as float64; NaN for inf."""
    lanes = lanes_of(x)
    magnitude = bits_of(x) & constant(0x7FFFFFFF, "int32", lanes)
    large = magnitude >= constant(_LARGE, "int32", lanes)
    angle = builder.array("angle", "float64", lanes)
    builder.store(angle, ramp(0, lanes), _widen(x))
    with builder.condition(any_lane(large)):
        exponent = tirx.Cast(typed("int64", lanes), magnitude >> constant(23, "int32", lanes))
        turned = _without_turns(builder, x, named(builder, "exponent", exponent))
        turned = tirx.Select(large, turned, _widen(x))
        builder.store(angle, ramp(0, lanes), turned)
    return load(angle, 0, lanes)


def _without_turns(builder: KernelBuilder, x: Expr, exponent: Expr) -> Expr:
    """``x`` less whole turns, within [-2 pi, 2 pi] and right to 1e-11; for exponents from 2^23 on.

    With x = m * 2^k, the bits of 1 / (2 pi) from the k-th on make the product with m right modulo 1;
    64 of them leave 40 that are right.
    """
    k = named(builder, "k", exponent - _long(127 + 23, x))
    mantissa = tirx.Cast(typed("int64", lanes_of(x)), bits_of(x)) & _long((1 << 23) - 1, x)
    mantissa = named(builder, "mantissa", mantissa | _long(1 << 23, x))
    word = named(builder, "word", k >> _long(5, x))
    offset = named(builder, "offset", k & _long(31, x))
    bits = (_turns_from(word, 0, 64) << offset) | (
        _turns_from(word, 64, 32) >> (_long(32, x) - offset)
    )
    fraction = ((bits * mantissa) >> _long(12, x)) & _long((1 << 52) - 1, x)
    turns = _from_bits(fraction | _long(0x3FF << 52, x)) - _double(1.0, x)
    turns = named(builder, "turns", turns)
    signed = tirx.Select(x < constant(0.0, "float32", lanes_of(x)), -turns, turns)
    is_number = tirx.LT(exponent, _long(0xFF, x))
    return tirx.Select(is_number, signed * _double(2.0 * math.pi, x), _double(math.nan, x))


def _turns_from(word: Expr, skipped: int, count: int) -> Expr:
    """``count`` bits of 1 / (2 pi) from bit ``32 * word + skipped`` on, as int64."""
    found = None
    for index in range(4):
        bits = (_TURNS >> (_TURN_BITS - 32 * index - skipped - count)) & ((1 << count) - 1)
        value = _long(bits - (1 << 64 if bits >> 63 else 0), word)
        found = (
            value
            if found is None
            else tirx.Select(tirx.EQ(word, _long(index, word)), value, found)
        )
    return found


def sin(builder: KernelBuilder, x: Expr) -> Expr:
    """Sine."""
    return _sine(builder, x, 0)


def cos(builder: KernelBuilder, x: Expr) -> Expr:
    """Cosine."""
    return _sine(builder, x, 1)
