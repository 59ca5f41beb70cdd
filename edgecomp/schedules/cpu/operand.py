"""Operands of elementwise steps: how a value is held between steps, and conversions.

Between steps a bool is TVM's ``bool``, a float16 or bfloat16 is held as float32, everything else is
itself. Types of a byte or less (small_types.py) are held as their code: only a Cast makes them.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from edgecomp.plan.elementwise import Step
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant
from edgecomp.schedules.cpu import math
from edgecomp.schedules.cpu.small_types import SMALL
from edgecomp.schedules.cpu.vectors import lanes_of, named, typed

INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
#: Floats of 16 bits.
HALVES = frozenset({"float16", "bfloat16"})
LONG_BYTES = 8
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


def held_as(dtype: str) -> str:
    """Type of a value between steps."""
    if dtype in HALVES:
        return "float32"
    return "uint8" if dtype in SMALL else dtype


def convert(context: Context, value: Expr, source: str, target: str) -> Expr:
    """Cast as C does; float to integer truncates, to bool compares with 0: NaN is true."""
    source, target = held_as(source), held_as(target)
    lanes = context.lanes
    if source == target:
        return value
    if target == "bool":
        if source in FLOATS:  # comparisons of floats are false for NaN
            value, source = _magnitude_bits(value, source)
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


def by_lane(function: Callable[..., Expr], *vectors: Expr) -> Expr:
    """A scalar function (a call of libm) for each lane."""
    lanes = lanes_of(vectors[0])
    if lanes == 1:
        return function(*vectors)
    results = [
        function(*(tirx.Shuffle([vector], [lane]) for vector in vectors))
        for lane in range(lanes)
    ]
    return tirx.Shuffle(results, list(range(lanes)))


def _magnitude_bits(value: Expr, dtype: str) -> tuple[Expr, str]:
    """Bits of a float of any held type without its sign, and their type."""
    if dtype == "float64":
        bits = tirx.reinterpret(typed("int64", lanes_of(value)), value)
        return bits & constant((1 << 63) - 1, "int64", lanes_of(value)), "int64"
    bits = math.bits_of(value)
    return bits & constant((1 << 31) - 1, "int32", lanes_of(value)), "int32"


def is_nan(value: Expr, dtype: str) -> Expr:
    """Whether a float of any held type is NaN."""
    if dtype == "float64":
        positive, _ = _magnitude_bits(value, dtype)
        return positive > constant(0x7FF << 52, "int64", lanes_of(value))
    return math.is_nan(value)
