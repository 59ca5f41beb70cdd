"""Steps of elementwise chains: one ONNX operator each, on vectors.

Between steps a bool is TVM's ``bool``, a float16 is held as float32, everything else is itself.
float32 functions are arithmetic (functions.py); the rarely used ones, and all float64
functions, call libm lane by lane.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from tvm import tirx

from edgecomp.plan.operations import Activation, Step
from edgecomp.schedules.builder import Expr, KernelBuilder, constant
from edgecomp.schedules.cpu import functions, math, math_wide
from edgecomp.schedules.cpu.vectors import lanes_of, named, pinned, typed

INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
FLOATS = frozenset({"float16", "float32", "float64"})
_LONG_BYTES = 8
_LONG = frozenset({"int64", "uint64"})
DTYPES = INTEGERS | FLOATS | {"bool"}


@dataclasses.dataclass(frozen=True)
class Operand:
    """One operand of a step.

    Attributes:
        value: the vector.
        dtype: numpy name of what it means.
        scalar: its value where it is one constant, else None.
    """

    value: Expr
    dtype: str
    scalar: float | int | None = None


@dataclasses.dataclass(frozen=True)
class Context:
    """What a step's emitter may need besides its operands."""

    builder: KernelBuilder
    step: Step
    lanes: int
    isa: str

    def attribute(self, name: str, default: float | str) -> float | int | str:
        """An attribute, with ONNX's default."""
        return dict(self.step.attributes).get(name, default)

    def number(self, value: float, dtype: str) -> Expr:
        """A constant in every lane."""
        if dtype == "bool":
            return constant(bool(value), "bool", self.lanes)
        return constant(value, held_as(dtype), self.lanes)


_Emit = Callable[[Context, list[Operand]], Expr]


def held_as(dtype: str) -> str:
    """Type of a value between steps."""
    return "float32" if dtype == "float16" else dtype


def convert(context: Context, value: Expr, source: str, target: str) -> Expr:
    """Cast as C does; float to integer truncates, to bool compares with 0."""
    source, target = held_as(source), held_as(target)
    lanes = context.lanes
    if source == target:
        return value
    if target == "bool":
        return tirx.NE(value, context.number(0, source))
    if source == "bool":
        return tirx.Select(value, context.number(1, target), context.number(0, target))
    if context.isa == "armv7" and {source, target} & _LONG and {source, target} & FLOATS:
        return _convert_long(context, value, source, target)
    if source in FLOATS and target in INTEGERS:
        # Narrow and unsigned results wrap: C leaves a negative float to unsigned undefined.
        bits = np.dtype(target).itemsize * 8
        wide = "int64" if bits == 64 or target == "uint32" else "int32"
        value = tirx.Cast(typed(wide, lanes), value)
        source = wide
    return value if source == target else tirx.Cast(typed(target, lanes), value)


def _convert_long(context: Context, value: Expr, source: str, target: str) -> Expr:
    """64-bit integers from and to floats in two halves.

    Instructions of armv7 convert 32 bits; for 64 there are library calls only.
    """
    lanes = context.lanes
    high_unit = constant(2.0**32, "float64", lanes)

    def wide(half: Expr) -> Expr:
        return tirx.Cast(typed("float64", lanes), half)

    if source in _LONG:
        high_type = "int32" if source == "int64" else "uint32"
        shifted = value >> constant(32, source, lanes)
        high = wide(tirx.Cast(typed(high_type, lanes), shifted))
        low = wide(tirx.Cast(typed("uint32", lanes), value))
        total = high * high_unit + low
        return total if target == "float64" else tirx.Cast(typed(target, lanes), total)
    x = named(context.builder, "wide", value if source == "float64" else wide(value))
    zero = constant(0.0, "float64", lanes)
    magnitude = named(context.builder, "magnitude", tirx.Select(x < zero, zero - x, x))
    high = tirx.Cast(typed("uint32", lanes), magnitude * constant(2.0**-32, "float64", lanes))
    high = named(context.builder, "high", high)
    low = tirx.Cast(typed("uint32", lanes), magnitude - wide(high) * high_unit)
    joined = (tirx.Cast(typed(target, lanes), high) << constant(32, target, lanes)) | (
        tirx.Cast(typed(target, lanes), low)
    )
    joined = named(context.builder, "joined", joined)
    return tirx.Select(x < zero, constant(0, target, lanes) - joined, joined)


def refusal(step: Step, dtypes: list[str]) -> str:
    """Why a step cannot be emitted for operands of these dtypes, "" if it can."""
    for dtype in (*dtypes, step.dtype):
        if dtype not in DTYPES:
            return f"{step.operator} of {dtype}"
    if step.operator not in STEPS:
        return f"operator {step.operator}"
    if step.operator in _FLOAT_ONLY and not (set(dtypes) <= FLOATS):
        return f"{step.operator} of {dtypes[0]}"
    if step.operator in _INTEGER_ONLY and not (set(dtypes) <= INTEGERS):
        return f"{step.operator} of {dtypes[0]}"
    return ""


def emit_step(context: Context, operands: list[Operand]) -> Operand:
    """The result of one step, named."""
    value = STEPS[context.step.operator](context, operands)
    return Operand(pinned(context.builder, "step", value), context.step.dtype)


# --- functions of one float


def _by_lane(function: Callable[..., Expr], *vectors: Expr) -> Expr:
    """A scalar function (a call of libm) for each lane."""
    lanes = lanes_of(vectors[0])
    if lanes == 1:
        return function(*vectors)
    results = [
        function(*(tirx.Shuffle([vector], [lane]) for vector in vectors))
        for lane in range(lanes)
    ]
    return tirx.Shuffle(results, list(range(lanes)))


def _parameters(context: Context) -> tuple[str, float, float]:
    """Name in functions.FUNCTIONS and the two parameters."""
    step = context.step
    name = step.operator.lower()
    if name == "gelu" and context.attribute("approximate", "none") == "tanh":
        name = "gelu_tanh"
    defaults: dict[str, tuple[tuple[str, float], ...]] = {
        "celu": (("alpha", 1.0),),
        "elu": (("alpha", 1.0),),
        "hardsigmoid": (("alpha", 0.2), ("beta", 0.5)),
        "leakyrelu": (("alpha", 0.01),),
        "selu": (("alpha", 1.6732632423543772), ("gamma", 1.0507009873554805)),
        "thresholdedrelu": (("alpha", 1.0),),
    }
    values = [float(context.attribute(k, d)) for k, d in defaults.get(name, ())]
    alpha, beta = [*values, 0.0, 0.0][:2]
    return name, alpha, beta


def _unary(context: Context, operands: list[Operand]) -> Expr:
    """functions.FUNCTIONS on float32; float64 goes through libm or through float32."""
    (x,) = operands
    name, alpha, beta = _parameters(context)
    if x.dtype == "float64":
        library = _LIBRARY_64.get(name)
        if library is not None:
            return _by_lane(library, x.value)
        narrow = convert(context, x.value, "float64", "float32")
        narrow = functions.apply(context.builder, Activation(name, alpha, beta), narrow)
        return convert(context, narrow, "float32", "float64")
    return functions.apply(context.builder, Activation(name, alpha, beta), x.value)


_LIBRARY_64: dict[str, Callable[[Expr], Expr]] = {
    "abs": tirx.abs,
    "ceil": tirx.ceil,
    "cos": tirx.cos,
    "erf": tirx.erf,
    "exp": tirx.exp,
    "floor": tirx.floor,
    "log": tirx.log,
    "neg": lambda x: -x,
    "reciprocal": lambda x: tirx.const(1.0, "float64") / x,
    "relu": lambda x: tirx.Max(tirx.const(0.0, "float64"), x),
    "round": tirx.nearbyint,
    "sigmoid": tirx.sigmoid,
    "sin": tirx.sin,
    "sqrt": tirx.sqrt,
    "tanh": tirx.tanh,
}


def _library(function: Callable[[Expr], Expr]) -> _Emit:
    return lambda _context, operands: _by_lane(function, operands[0].value)


def _swish(context: Context, operands: list[Operand]) -> Expr:
    (x,) = operands
    alpha = float(context.attribute("alpha", 1.0))
    scaled = named(context.builder, "scaled", x.value * context.number(alpha, x.dtype))
    return x.value * functions.apply(context.builder, Activation("sigmoid"), scaled)


def _shrink(context: Context, operands: list[Operand]) -> Expr:
    (x,) = operands
    bias = context.number(float(context.attribute("bias", 0.0)), x.dtype)
    limit = float(context.attribute("lambd", 0.5))
    zero = context.number(0.0, x.dtype)
    below = tirx.Select(x.value < context.number(-limit, x.dtype), x.value + bias, zero)
    return tirx.Select(x.value > context.number(limit, x.dtype), x.value - bias, below)


# --- numbers of any kind


def _is_nan(value: Expr, dtype: str) -> Expr:
    if dtype == "float64":
        bits = tirx.reinterpret(typed("int64", lanes_of(value)), value)
        positive = bits & constant((1 << 63) - 1, "int64", lanes_of(value))
        return positive > constant(0x7FF << 52, "int64", lanes_of(value))
    return math.is_nan(value)


def _extreme(function: Callable[[Expr, Expr], Expr]) -> _Emit:
    """Max and Min of any number of operands; NaN wins."""

    def emit(context: Context, operands: list[Operand]) -> Expr:
        total = operands[0].value
        for operand in operands[1:]:
            chosen = function(total, operand.value)
            if operand.dtype in FLOATS:
                chosen = tirx.Select(_is_nan(total, operand.dtype), total, chosen)
            total = named(context.builder, "extreme", chosen)
        return total

    return emit


def _fold(function: Callable[[Expr, Expr], Expr]) -> _Emit:
    def emit(_context: Context, operands: list[Operand]) -> Expr:
        total = operands[0].value
        for operand in operands[1:]:
            total = function(total, operand.value)
        return total

    return emit


def _mean(context: Context, operands: list[Operand]) -> Expr:
    total = _fold(lambda a, b: a + b)(context, operands)
    return total * context.number(1.0 / len(operands), operands[0].dtype)


def _clip(context: Context, operands: list[Operand]) -> Expr:
    """Bounds are attributes or operands; NaN stays NaN."""
    x, *bounds = operands
    value = x.value
    low, high = (
        bounds[k].value
        if len(bounds) > k
        else context.number(dict(context.step.attributes)[name], x.dtype)  # type: ignore[arg-type]
        if name in dict(context.step.attributes)
        else None
        for k, name in enumerate(("min", "max"))
    )
    if low is not None:
        value = tirx.Max(low, value)
    if high is not None:
        value = tirx.Min(high, value)
    return value


def _absolute(context: Context, operands: list[Operand]) -> Expr:
    (x,) = operands
    if x.dtype in FLOATS:
        return _unary(context, operands)
    if x.dtype.startswith("uint"):
        return x.value
    return tirx.Select(
        x.value < context.number(0, x.dtype), context.number(0, x.dtype) - x.value, x.value
    )


def _negative(context: Context, operands: list[Operand]) -> Expr:
    (x,) = operands
    if x.dtype in FLOATS:
        return _unary(context, operands)
    return context.number(0, x.dtype) - x.value


def _sign(context: Context, operands: list[Operand]) -> Expr:
    (x,) = operands
    if x.dtype in ("float16", "float32"):
        return _unary(context, operands)
    zero, one = context.number(0, x.dtype), context.number(1, x.dtype)
    positive = tirx.Select(x.value > zero, one, zero)
    if x.dtype.startswith("uint"):
        return positive
    signed = tirx.Select(x.value < zero, zero - one, positive)
    if x.dtype == "float64":
        return tirx.Select(_is_nan(x.value, x.dtype), x.value, signed)
    return signed


def _relu(context: Context, operands: list[Operand]) -> Expr:
    (x,) = operands
    if x.dtype in FLOATS:
        return _unary(context, operands)
    return tirx.Max(context.number(0, x.dtype), x.value)


def _prelu(context: Context, operands: list[Operand]) -> Expr:
    x, slope = operands
    zero = context.number(0, x.dtype)
    return tirx.Select(x.value < zero, x.value * slope.value, x.value)


def _quotient(context: Context, a: Operand, b: Operand) -> Expr:
    """Integer quotient rounded towards zero; a division by 0 gives any number, no trap."""
    if np.dtype(a.dtype).itemsize < _LONG_BYTES:
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


def _divide(context: Context, operands: list[Operand]) -> Expr:
    """Integer quotients round towards zero."""
    a, b = operands
    if a.dtype in FLOATS:
        return a.value / b.value
    return _quotient(context, a, b)


def _modulo(context: Context, operands: list[Operand]) -> Expr:
    """Fmod 1: the sign of the dividend, as C; fmod 0: of the divisor, as Python."""
    a, b = operands
    if a.dtype in FLOATS:
        scalar = held_as(a.dtype)
        name = "fmod" if scalar == "float64" else "fmodf"

        def remainder(x: Expr, y: Expr) -> Expr:
            return tirx.call_pure_extern(scalar, name, x, y)

        rest = named(context.builder, "rest", _by_lane(remainder, a.value, b.value))
        if context.attribute("fmod", 0):
            return rest
        zero = context.number(0.0, a.dtype)
        apart = tirx.And(tirx.NE(rest, zero), tirx.NE(rest < zero, b.value < zero))
        return tirx.Select(apart, rest + b.value, rest)
    divisor = b.value
    quotient = named(context.builder, "quotient", _quotient(context, a, b))
    rest = named(context.builder, "rest", a.value - quotient * divisor)
    if a.dtype.startswith("uint") or context.attribute("fmod", 0):
        return rest
    zero = context.number(0, a.dtype)
    apart = tirx.And(tirx.NE(rest, zero), (rest ^ divisor) < zero)
    return tirx.Select(apart, rest + divisor, rest)


def _power(context: Context, operands: list[Operand]) -> Expr:
    base, exponent = operands
    if base.dtype not in FLOATS and exponent.dtype not in FLOATS:
        return _integer_power(context, base, exponent)
    if base.dtype == "float64":
        y = convert(context, exponent.value, exponent.dtype, "float64")
        return _by_lane(tirx.pow, base.value, y)
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


def _compare(function: Callable[[Expr, Expr], Expr]) -> _Emit:
    return lambda _context, operands: function(operands[0].value, operands[1].value)


def _equal(_context: Context, operands: list[Operand]) -> Expr:
    a, b = operands
    if a.dtype == "bool":
        return tirx.Not(_exclusive_or(a.value, b.value))
    return tirx.EQ(a.value, b.value)


def _exclusive_or(a: Expr, b: Expr) -> Expr:
    return tirx.Or(tirx.And(a, tirx.Not(b)), tirx.And(tirx.Not(a), b))


def _where(_context: Context, operands: list[Operand]) -> Expr:
    condition, a, b = (operand.value for operand in operands)
    if operands[1].dtype == "bool":
        return tirx.Or(tirx.And(condition, a), tirx.And(tirx.Not(condition), b))
    return tirx.Select(condition, a, b)


def _nan(_context: Context, operands: list[Operand]) -> Expr:
    return _is_nan(operands[0].value, operands[0].dtype)


def _infinite(context: Context, operands: list[Operand]) -> Expr:
    (x,) = operands
    up = tirx.EQ(x.value, context.number(float("inf"), x.dtype))
    down = tirx.EQ(x.value, context.number(float("-inf"), x.dtype))
    wanted = (
        bool(context.attribute("detect_positive", 1)),
        bool(context.attribute("detect_negative", 1)),
    )
    if wanted == (True, True):
        return tirx.Or(up, down)
    if wanted == (False, False):
        return constant(False, "bool", context.lanes)
    return up if wanted[0] else down


def _shift(context: Context, operands: list[Operand]) -> Expr:
    """A shift by the width or more gives 0."""
    value, count = (operand.value for operand in operands)
    dtype = operands[0].dtype
    bits = 8 * np.dtype(dtype).itemsize
    bounded = count & context.number(bits - 1, dtype)
    left = context.attribute("direction", "") == "LEFT"
    shifted = value << bounded if left else value >> bounded
    inside = count < context.number(bits, dtype)
    return tirx.Select(inside, shifted, context.number(0, dtype))


def _cast(context: Context, operands: list[Operand]) -> Expr:
    (x,) = operands
    return convert(context, x.value, x.dtype, context.step.dtype)


_UNARY = (
    "Ceil",
    "Celu",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "Mish",
    "Reciprocal",
    "Round",
    "Selu",
    "Sigmoid",
    "Silu",
    "Sin",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tanh",
    "ThresholdedRelu",
)
_LIBRARY: dict[str, Callable[[Expr], Expr]] = {
    "Acos": tirx.acos,
    "Acosh": tirx.acosh,
    "Asin": tirx.asin,
    "Asinh": tirx.asinh,
    "Atan": tirx.atan,
    "Atanh": tirx.atanh,
    "Cosh": tirx.cosh,
    "Sinh": tirx.sinh,
    "Tan": tirx.tan,
}

#: ONNX operator -> emitter.
STEPS: dict[str, _Emit] = {
    **dict.fromkeys(_UNARY, _unary),
    **{name: _library(function) for name, function in _LIBRARY.items()},
    "Abs": _absolute,
    "Add": _fold(lambda a, b: a + b),
    "And": _compare(tirx.And),
    "BitShift": _shift,
    "BitwiseAnd": _compare(lambda a, b: a & b),
    "BitwiseNot": lambda _context, operands: ~operands[0].value,
    "BitwiseOr": _compare(lambda a, b: a | b),
    "BitwiseXor": _compare(lambda a, b: a ^ b),
    "Cast": _cast,
    "Clip": _clip,
    "Div": _divide,
    "Equal": _equal,
    "Greater": _compare(tirx.GT),
    "GreaterOrEqual": _compare(tirx.GE),
    "Identity": lambda _context, operands: operands[0].value,
    "IsInf": _infinite,
    "IsNaN": _nan,
    "Less": _compare(tirx.LT),
    "LessOrEqual": _compare(tirx.LE),
    "Max": _extreme(tirx.Max),
    "Mean": _mean,
    "Min": _extreme(tirx.Min),
    "Mod": _modulo,
    "Mul": _fold(lambda a, b: a * b),
    "Neg": _negative,
    "Not": lambda _context, operands: tirx.Not(operands[0].value),
    "Or": _compare(tirx.Or),
    "PRelu": _prelu,
    "Pow": _power,
    "Relu": _relu,
    "Shrink": _shrink,
    "Sign": _sign,
    "Sub": _compare(lambda a, b: a - b),
    "Sum": _fold(lambda a, b: a + b),
    "Swish": _swish,
    "Where": _where,
    "Xor": _compare(_exclusive_or),
}

_FLOAT_ONLY = frozenset({*_UNARY, *_LIBRARY, "IsInf", "IsNaN", "Mean", "Swish"})
_INTEGER_ONLY = frozenset({"BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"})
