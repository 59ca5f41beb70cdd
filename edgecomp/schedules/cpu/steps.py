"""Steps of elementwise chains: one ONNX operator each, on vectors.

float32 functions are arithmetic (functions.py); the rarely used ones, and all float64
functions, call libm lane by lane.
"""

from collections.abc import Callable

import numpy as np

from edgecomp.plan.elementwise import Step
from edgecomp.plan.finish import Activation
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant
from edgecomp.schedules.cpu import functions, small_types
from edgecomp.schedules.cpu.division import divide, modulo, power
from edgecomp.schedules.cpu.operand import (
    DTYPES,
    FLOATS,
    HALVES,
    INTEGERS,
    Context,
    Operand,
    by_lane,
    convert,
    is_nan,
)
from edgecomp.schedules.cpu.vectors import lanes_of, named, pinned, typed

_Emit = Callable[[Context, list[Operand]], Expr]


def refusal(step: Step, dtypes: list[str]) -> str:
    """Why a step cannot be emitted for operands of these dtypes, "" if it can."""
    makes_small = step.operator == "Cast" and step.dtype in small_types.SMALL
    for dtype in (*dtypes, *([] if makes_small else [step.dtype])):
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
            return by_lane(library, x.value)
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
    return lambda _context, operands: by_lane(function, operands[0].value)


def _swish(context: Context, operands: list[Operand]) -> Expr:
    (x,) = operands
    alpha = float(context.attribute("alpha", 1.0))
    scaled = named(context.builder, "scaled", x.value * context.number(alpha, x.dtype))
    return x.value * functions.apply(context.builder, Activation("sigmoid"), scaled)


def _shrink(context: Context, operands: list[Operand]) -> Expr:
    """Bounds and bias are floats: integers are compared and moved in float64, then truncated."""
    (x,) = operands
    if x.dtype in INTEGERS:
        wide = named(context.builder, "wide", convert(context, x.value, x.dtype, "float64"))
        return convert(context, _shrunk(context, wide, "float64"), "float64", x.dtype)
    return _shrunk(context, x.value, x.dtype)


def _shrunk(context: Context, x: Expr, dtype: str) -> Expr:
    bias = context.number(float(context.attribute("bias", 0.0)), dtype)
    limit = float(context.attribute("lambd", 0.5))
    zero = context.number(0.0, dtype)
    below = tirx.Select(x < context.number(-limit, dtype), x + bias, zero)
    return tirx.Select(x > context.number(limit, dtype), x - bias, below)


def _extreme(function: Callable[[Expr, Expr], Expr]) -> _Emit:
    """Max and Min of any number of operands; NaN wins."""

    def emit(context: Context, operands: list[Operand]) -> Expr:
        total = operands[0].value
        for operand in operands[1:]:
            chosen = function(total, operand.value)
            if operand.dtype in FLOATS:
                chosen = tirx.Select(is_nan(total, operand.dtype), total, chosen)
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
    if x.dtype == "float32" or x.dtype in HALVES:
        return _unary(context, operands)
    zero, one = context.number(0, x.dtype), context.number(1, x.dtype)
    positive = tirx.Select(x.value > zero, one, zero)
    if x.dtype.startswith("uint"):
        return positive
    signed = tirx.Select(x.value < zero, zero - one, positive)
    if x.dtype == "float64":
        return tirx.Select(is_nan(x.value, x.dtype), x.value, signed)
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


def _compare(function: Callable[[Expr, Expr], Expr]) -> _Emit:
    return lambda _context, operands: function(operands[0].value, operands[1].value)


def _equal(_context: Context, operands: list[Operand]) -> Expr:
    a, b = operands
    if a.dtype == "bool":
        return _negated(_exclusive_or(a.value, b.value))
    if a.dtype not in FLOATS:
        return tirx.EQ(a.value, b.value)
    # TVM takes ``x == x`` for true; it sees no x in its bits.
    held = a.value.ty.dtype
    bits = tirx.reinterpret(typed(f"int{held.bits}", lanes_of(b.value)), b.value)
    return tirx.EQ(a.value, tirx.reinterpret(str(held), bits))


def _exclusive_or(a: Expr, b: Expr) -> Expr:
    return tirx.Or(tirx.And(a, _negated(b)), tirx.And(_negated(a), b))


def _negated(truth: Expr) -> Expr:
    """Not, by a number: TVM makes ``a >= b`` of ``Not(a < b)``, which is another thing for NaN."""
    lanes = lanes_of(truth)
    number = tirx.Cast(typed("int8", lanes), truth)
    return tirx.NE(number, constant(1, "int8", lanes))


def _where(_context: Context, operands: list[Operand]) -> Expr:
    condition, a, b = (operand.value for operand in operands)
    if operands[1].dtype == "bool":
        return tirx.Or(tirx.And(condition, a), tirx.And(_negated(condition), b))
    return tirx.Select(condition, a, b)


def _nan(_context: Context, operands: list[Operand]) -> Expr:
    return is_nan(operands[0].value, operands[0].dtype)


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
    """A shift by the width or more, or by less than 0, leaves what shifting forever would."""
    value, count = (operand.value for operand in operands)
    dtype = operands[0].dtype
    bits = 8 * np.dtype(dtype).itemsize
    zero = context.number(0, dtype)
    bounded = count & context.number(bits - 1, dtype)
    inside = count < context.number(bits, dtype)
    signed = not dtype.startswith("u")
    if signed:
        inside = tirx.And(inside, count >= zero)
    if context.attribute("direction", "") == "LEFT":
        return tirx.Select(inside, value << bounded, zero)
    beyond = tirx.Select(value < zero, context.number(-1, dtype), zero) if signed else zero
    return tirx.Select(inside, value >> bounded, beyond)


def _cast(context: Context, operands: list[Operand]) -> Expr:
    (x,) = operands
    dtype = context.step.dtype
    if dtype in small_types.SMALL:
        return _cast_to_small(context, x)
    value = convert(context, x.value, x.dtype, dtype)
    return value if x.dtype == dtype else _rounded(context, value, dtype)


def _rounded(context: Context, value: Expr, dtype: str) -> Expr:
    """What is held as float32 loses the bits that its own type does not have."""
    if dtype == "float16":
        narrow = tirx.Cast(typed("float16", context.lanes), value)
        return tirx.Cast(typed("float32", context.lanes), narrow)
    if dtype == "bfloat16":
        value = named(context.builder, "wide", value)
        return small_types.widen_bfloat16(small_types.narrow_bfloat16(context.builder, value))
    return value


def _cast_to_small(context: Context, x: Operand) -> Expr:
    dtype = context.step.dtype
    if "float" not in dtype:
        return small_types.wrap(convert(context, x.value, x.dtype, "int32"), dtype)
    value = named(context.builder, "wide", convert(context, x.value, x.dtype, "float32"))
    return small_types.encode(
        context.builder,
        value,
        dtype,
        saturate=bool(context.attribute("saturate", 1)),
        round_mode=str(context.attribute("round_mode", "up")),
    )


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
    "Div": divide,
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
    "Mod": modulo,
    "Mul": _fold(lambda a, b: a * b),
    "Neg": _negative,
    "Not": lambda _context, operands: _negated(operands[0].value),
    "Or": _compare(tirx.Or),
    "PRelu": _prelu,
    "Pow": power,
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
