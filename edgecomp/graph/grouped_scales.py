"""Scales of groups of weights that are whole multiples of one scale per output.

    scale[b, n] = multiple[b, n] * unit[n]

Then a weight is ``unit[n]`` times the whole number ``multiple[b, n] * q``: a product with such
weights has one int32 sum per output, as with one scale per output. Every float32 is a whole number
times a power of two, so that units are found exactly: as greatest common divisors.
"""

import numpy as np
import numpy.typing as npt

from edgecomp.graph.integer import Float32Array

Multiples = npt.NDArray[np.int64]

#: Bits of a float32's mantissa, and powers of two that scales of an output may be apart.
_MANTISSA, _MOST_SHIFT = 24, 32


def common_unit(scales: Float32Array) -> tuple[Float32Array, Multiples] | None:
    """Units [N] and multiples [blocks, N] of positive normal scales [blocks, N].

    None where scales of an output are so far apart that they have no unit to speak of.
    """
    fraction, exponent = np.frexp(scales)
    least = exponent.min(axis=0)
    shift = exponent - least
    if shift.size and int(shift.max()) > _MOST_SHIFT:
        return None
    whole = np.ldexp(fraction.astype(np.float64), _MANTISSA).astype(np.int64) << shift
    divisor = np.gcd.reduce(whole, axis=0)
    unit = np.ldexp(divisor.astype(np.float64), least - _MANTISSA).astype(np.float32)
    if unit.size and not (unit >= np.finfo(np.float32).tiny).all():
        return None
    return unit, whole // divisor


def with_short_mantissa(units: npt.NDArray[np.float64], bits: int) -> Float32Array:
    """Units rounded down so that their multiples below ``2**bits`` are float32 exactly."""
    single = np.ascontiguousarray(units, np.float32)
    kept = np.uint32(0xFFFFFFFF << bits & 0xFFFFFFFF)
    short: Float32Array = (single.view(np.uint32) & kept).view(np.float32)
    return short
