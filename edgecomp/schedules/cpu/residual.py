"""Requantized sums plus a quantized residual, requantized again: "Add" of docs/numerics.md.

Where the target has a fused multiply-add both roundings and the sum stay in float32: the weighted
sum of two values of 8 bits is below 2^24 units of its last place by the definition of the
weights, and its multiplier a power of two, so that every step is exact whether or not it is
contracted. armv7 adds integers: its products would be contracted with the rounding before them.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.finish import IntegerAdd, Requantize
from edgecomp.schedules.builder import (
    Expr,
    KernelBuilder,
    constant,
    intrinsic,
    reinterpret,
)
from edgecomp.schedules.cpu.epilogue import (
    requantize,
    round_half_even,
    vector_dtype,
)
from edgecomp.schedules.cpu.narrow import (
    Accumulators,
    clamped,
    narrow,
    narrow_scaled,
    pick,
)
from edgecomp.schedules.cpu.reach import Reach
from edgecomp.schedules.cpu.rounding import ROUNDING_MAGIC

#: Upper half of the bits of 2^23: the lower half then counts units.
_UNIT_BITS = 0x4B00
_UNIT = 2.0**23


@dataclasses.dataclass(frozen=True)
class Addition:
    """Sums and what is added to them.

    Attributes:
        sums: the accumulators.
        finish: how they are requantized.
        residuals: vectors of bytes that together have the lanes of the totals; on aarch64 one,
            elsewhere one per vector of totals.
        add: the residual's addition.
    """

    sums: Accumulators
    finish: Requantize
    residuals: list[Expr]
    add: IntegerAdd

    @property
    def factor(self) -> float:
        """Of the weighted sum, a power of two."""
        return float(self.add.requantize.multiplier.reshape(-1)[0])


def narrow_added(
    builder: KernelBuilder, target: Target, addition: Addition, dtype: str
) -> Expr:
    """Requantize, add, requantize; all results in one vector of ``dtype``."""
    sums, add, factor = addition.sums, addition.add, addition.factor
    # The accumulator of an addition is below 2^24 by construction.
    reach = Reach(2.0**24 * factor)
    if target.core.isa == "armv7":
        dtype32 = vector_dtype("int32", sums.lanes)
        added = [
            builder.let("added", value, dtype32) for value in _integer_sums(target, addition)
        ]
        factors = [constant(factor, "float32", sums.lanes)] * len(added)
        both = Accumulators(added, factors, reach)
        return narrow(builder, target, both, add.requantize, dtype)
    add_up = _sums_aarch64 if target.core.isa == "aarch64" else _sums_x86
    # A vector that stands twice is one value: LLVM would compute it twice.
    values = add_up(builder, target, addition)
    value_of = dict(zip(map(id, sums.totals), values, strict=True))
    found = [value_of[id(total)] for total in sums.totals]
    return narrow_scaled(builder, target, found, add.requantize, dtype=dtype, reach=reach)


def _sums_x86(builder: KernelBuilder, target: Target, addition: Addition) -> Iterator[Expr]:
    """In float32, by conversions; the residual's zero point folds into a constant."""
    sums, finish, add, factor = addition.sums, addition.finish, addition.add, addition.factor
    lanes = sums.lanes
    dtype, name = vector_dtype("float32", lanes), f"llvm.fma.v{lanes}f32"
    weight_a, weight_b, shift = (
        constant(value * factor, "float32", lanes)
        for value in (add.weight_a, add.weight_b, -add.zero_b * add.weight_b)
    )
    for product, residual in zip(sums.scaled(target), addition.residuals, strict=True):
        bounded = clamped(target, product, finish)
        a = round_half_even(target, bounded, lanes).astype(dtype)
        if finish.zero_point != add.zero_a:
            a = a + constant(float(finish.zero_point - add.zero_a), "float32", lanes)
        b = residual.astype(vector_dtype("int32", lanes)).astype(dtype)
        other = intrinsic(dtype, name, b, weight_b, shift)
        yield builder.let("added", intrinsic(dtype, name, a, weight_a, other), dtype)


def _sums_aarch64(
    builder: KernelBuilder, target: Target, addition: Addition
) -> Iterator[Expr]:
    """In float32, by additions of 1.5 * 2^23 and bits of floats: conversions take longer."""
    finish, add, factor = addition.finish, addition.add, addition.factor
    (residual,) = addition.residuals
    named = builder.let("residual", residual, str(residual.ty.dtype))
    others = _bytes_as_float(builder, named, add.zero_b)
    magic = constant(ROUNDING_MAGIC, "float32", 4)
    # Less the addition's zero point instead of the requantization's.
    back = constant(ROUNDING_MAGIC + add.zero_a - finish.zero_point, "float32", 4)
    for product, other in zip(addition.sums.scaled(target), others, strict=True):
        first = clamped(target, product, finish)
        rounded = builder.let("rounded", first + magic, "float32x4") - back
        weight_a = constant(add.weight_a * factor, "float32", 4)
        weight_b = constant(add.weight_b * factor, "float32", 4)
        yield builder.let("added", rounded * weight_a + other * weight_b, "float32x4")


def _integer_sums(target: Target, addition: Addition) -> Iterator[Expr]:
    """In int32."""
    sums, finish, add = addition.sums, addition.finish, addition.add
    lanes = sums.lanes
    int32 = vector_dtype("int32", lanes)
    # (a - za) * wa + (b - zb) * wb: the zero points fold into one constant.
    shift = constant(-add.zero_a * add.weight_a - add.zero_b * add.weight_b, "int32", lanes)
    parts = zip(sums.totals, sums.multipliers, addition.residuals, strict=True)
    for total, multiplier, residual in parts:
        a = requantize(target, total, multiplier, finish, lanes)
        weighted = a * constant(add.weight_a, "int32", lanes)
        b = residual.astype(int32)
        yield weighted + b * constant(add.weight_b, "int32", lanes) + shift


def _bytes_as_float(builder: KernelBuilder, values: Expr, zero: int) -> list[Expr]:
    """Bytes less their zero point as vectors of four float32, without a conversion."""
    dtype, lanes = values.ty.dtype, int(values.ty.dtype.lanes)
    signed = str(dtype).startswith("int")
    unsigned = vector_dtype("uint8", lanes)
    if signed:
        values = reinterpret(unsigned, values) ^ constant(0x80, "uint8", lanes)
        zero += 128
    words = builder.let(
        "words", values.astype(vector_dtype("uint16", lanes)), f"uint16x{lanes}"
    )
    found = []
    for first in range(0, lanes, 4):
        unit = constant(_UNIT_BITS, "uint16", lanes)
        indices = np.stack([np.arange(first, first + 4), np.full(4, lanes)], axis=1)
        bits = reinterpret("float32x4", pick([words, unit], indices.reshape(-1)))
        value = bits - constant(_UNIT + zero, "float32", 4)
        found.append(builder.let("other", value, "float32x4"))
    return found
