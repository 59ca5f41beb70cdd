"""What int8 by int8 products on ARM have in common: formats, their end, loads of x."""

import dataclasses

from edgecomp.schedules.builder import Buffer, KernelBuilder, load, ramp, reinterpret
from edgecomp.schedules.cpu.arithmetic import Arithmetic, Operands

#: Instructions that start one vector of sums and requantize it.
_FINISH = 5.25
#: Further instructions by the vectors left of a row's last four: stores, and a neighbour for an
#: odd one.
_FINISH_REST = (0, 3, 1, 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signed(Arithmetic):
    """What they have in common."""

    x_dtype: str = "int8"
    weight_dtype: str = "int8"
    sum_dtype: str = "int32"
    lanes: int = 4

    def finish_row_cycles(self, vectors: int) -> float:
        """Sixteen columns become one vector of bytes; fewer leave in a smaller one."""
        whole, rest = divmod(vectors, 4)
        instructions = _FINISH * vectors + whole + _FINISH_REST[rest]
        return instructions / self.multiplies_per_cycle


def load_row_words(
    builder: KernelBuilder,
    operands: Operands,
    dtype: str,
    groups: int,
    group_bytes: int,
) -> list[Buffer]:
    """The next ``groups`` groups of every row as words of ``dtype``, in registers."""
    found = []
    for index in operands.x_rows:
        words = builder.array("x_row", dtype, groups)
        at = 0
        while at < groups:
            piece = 1 << (groups - at).bit_length() - 1
            bytes_ = load(operands.x, index + at * group_bytes, piece * group_bytes)
            word = dtype if piece == 1 else f"{dtype}x{piece}"
            builder.store(words, ramp(at, piece), reinterpret(word, bytes_))
            at += piece
        found.append(words)
    return found
