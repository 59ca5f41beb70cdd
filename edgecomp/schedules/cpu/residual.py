"""Requantized sums plus a quantized residual, requantized again: "Add" of docs/numerics.md.

On aarch64 both roundings and the sum stay in float32: the weighted sum of two values of 8 bits
is below 2^24 units of its last place by the definition of the weights, so that every step is
exact whether or not it is contracted.
"""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import IntegerAdd, Requantize
from edgecomp.schedules.builder import Expr, KernelBuilder, constant, reinterpret
from edgecomp.schedules.cpu.epilogue import ROUNDING_MAGIC, requantize, vector_dtype
from edgecomp.schedules.cpu.narrow import (
    clamped,
    narrow,
    narrow_scaled,
    pick,
    piece_order,
    scaled,
)
from edgecomp.schedules.cpu.reach import Reach

#: Upper half of the bits of 2^23: the lower half then counts units.
_UNIT_BITS = 0x4B00
_UNIT = 2.0**23


def narrow_added(
    builder: KernelBuilder,
    target: Target,
    totals: list[Expr],
    multipliers: list[Expr],
    residual: Expr,
    finish: Requantize,
    add: IntegerAdd,
    *,
    dtype: str,
    reach: Reach,
) -> Expr:
    """Requantize, add, requantize.

    Args:
        builder: receives the statements.
        target: the device.
        totals: int32 accumulators in ``piece_order``.
        multipliers: float32, a vector per vector of totals.
        residual: vector of bytes, in the order of channels.
        finish: of the sums.
        add: the residual's addition.
        dtype: of the result.
        reach: of the totals.

    Returns:
        All results in one vector of ``dtype``.
    """
    named = builder.let("residual", residual, str(residual.ty.dtype))
    factor = float(add.requantize.multiplier.reshape(-1)[0])
    # The accumulator of an addition is below 2^24 by construction.
    added_reach = Reach(2.0**24 * factor)
    if target.core.isa == "aarch64":
        others = _bytes_as_float(builder, named, add.zero_b)
        sums = []
        for total, multiplier, other in zip(totals, multipliers, others, strict=True):
            first = clamped(target, scaled(target, total, multiplier, 4, reach), finish)
            magic = constant(ROUNDING_MAGIC, "float32", 4)
            rounded = builder.let("rounded", first + magic, "float32x4") - magic
            weight_a = constant(add.weight_a * factor, "float32", 4)
            weight_b = constant(add.weight_b * factor, "float32", 4)
            sums.append(
                builder.let("added", rounded * weight_a + other * weight_b, "float32x4")
            )
        return narrow_scaled(
            builder, target, sums, add.requantize, dtype=dtype, reach=added_reach
        )
    order = piece_order(target, int(residual.ty.dtype.lanes))
    lanes = order.shape[1]
    int32 = vector_dtype("int32", lanes)
    # (a - za) * wa + (b - zb) * wb: the zero points fold into one constant.
    shift = constant(-add.zero_a * add.weight_a - add.zero_b * add.weight_b, "int32", lanes)
    added = []
    for total, multiplier, indices in zip(totals, multipliers, order, strict=True):
        a = requantize(target, total, multiplier, finish, lanes)
        b = pick([named], indices).astype(int32)
        weighted = a * constant(add.weight_a, "int32", lanes)
        weighted = weighted + b * constant(add.weight_b, "int32", lanes) + shift
        added.append(builder.let("added", weighted, int32))
    factors = [constant(factor, "float32", lanes)] * len(added)
    return narrow(
        builder, target, added, factors, add.requantize, dtype=dtype, reach=added_reach
    )


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
