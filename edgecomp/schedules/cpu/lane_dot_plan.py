"""Registers of the loops of lane_dot.py, how far they reach, and how sums become bytes.

weights      two per group of rows and column of the window
columns      a ring of interleaved columns of x, two each
rows         of x on their way there
multipliers  two
sums         two per row of the tile
results      as many as there is room for
"""

import dataclasses

from edgecomp.schedules.cpu.depthwise_dot import RowPlan
from edgecomp.schedules.cpu.lane_plan import VECTOR_REGISTERS
from edgecomp.schedules.cpu.windows import Window

#: Channels of a block, and bytes.
LANES = 8
#: Vectors of int32 that eight channels are.
HALVES = 2
#: Greatest offset of a load or store of eight bytes.
MOST_OFFSET = 4095 * LANES
#: Registers for rows of x: a pair, and one that was interleaved before.
X_REGISTERS = 3
#: Columns of x that offsets in registers reach: there are 31 registers, and pointers need some.
REACH = 10
#: Rows of x of a tile at most where each has a pointer of its own.
_MOST_POINTERS = 6


@dataclasses.dataclass(frozen=True)
class Narrowing:
    """How sums become bytes.

    Attributes:
        start: bits of the float32 that sums start at.
        magic: bits of the one that rounds, in it an even zero point.
        zero: what is added before the narrowing, an odd zero point; 0 for nothing.
        low, high: bounds that are narrower than the dtype's; None for none.
    """

    start: int
    magic: int
    zero: int
    low: int | None
    high: int | None

    @property
    def fused(self) -> bool:
        """Whether sums are scaled by a multiply-add."""
        return self.start != self.magic

    def constants(self) -> dict[str, int]:
        """Name -> what each lane of 32 bits holds."""
        found = {"magic": self.magic}
        if self.zero:
            found["zero"] = (self.zero & 0xFFFF) * 0x10001
        for name, bound in (("smax", self.low), ("smin", self.high)):
            if bound is not None:
                found[name] = (bound & 0xFF) * 0x1010101
        return found


@dataclasses.dataclass(frozen=True)
class Registers:
    """First register of each kind but weights, and how many columns and results there are."""

    columns: int
    x: int
    multipliers: int
    sums: int
    results: int
    held_columns: int
    held_results: int


def registers_for(window: Window, plan: RowPlan, constants: int) -> Registers | None:
    """Give out the registers; None where they do not suffice."""
    weights = len(plan.uses) * window.size[1] * HALVES
    column, group = len(plan.groups) * HALVES, X_REGISTERS
    sums, ring = plan.height * HALVES, window.span(1)
    used = constants + weights + ring * column + group + HALVES + sums + HALVES
    left = VECTOR_REGISTERS - used
    if left < 0:
        return None
    results = HALVES + min(left, sums)
    ring += (left - results + HALVES) // column
    x = weights + ring * column
    return Registers(
        columns=weights,
        x=x,
        multipliers=x + group,
        sums=x + group + HALVES,
        results=x + group + HALVES + sums,
        held_columns=ring,
        held_results=results,
    )


def in_reach(window: Window, plan: RowPlan) -> bool:
    """Whether the loop for a core in order reaches all of x: column after column, in steps."""
    near = window.size[1] <= REACH and window.strides[1] <= REACH
    return near and window.dilations[1] == 1 and sum(map(len, plan.groups)) <= _MOST_POINTERS
