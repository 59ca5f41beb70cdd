"""Which arithmetic products of 8-bit activations with weights of 4 bits have."""

from edgecomp.device.target import Target
from edgecomp.plan.finish import Finish
from edgecomp.plan.values import Array
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.arithmetic_s4_arm import arithmetic_s4_arm
from edgecomp.schedules.cpu.arithmetic_s4_groups_arm import arithmetic_s4_groups_arm
from edgecomp.schedules.cpu.arithmetic_s4_groups_x86 import arithmetic_s4_groups_x86
from edgecomp.schedules.cpu.arithmetic_s4_x86 import arithmetic_s4_x86
from edgecomp.schedules.cpu.int4_code import holds, scaled
from edgecomp.schedules.cpu.int4_groups import holds_groups

INT4_BITS = 4


def arithmetic_s4(
    target: Target, weight: Array, bias: Array, finish: Finish
) -> Arithmetic | None:
    """The arithmetic of a target; None where the product has to keep its weights in 8 bits.

    Args:
        target: the device.
        weight: int8 [columns, K].
        bias: int32 [columns].
        finish: of the sums.
    """
    is_x86 = target.core.isa == "x86_64"
    found: Arithmetic
    if holds(weight):
        found = arithmetic_s4_x86(target) if is_x86 else arithmetic_s4_arm(target)
    elif holds_groups(weight):
        found = (
            arithmetic_s4_groups_x86(target) if is_x86 else arithmetic_s4_groups_arm(target)
        )
    else:
        return None
    return found if not found.shift or scaled(weight, bias, finish) is not None else None
