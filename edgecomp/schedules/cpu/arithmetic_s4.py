"""Which arithmetic products of 8-bit activations with weights of 4 bits have."""

from edgecomp.device.target import Target
from edgecomp.plan.finish import Finish
from edgecomp.plan.values import Array
from edgecomp.schedules.cpu import arithmetic_s4_arm, arithmetic_s4_groups, arithmetic_s4_x86
from edgecomp.schedules.cpu.int4_code import holds, scaled
from edgecomp.schedules.cpu.int4_groups import holds_groups

INT4_BITS = 4

Int4Arithmetic = (
    arithmetic_s4_x86.Int4DotProduct
    | arithmetic_s4_x86.Int4Pairs
    | arithmetic_s4_arm.Int4LaneDot
    | arithmetic_s4_arm.Int4MatrixDot
    | arithmetic_s4_arm.Int4Pairs
    | arithmetic_s4_groups.Int4GroupDot
)


def arithmetic_s4(
    target: Target, weight: Array, bias: Array, finish: Finish
) -> Int4Arithmetic | None:
    """The arithmetic of a target; None where the product has to keep its weights in 8 bits.

    Args:
        target: the device.
        weight: int8 [columns, K].
        bias: int32 [columns].
        finish: of the sums.
    """
    if not holds(weight):
        groups = arithmetic_s4_groups.arithmetic_s4_groups(target)
        return groups if groups is not None and holds_groups(weight) else None
    if target.core.isa == "x86_64":
        found: Int4Arithmetic = arithmetic_s4_x86.arithmetic_s4_x86(target)
    else:
        found = arithmetic_s4_arm.arithmetic_s4_arm(target)
    return found if not found.shift or scaled(weight, bias, finish) is not None else None
