"""8-bit products whose weights lie in memory as 4 bits, two to a byte, and become bytes in registers.

Where an instruction adds products to int32 directly, a weight w is unpacked as 16 w: the upper half
of a byte is that as it lies, the lower one after a shift. Everything then is a product of weights
16 w, from biases 16 b, whose multipliers are a sixteenth: as powers of two change neither
``float32(acc)`` nor the product's rounding, results have the bits of docs/numerics.md. That holds
while the larger sums stay in int32 and the multipliers normal; ``scaled`` is None elsewhere, and the
product keeps its weights in 8 bits.
"""

import dataclasses

import numpy as np

from edgecomp.plan.finish import Finish, Requantize, RuntimeScale, Scale
from edgecomp.plan.values import Array

#: What a weight is unpacked as, in units of it.
FACTOR = 16
LEAST, GREATEST = -8, 7
_LARGEST_SUM = 2**31 - 1
#: Multipliers below it could become subnormal on the way.
_LEAST_MULTIPLIER = 2.0**-100


@dataclasses.dataclass(frozen=True, eq=False)
class Scaled:
    """A product in units of a sixteenth of a weight.

    Attributes:
        bias: int32, 16 times the biases.
        finish: with multipliers of a sixteenth.
    """

    bias: Array
    finish: Requantize | Scale | RuntimeScale


def holds(weight: Array) -> bool:
    """Whether weights are numbers of 4 bits."""
    return bool(weight.min(initial=0) >= LEAST and weight.max(initial=0) <= GREATEST)


def scaled(weight: Array, bias: Array, finish: Finish) -> Scaled | None:
    """The product in smaller units, None where its numbers could then leave their types.

    Args:
        weight: int8 [columns, K].
        bias: int32 [columns].
        finish: of the sums.
    """
    if not isinstance(finish, (Requantize, Scale, RuntimeScale)):
        return None
    farthest = 255 * np.abs(weight.astype(np.int64)).sum(axis=1)
    farthest = farthest + np.abs(bias.reshape(-1).astype(np.int64))
    if FACTOR * int(farthest.max(initial=0)) > _LARGEST_SUM:
        return None
    if not (np.abs(finish.multiplier) >= _LEAST_MULTIPLIER).all():
        return None
    multiplier = (finish.multiplier / np.float32(FACTOR)).astype(np.float32)
    less = dataclasses.replace(finish, multiplier=multiplier)
    if isinstance(less, RuntimeScale):
        less = dataclasses.replace(less, sums=(less.sums * FACTOR).astype(np.int32))
    return Scaled((bias * FACTOR).astype(np.int32), less)


def paired(low: Array, high: Array) -> Array:
    """Two numbers to a byte: the 4 bits of int8 or scaled ones, uint8."""
    nibbles = [part.view(np.uint8) & np.uint8(15) for part in (low, high)]
    both: Array = nibbles[0] | nibbles[1] << np.uint8(4)
    return both
