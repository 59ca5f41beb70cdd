"""How far accumulators can go, and what that saves in their requantization.

An accumulator that starts at ``ROUNDING_MAGIC_BITS`` (the bits of 1.5 * 2^23) instead of 0 ends
as the bits of the float32 ``1.5 * 2^23 + acc`` while ``|acc| < 2^22``: a subtraction replaces
the conversion, which takes four times as long on Cortex-A76 (Software Optimization Guide,
section 3.16, "ASIMD FP convert, other, Q-form F32"). Beyond 2^22 the bits still grow with the
accumulator, so that the float is too large or too small on the right side: that is the same
where the scaled value is then beyond every quantized value.
"""

import dataclasses

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules.cpu.rounding import ROUNDING_MAGIC, ROUNDING_MAGIC_BITS

#: Accumulators below it are exact in the bits of ``ROUNDING_MAGIC + acc``.
_EXACT = 1 << 22
#: Farthest accumulator whose sum with ``ROUNDING_MAGIC_BITS`` is the bits of a finite float32.
_FINITE = 0x7F7FFFFF - ROUNDING_MAGIC_BITS
#: No quantized value less its zero point is as large.
_SATURATED = 256.0


def greatest_x(dtype: str) -> int:
    """Greatest magnitude of a stored activation."""
    if dtype == "int16":
        return 1 << 15
    return 128 if dtype == "int8" else 255


@dataclasses.dataclass(frozen=True)
class Reach:
    """Of the accumulators of one kernel.

    Attributes:
        magnitude: no accumulator, as float32, times its multiplier is greater.
        offset: what the accumulators hold beside their sums: ``ROUNDING_MAGIC_BITS`` or 0.
    """

    magnitude: float
    offset: int = 0


def reach_of(target: Target, farthest: Array, multiplier: Array) -> Reach:
    """The reach of sums of at most ``farthest`` (an integer per channel), and their start.

    Args:
        target: the device.
        farthest: greatest magnitude per channel.
        multiplier: float32 per channel, positive or 0.
    """
    farthest, multiplier = np.broadcast_arrays(farthest.reshape(-1), multiplier.reshape(-1))
    scale = np.abs(multiplier.astype(np.float64))
    plain = float((farthest * scale).max(initial=0.0))
    if target.core.isa != "aarch64" or farthest.max(initial=0) > _FINITE:
        return Reach(plain)
    saturates = scale * _EXACT > _SATURATED
    if not np.all(saturates | (farthest < _EXACT)):
        return Reach(plain)
    greatest = (farthest + ROUNDING_MAGIC_BITS).astype(np.int32).view(np.float32)
    seen = greatest.astype(np.float64) - ROUNDING_MAGIC
    return Reach(float((seen * scale).max(initial=0.0)), ROUNDING_MAGIC_BITS)


def start_of(bias: Array, reach: Reach) -> Array:
    """What accumulators start from: the bias and the reach's offset, int32."""
    return (bias.astype(np.int64) + reach.offset).astype(np.int32)
