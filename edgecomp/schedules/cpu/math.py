"""float32 functions of a vector, written as arithmetic: no library call, any number of lanes.

Each function takes the builder (shared subexpressions become named values) and a float32
expression, and returns an expression of the same type. Accuracy: docs/numerics.md,
"transcendental functions"; infinities and NaN give what C99 gives. Results below 2^-125 may be
zero, and NEON of armv7 takes subnormal numbers for zero.

Nothing depends on whether the compiler fuses a product with a sum: the pieces of each range
reduction are exact either way.

Polynomials are minimax fits (Lawson's reweighted least squares on Chebyshev nodes, 40 digits);
each gives the interval and the error of the fit before float32 rounding.

``Select`` is written so that NaN falls through.
"""

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant, reinterpret
from edgecomp.schedules.cpu.bounds import at_least, at_most, clamp
from edgecomp.schedules.cpu.vectors import lanes_of, named, typed

_SIGN = -(1 << 31)
_INFINITY_BITS = 0x7F800000
#: 1.5 * 2^23: adding it rounds to an integer, which then stands in the low mantissa bits.
_ROUND = 12582912.0
#: Reducing by ln 2 in two parts: the first has 10 bits, so that a product with a small integer
#: is exact.
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.12194440054690583e-4

# (exp(r) - 1) / r, |r| <= ln(2) / 2, relative error of exp 9.7e-8
_EXP = (
    0.9999996892468909,
    0.49999115260887445,
    0.16667675396463072,
    0.041902557323945024,
    0.008289458565470816,
)
# (log(1 + f) - f + f^2 / 2) / f^3, 1 + f in [sqrt(1/2), sqrt(2)], relative error 5.8e-9
_LOG = (
    0.3333333170780471,
    -0.25000821035500864,
    0.20001226865405827,
    -0.16623357298098349,
    0.14201758233777956,
    -0.13160183062640882,
    0.127615756437331,
    -0.0763449302384503,
)
# (2 atanh(s) - 2 s) / s^3 in s^2, 0 <= s <= 1/3, relative error 4.5e-9
_ATANH = (0.6666641628637232, 0.40021527203001117, 0.280018058090728, 0.28011984386401506)
# tanh(x) = x P(x^2) / Q(x^2), |x| <= 9.02, relative error 2.1e-8
_TANH_LIMIT = 9.02
_TANH_P = (
    0.9999999790240961,
    0.13379719359651115,
    0.003494036211961641,
    2.0583507074980667e-05,
    1.331910496265113e-08,
)
_TANH_Q = (
    1.0,
    0.4671303460204766,
    0.025871079571579518,
    0.000328309548288486,
    7.762033546852625e-07,
)
# erf(x) = x P(x^2) / Q(x^2), |x| <= 3.95, relative error 2.1e-8
_ERF_LIMIT = 3.95
_ERF_P = (
    1.1283791437499766,
    0.1915503248364565,
    0.052875452863755834,
    0.0038081635299112,
    0.00028468801712316905,
    2.025911123068528e-06,
)
_ERF_Q = (
    1.0,
    0.5030897310655391,
    0.11455963369043477,
    0.015055093347171316,
    0.001170726698390494,
    3.78318481558011e-05,
)
_SQRT_HALF_BITS = 0x3F3504F3


def _float(value: float, like: Expr) -> Expr:
    return constant(value, "float32", lanes_of(like))


def _integer(value: int, like: Expr) -> Expr:
    return constant(value, "int32", lanes_of(like))


def bits_of(x: Expr) -> Expr:
    """The bits of a float32 as int32."""
    return reinterpret(typed("int32", lanes_of(x)), x)


def from_bits(bits: Expr) -> Expr:
    """The float32 with these bits."""
    return reinterpret(typed("float32", lanes_of(bits)), bits)


def _opaque(x: Expr) -> Expr:
    """``x``, hidden from TVM's simplifier, which turns ``(x + c) - c`` into ``x``."""
    return from_bits(bits_of(x))


def _horner(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    total = _float(coefficients[-1], x)
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + _float(coefficient, x)
    return total


def is_nan(x: Expr) -> Expr:
    """Whether x is NaN (a comparison ``x != x`` would be simplified away)."""
    return (bits_of(x) & _integer(0x7FFFFFFF, x)) > _integer(_INFINITY_BITS, x)


def is_infinite(x: Expr) -> Expr:
    """Whether x is an infinity of either sign."""
    return tirx.EQ(bits_of(x) & _integer(0x7FFFFFFF, x), _integer(_INFINITY_BITS, x))


def relu(builder: KernelBuilder, x: Expr) -> Expr:
    """``max(x, 0)``; NaN stays NaN."""
    return at_least(x, 0.0, builder.isa)


def absolute(_builder: KernelBuilder, x: Expr) -> Expr:
    """``|x|``."""
    return from_bits(bits_of(x) & _integer(0x7FFFFFFF, x))


def negative(_builder: KernelBuilder, x: Expr) -> Expr:
    """``-x``, the sign of zero included."""
    return from_bits(bits_of(x) ^ _integer(_SIGN, x))


def copy_sign(magnitude: Expr, sign: Expr) -> Expr:
    """The non-negative ``magnitude`` with the sign bit of ``sign``."""
    return from_bits(bits_of(magnitude) | (bits_of(sign) & _integer(_SIGN, sign)))


def sign(_builder: KernelBuilder, x: Expr) -> Expr:
    """-1, 0 or 1; NaN stays NaN."""
    one = copy_sign(_float(1.0, x), x)
    zero = tirx.EQ(bits_of(x) & _integer(0x7FFFFFFF, x), _integer(0, x))
    return tirx.Select(tirx.Or(zero, is_nan(x)), x, one)


def sqrt(_builder: KernelBuilder, x: Expr) -> Expr:
    """Square root, correctly rounded."""
    return tirx.sqrt(x)


def reciprocal(_builder: KernelBuilder, x: Expr) -> Expr:
    """``1 / x``, correctly rounded."""
    return _float(1.0, x) / x


def round_half_even(builder: KernelBuilder, x: Expr) -> Expr:
    """Nearest integer, halves to even. armv7 has no such vector instruction."""
    magnitude = named(builder, "magnitude", absolute(builder, x))
    shift = _float(8388608.0, x)
    rounded = _opaque(magnitude + shift) - shift
    return tirx.Select(magnitude < shift, copy_sign(rounded, x), x)


def floor(builder: KernelBuilder, x: Expr) -> Expr:
    """Greatest integer not above x."""
    rounded = named(builder, "rounded", round_half_even(builder, x))
    return tirx.Select(rounded > x, rounded - _float(1.0, x), rounded)


def ceil(builder: KernelBuilder, x: Expr) -> Expr:
    """Least integer not below x; the sign of a zero is x's."""
    rounded = named(builder, "rounded", round_half_even(builder, x))
    up = from_bits(bits_of(rounded + _float(1.0, x)) | (bits_of(x) & _integer(_SIGN, x)))
    return tirx.Select(rounded < x, up, rounded)


def truncate(builder: KernelBuilder, x: Expr) -> Expr:
    """Nearest integer towards zero."""
    magnitude = named(builder, "positive", absolute(builder, x))
    return copy_sign(floor(builder, magnitude), x)


def exp(builder: KernelBuilder, x: Expr) -> Expr:
    """``e^x``; zero below -87 (the result is under 2^-125)."""
    # 2^(n-1) is built in the exponent bits: n = -126 gives 0, n = 128 then overflows by the
    # final doubling. The bias of 126 is part of the rounding constant.
    rounding = _float(_ROUND + 126.0, x)
    clamped = named(builder, "exponent", clamp(x, -87.33, 89.0, builder.isa))
    shifted = named(builder, "shifted", clamped * _float(1.4426950408889634, x) + rounding)
    n = named(builder, "n", _opaque(shifted) - rounding)
    scale = from_bits(bits_of(shifted) << _integer(23, x))
    r = named(builder, "r", (clamped - n * _float(_LN2_HIGH, x)) - n * _float(_LN2_LOW, x))
    value = named(builder, "value", _float(1.0, x) + r * _horner(r, _EXP))
    return (value + value) * scale


def log(builder: KernelBuilder, x: Expr) -> Expr:
    """Natural logarithm, subnormal x included."""
    bits = named(builder, "bits", bits_of(x))
    # The integer m of a subnormal number m * 2^-149 as a float is an exact normal number.
    small = bits < _integer(0x00800000, x)
    lifted = tirx.Cast(typed("float32", lanes_of(x)), bits)
    normal = named(builder, "normal", tirx.Select(small, bits_of(lifted), bits))
    lift = tirx.Select(small, _integer(-149, x), _integer(0, x))
    power = (normal - _integer(_SQRT_HALF_BITS, x)) >> _integer(23, x)
    power = named(builder, "power", power)
    e = tirx.Cast(typed("float32", lanes_of(x)), power + lift)
    e = named(builder, "e", e)
    f = from_bits(normal - (power << _integer(23, x))) - _float(1.0, x)
    f = named(builder, "f", f)
    square = named(builder, "square", f * f)
    tail = square * f * _horner(f, _LOG) + e * _float(_LN2_LOW, x)
    finite = ((tail - _float(0.5, x) * square) + f) + e * _float(_LN2_HIGH, x)
    # x + inf is inf for +inf and NaN for NaN; negative numbers give NaN, both zeros -inf.
    infinity = _float(float("inf"), x)
    odd = tirx.Select(bits < _integer(0, x), from_bits(_integer(0x7FC00000, x)), x + infinity)
    odd = tirx.Select(
        tirx.EQ(bits & _integer(0x7FFFFFFF, x), _integer(0, x)), _float(float("-inf"), x), odd
    )
    regular = tirx.And(bits > _integer(0, x), bits < _integer(_INFINITY_BITS, x))
    return tirx.Select(regular, finite, odd)


def _log1p_of_fraction(builder: KernelBuilder, u: Expr) -> Expr:
    """``log(1 + u)`` for u in [0, 1], relative accuracy kept near 0."""
    s = named(builder, "s", u / (_float(2.0, u) + u))
    z = named(builder, "z", s * s)
    return s * (_float(2.0, u) + z * _horner(z, _ATANH))


def softplus(builder: KernelBuilder, x: Expr) -> Expr:
    """``log(1 + e^x)``."""
    decay = named(builder, "decay", exp(builder, negative(builder, absolute(builder, x))))
    return relu(builder, x) + _log1p_of_fraction(builder, decay)


def sigmoid(builder: KernelBuilder, x: Expr) -> Expr:
    """``1 / (1 + e^-x)``."""
    return _float(1.0, x) / (_float(1.0, x) + exp(builder, negative(builder, x)))


def silu(builder: KernelBuilder, x: Expr) -> Expr:
    """``x * sigmoid(x)``; -inf gives 0."""
    bounded = at_least(x, -3.0e38, builder.isa)
    return bounded * sigmoid(builder, x)


def tanh(builder: KernelBuilder, x: Expr) -> Expr:
    """Hyperbolic tangent, relative accuracy kept near 0."""
    bounded = named(builder, "bounded", clamp(x, -_TANH_LIMIT, _TANH_LIMIT, builder.isa))
    z = named(builder, "z", bounded * bounded)
    return bounded * _horner(z, _TANH_P) / _horner(z, _TANH_Q)


def erf(builder: KernelBuilder, x: Expr) -> Expr:
    """Error function, exactly 1 in magnitude from 3.95 on, so that gelu vanishes there."""
    bounded = named(builder, "bounded", clamp(x, -_ERF_LIMIT, _ERF_LIMIT, builder.isa))
    z = named(builder, "z", bounded * bounded)
    inside = bounded * _horner(z, _ERF_P) / _horner(z, _ERF_Q)
    beyond = tirx.EQ(absolute(builder, bounded), _float(_ERF_LIMIT, x))
    return tirx.Select(beyond, copy_sign(_float(1.0, x), x), inside)


def gelu(builder: KernelBuilder, x: Expr) -> Expr:
    """``x / 2 * (1 + erf(x / sqrt(2)))``, the exact form; -inf gives 0."""
    area = erf(builder, x * _float(0.7071067811865476, x)) + _float(1.0, x)
    return at_least(x, -3.0e38, builder.isa) * _float(0.5, x) * area


def gelu_tanh(builder: KernelBuilder, x: Expr) -> Expr:
    """``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))``; -inf gives 0."""
    bounded = named(builder, "finite", at_least(x, -3.0e38, builder.isa))
    # Beyond 11 in magnitude tanh is +-1; the cube would overflow.
    inner = named(builder, "inner", clamp(x, -11.0, 11.0, builder.isa))
    cube = inner * inner * inner
    angle = _float(0.7978845608028654, x) * (inner + _float(0.044715, x) * cube)
    # tanh rounds to +-1 only within an ulp; a large negative x would show the difference.
    area = tirx.Select(
        inner < _float(-8.0, x),
        _float(0.0, x),
        _float(1.0, x) + tanh(builder, named(builder, "angle", angle)),
    )
    return bounded * _float(0.5, x) * area


def mish(builder: KernelBuilder, x: Expr) -> Expr:
    """``x * tanh(softplus(x))``; -inf gives 0.

    With w = e^x, tanh(log(1 + w)) = (w^2 + 2 w) / (w^2 + 2 w + 2); 1 from x = 20 on.
    """
    w = named(builder, "w", exp(builder, at_most(x, 20.0, builder.isa)))
    upper = named(builder, "upper", w * (w + _float(2.0, x)))
    return at_least(x, -3.0e38, builder.isa) * (upper / (upper + _float(2.0, x)))
