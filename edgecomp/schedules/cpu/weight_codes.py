"""Forms in which float32 products read their weights: narrow floats that widen in registers.

Memory holds the bits of a type that numpy (or ml_dtypes) names. Every number of such a type is a
float32, so a product computes what it would with the rounded weights as float32: nothing is lost
on the way.

* float16: the conversion is one instruction (``vcvtph2ps`` of F16C and AVX-512, ``fcvtl``,
  ``vcvt.f32.f16`` of VFPv4), which takes subnormal halves as they are, whatever happens to
  subnormal float32 numbers.
* bfloat16: the upper half of a float32, so a shift.
* float8_e5m2: the upper half of a float16, so a shift and the same instruction.
* float8_e5m2 of which all numbers are powers of two from 2^-6 to 1, or 0: four bits, which are
  looked up (log2_code.py).
* float8_e4m3fn: its exponent and mantissa in the places of a float16's are the number over 256,
  subnormal ones included, and the factor goes into the scale of the sums. Only the code of NaN is
  read as another number (480): weights have none.
"""

import dataclasses
from collections.abc import Callable

from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant, reinterpret
from edgecomp.schedules.cpu.log2_code import DTYPE, are_powers, codes_of
from edgecomp.schedules.cpu.small_types import widen_bfloat16
from edgecomp.schedules.cpu.vectors import lanes_of, typed


@dataclasses.dataclass(frozen=True)
class WeightCode:
    """A type of weights and how a kernel takes it.

    Attributes:
        dtype: of the weights: a numpy or ml_dtypes name.
        memory_dtype: of the pointer: an integer as wide.
        widen: vector of ``memory_dtype`` to one of float32.
        instructions: of one vector, the load left out.
        factor: of what ``widen`` gives, to the numbers that are meant.
        packs: whether ``bits`` are four to a weight, which arithmetic_log2.py takes.
    """

    dtype: str
    memory_dtype: str
    widen: Callable[[Expr], Expr]
    instructions: float
    factor: float = 1.0
    packs: bool = False

    def bits(self, weights: Array) -> Array:
        """Weights as the memory holds them."""
        return codes_of(weights) if self.packs else weights.view(self.memory_dtype)


def _widen_float16(bits: Expr) -> Expr:
    lanes = lanes_of(bits)
    halves = reinterpret(typed("float16", lanes), bits)
    return halves.astype(typed("float32", lanes))


def _widen_float8_e5m2(bits: Expr) -> Expr:
    lanes = lanes_of(bits)
    wide = tirx.Cast(typed("uint16", lanes), bits)
    return _widen_float16(wide << constant(8, "uint16", lanes))


def _widen_float8_e4m3fn(bits: Expr) -> Expr:
    """Sign extension and a shift by 7 put the sign into bits 15 and 14: the lower one goes."""
    lanes = lanes_of(bits)
    wide = tirx.Cast(typed("int16", lanes), reinterpret(typed("int8", lanes), bits))
    shifted = wide << constant(7, "int16", lanes)
    half = shifted & constant(_NOT_BIT_14, "int16", lanes)
    return _widen_float16(reinterpret(typed("uint16", lanes), half))


#: All bits of an int16 but the highest of the exponent of a float16.
_NOT_BIT_14 = -0x4001
_CODES = {
    "float16": WeightCode("float16", "uint16", _widen_float16, 1.0),
    "bfloat16": WeightCode("bfloat16", "uint16", widen_bfloat16, 2.0),
    "float8_e4m3fn": WeightCode("float8_e4m3fn", "uint8", _widen_float8_e4m3fn, 4.0, 256.0),
    "float8_e5m2": WeightCode("float8_e5m2", "uint8", _widen_float8_e5m2, 3.0),
}
_LOG2 = WeightCode(DTYPE, "uint8", _widen_float8_e5m2, 3.5, packs=True)


def weight_code(dtype: str) -> WeightCode | None:
    """The code of weights of a type; None where no product reads it."""
    return _CODES.get(dtype)


def weight_code_of(weights: Array) -> WeightCode | None:
    """The code of weights: of their type, or that of fewer bits that holds them all."""
    return _LOG2 if are_powers(weights) else weight_code(weights.dtype.name)
