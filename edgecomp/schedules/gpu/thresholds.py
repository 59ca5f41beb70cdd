"""QuantizeLinear by comparisons, for devices that promise neither a division nor a fused sum.

Metal's fast arithmetic and WebGPU may be wrong in the last bits of a quotient, and then one
result in thousands is another integer. What a division gives rises with its dividend: for each
result there is a least float32 that leads to it. An approximate quotient, which is never farther
than one from the result, is put right by two comparisons with these.
"""

import numpy as np

from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, load
from edgecomp.schedules.cpu.bounds import clamp
from edgecomp.schedules.cpu.math import is_nan
from edgecomp.schedules.cpu.rounding import rounded
from edgecomp.schedules.cpu.vectors import lanes_of, typed
from edgecomp.schedules.gpu.builder import GridBuilder

#: Neighbours of the exact quotient's dividend among which the threshold is.
_NEIGHBOURS = 8


def thresholds_of(operation: Operation) -> Array:
    """For each number of the output's type, ascending, the least input that leads to it.

    The first is -inf: nothing lies below it. One more, inf, stands behind the last.
    """
    quantization = operation.output.quantization
    assert quantization is not None
    limits, scale = np.iinfo(operation.output.dtype), np.float32(quantization.scale)
    wanted = np.arange(limits.min + 1, limits.max + 1) - quantization.zero_point
    with np.errstate(over="ignore"):
        near = ((wanted - 0.5) * np.float64(scale)).astype(np.float32)
        found = np.stack([_stepped(near, by) for by in range(-_NEIGHBOURS, _NEIGHBOURS + 1)])
        reaches = np.rint(found / scale) >= wanted
    least = np.where(reaches, found, np.float32(np.inf)).min(axis=0)
    return np.concatenate([[-np.inf], least, [np.inf]]).astype(np.float32)


def _stepped(x: Array, by: int) -> Array:
    toward = np.float32(np.inf if by > 0 else -np.inf)
    for _ in range(abs(by)):
        x = np.nextafter(x, toward)
    return x


def quantized(builder: GridBuilder, operation: Operation, table: Buffer, x: Expr) -> Expr:
    """What becomes of a vector of the input.

    Args:
        builder: of the kernel.
        operation: the quantization.
        table: ``thresholds_of`` it.
        x: float32.
    """
    output, lanes = operation.output, lanes_of(x)
    assert output.quantization is not None
    limits, point = np.iinfo(output.dtype), output.quantization.zero_point
    least, greatest = int(limits.min) - point, int(limits.max) - point
    inverse = float(np.float32(1) / np.float32(output.quantization.scale))
    x = builder.let("x", x, typed("float32", lanes))
    near = clamp(x * constant(inverse, "float32", lanes), float(least), float(greatest))
    zero = constant(0.0, "float32", lanes)
    near = builder.let("near", near, typed("float32", lanes))
    number = rounded(tirx.Select(is_nan(x), zero, near))
    number = builder.let("number", number, typed("int32", lanes))
    exact = [
        _corrected(builder, table, _lane(x, k), _lane(number, k), least, greatest)
        for k in range(lanes)
    ]
    whole = exact[0] if lanes == 1 else tirx.Shuffle(exact, range(lanes))
    moved = whole + constant(point, "int32", lanes)
    return tirx.Cast(typed(output.dtype, lanes), moved)


def _lane(vector: Expr, lane: int) -> Expr:
    return vector if lanes_of(vector) == 1 else tirx.Shuffle([vector], [lane])


def _corrected(
    builder: GridBuilder, table: Buffer, x: Expr, number: Expr, least: int, greatest: int
) -> Expr:
    """The number, or a neighbour that the thresholds give; NaN fails every comparison."""
    number = builder.let("near", number)
    place = builder.let("place", number - least)
    one, zero = tirx.const(1, "int32"), tirx.const(0, "int32")
    down = tirx.Select(x < load(table, place), one, zero)
    up = tirx.Select(x >= load(table, place + 1), one, zero)
    most = tirx.const(greatest, "int32")
    return builder.let("exact", tirx.Min(number - down + up, most))
