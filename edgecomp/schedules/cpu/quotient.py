"""Quotients by a constant that are rounded to few integers, without a division.

With r = float32(1 / s): ``q0 = x r``, ``e = fma(-q0, s, x)``, ``q1 = fma(e, r, q0)`` is the
correctly rounded quotient but for arguments where x / s lies within a millionth of an ulp of the
middle between two floats (Markstein). There q1 is its neighbour, which matters only if an
integer's rounding boundary k + 1/2 is one of the two. So comparing both forms on the floats
around every boundary proves them equal for all arguments; ``is_exact`` does that for one scale.

Three multiply-adds replace a division of 10 (AVX-512) to 20 cycles (in-order ARM) per vector.
"""

from collections.abc import Callable

import numpy as np

from edgecomp.device.target import Target
from edgecomp.schedules.builder import Expr, KernelBuilder, constant, intrinsic
from edgecomp.schedules.cpu.bounds import clamp
from edgecomp.schedules.cpu.rounding import is_power_of_two
from edgecomp.schedules.cpu.vectors import lanes_of, named, typed

#: Far beyond any quantized value; keeps infinities out of the residual.
_LIMIT = 32768.0
#: Scales whose reciprocal and residuals are normal numbers.
_LEAST, _GREATEST = 2.0**-90, 2.0**90
_WINDOW_ULPS = 6
_MIDPOINT_MARGIN = 2.0**-18


def divide(
    builder: KernelBuilder, target: Target, x: Expr, scale: float, low: int, high: int
) -> Expr:
    """``x / scale`` in float32, right wherever it is then rounded to an integer in [low, high].

    Args:
        builder: receives named values.
        target: decides whether products pay.
        x: float32.
        scale: positive.
        low: least integer that matters; smaller quotients may have any smaller value.
        high: greatest.
    """
    lanes = lanes_of(x)
    if is_power_of_two(scale):
        return by_power_of_two(x, scale)
    if not _pays(target) or not is_exact(scale, low, high):
        return x / constant(scale, "float32", lanes)
    residual, reciprocal, first = refinement(builder, x, scale, _fused)
    return _fused(named(builder, "residual", residual), reciprocal, first)


def by_power_of_two(x: Expr, scale: float) -> Expr:
    """``x / scale``, exact."""
    return x * constant(1.0 / float(np.float32(scale)), "float32", lanes_of(x))


def refinement(
    builder: KernelBuilder, x: Expr, scale: float, fused: Callable[[Expr, Expr, Expr], Expr]
) -> tuple[Expr, Expr, Expr]:
    """e, r and q0, whose ``fused`` is q1.

    Args:
        builder: receives named values.
        x: float32.
        scale: positive, with ``is_exact``.
        fused: ``a * b + c``, rounded once.
    """
    lanes = lanes_of(x)
    reciprocal = constant(float(np.float32(1.0) / np.float32(scale)), "float32", lanes)
    x = named(builder, "x", x)
    first = named(builder, "first", clamp(x * reciprocal, -_LIMIT, _LIMIT, builder.isa))
    divisor = constant(-float(np.float32(scale)), "float32", lanes)
    return fused(first, divisor, x), reciprocal, first


def is_exact(scale: float, low: int, high: int) -> bool:
    """Whether products give the same integers as the division, for every float32."""
    s = np.float32(scale)
    if not _LEAST < scale < _GREATEST:
        return False
    boundaries = np.arange(low - 1, high + 1, dtype=np.float64) + 0.5
    nearest = (boundaries * np.float64(s)).astype(np.float32)
    steps = np.arange(-_WINDOW_ULPS, _WINDOW_ULPS + 1, dtype=np.int32)
    x = (nearest.view(np.int32)[:, None] + steps).view(np.float32)
    r = np.float32(1.0) / s
    first = x * r
    # Products of two float32 are exact in float64, and so is the residual's difference.
    residual = (x.astype(np.float64) - first.astype(np.float64) * np.float64(s)).astype(
        np.float32
    )
    exact = first.astype(np.float64) + residual.astype(np.float64) * np.float64(r)
    rounded = exact.astype(np.float32)
    ulps = np.abs(exact - rounded) / np.spacing(np.abs(rounded)).astype(np.float64)
    if (np.abs(ulps - 0.5) < _MIDPOINT_MARGIN).any():
        return False  # rounding twice, here, may differ from rounding once
    return bool((np.rint(rounded) == np.rint(x / s)).all())


def _pays(target: Target) -> bool:
    """Fused multiply-adds everywhere, and cheaper than division: AVX2 divides 8 lanes in 5 cycles."""
    return target.has("avx512") or target.core.isa == "aarch64"


def _fused(a: Expr, b: Expr, c: Expr) -> Expr:
    lanes = lanes_of(a)
    suffix = "f32" if lanes == 1 else f"v{lanes}f32"
    return intrinsic(typed("float32", lanes), f"llvm.fma.{suffix}", a, b, c)
