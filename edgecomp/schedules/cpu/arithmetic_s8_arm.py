"""Which arithmetic int8 by int8 products have on ARM."""

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.arithmetic_dot import LaneDot, LoopDot, MatrixDot
from edgecomp.schedules.cpu.arithmetic_widened import LoopQuads, WidenedPairs, WidenedQuads


def arithmetic_s8_arm(target: Target, weight: Array) -> Arithmetic:
    """The int8 arithmetic of an ARM target."""
    per_cycle = 1.0 if target.core.in_order else 2.0
    if target.has("i8mm"):
        return MatrixDot(multiplies_per_cycle=per_cycle)
    if target.has("dotprod"):
        depth = weight.size // max(1, len(weight))
        if target.core.in_order and depth > 2 * LaneDot.step:
            return LoopDot(multiplies_per_cycle=per_cycle, in_order=True)
        return LaneDot(
            multiplies_per_cycle=per_cycle,
            shallow=depth <= 2 * LaneDot.step,
            in_order=target.core.in_order,
        )
    least = weight.min(initial=0)
    if target.core.isa == "aarch64" and least > -128:
        kind = LoopQuads if target.core.in_order else WidenedQuads
        return kind(multiplies_per_cycle=per_cycle)
    return WidenedPairs(
        products=1 if least == -128 else 2,
        arm32=target.core.isa == "armv7",
        multiplies_per_cycle=per_cycle,
    )
