"""8 bits on tensor cores: two values of any zero points.

They are multiplied in the type, signed or not, in which their zero point is 0: it is usually in the
middle of the type or at its end, and turning the upper bits of words over moves it there. For a zero
point ``p`` elsewhere ``sum((a - p) b) = sum(a b) - p sum(b)``, and the sums of columns, or of rows, come
from the same instruction with ones in the place of the other operand.
"""

import dataclasses

from edgecomp.plan.values import Quantization
from edgecomp.schedules.cuda.tensor_tile import Instruction, Staging

#: The upper bit of each of four bytes, and 1 in each.
UPPER_BITS, ONES = -0x7F7F7F80, 0x01010101
#: By feature, and by whether each operand is unsigned: the function, and how it gets its operands.
_FUNCTIONS: dict[str, dict[tuple[bool, bool], tuple[str, Staging | None]]] = {
    "int8_mma": {
        (False, False): ("mma_s8", None),
        (True, False): ("mma_u8", None),
        (False, True): ("mma_s8_u8", None),
        (True, True): ("mma_u8_u8", None),
    },
    "int8_wmma": {
        (False, False): ("wmma_s8", Staging.of_bytes("s8")),
        (True, True): ("wmma_u8", Staging.of_bytes("u8")),
    },
}


@dataclasses.dataclass(frozen=True)
class Bytes:
    """How 8 bits are given to tensor cores.

    Attributes:
        is_unsigned: the type in which they are multiplied.
        zero: their zero point in it.
        flip: what is turned over in each word to get there.
    """

    is_unsigned: bool
    zero: int
    flip: int

    @staticmethod
    def of(dtype: str, quantization: Quantization | None) -> "Bytes":
        """Those of a quantized value."""
        assert quantization is not None
        is_unsigned = dtype == "uint8"
        signed_zero = quantization.zero_point - (128 if is_unsigned else 0)
        if signed_zero == -128:
            return Bytes(True, 0, 0 if is_unsigned else UPPER_BITS)
        return Bytes(False, signed_zero, UPPER_BITS if is_unsigned else 0)

    def signed(self) -> "Bytes":
        """The same numbers as signed ones."""
        if not self.is_unsigned:
            return self
        return Bytes(False, self.zero - 128, self.flip ^ UPPER_BITS)

    def unsigned(self) -> "Bytes":
        """The same numbers as unsigned ones."""
        if self.is_unsigned:
            return self
        return Bytes(True, self.zero + 128, self.flip ^ UPPER_BITS)


def as_multiplied(instruction: Instruction, a: Bytes, b: Bytes) -> tuple[Bytes, Bytes]:
    """Both operands in types that a device multiplies: b in a's where there are not all pairs."""
    if (a.is_unsigned, b.is_unsigned) in _FUNCTIONS[instruction.feature]:
        return a, b
    return a, b.unsigned() if a.is_unsigned else b.signed()


def of_bytes(instruction: Instruction, a: Bytes, b: Bytes) -> Instruction:
    """The instruction for the types of both operands."""
    function, staging = _FUNCTIONS[instruction.feature][a.is_unsigned, b.is_unsigned]
    return dataclasses.replace(instruction, function=function, staging=staging)
