"""Forms in which float32 products read their weights: halves that become float32 in registers.

Memory holds the bits of a type that numpy (or ml_dtypes) names. Every number of such a type is a
float32, so a product computes what it would with the rounded weights as float32: nothing is lost
on the way.

* float16: the conversion is one instruction (``vcvtph2ps`` of F16C and AVX-512, ``fcvtl``,
  ``vcvt.f32.f16`` of VFPv4), which takes subnormal halves as they are, whatever happens to
  subnormal float32 numbers.
* bfloat16: the upper half of a float32, so a shift.
"""

import dataclasses
from collections.abc import Callable

from edgecomp.plan.values import Array
from edgecomp.schedules.builder import Expr, reinterpret
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
    """

    dtype: str
    memory_dtype: str
    widen: Callable[[Expr], Expr]
    instructions: float

    def bits(self, weights: Array) -> Array:
        """Weights as the memory holds them."""
        return weights.view(self.memory_dtype)


def _widen_float16(bits: Expr) -> Expr:
    lanes = lanes_of(bits)
    halves = reinterpret(typed("float16", lanes), bits)
    return halves.astype(typed("float32", lanes))


_CODES = {
    "float16": WeightCode("float16", "uint16", _widen_float16, 1.0),
    "bfloat16": WeightCode("bfloat16", "uint16", widen_bfloat16, 2.0),
}


def weight_code(dtype: str) -> WeightCode | None:
    """The code of weights of a type; None where no product reads it."""
    return _CODES.get(dtype)
