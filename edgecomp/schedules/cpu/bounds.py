"""float32 values kept within bounds, one instruction for each bound. NaN stays NaN.

``tirx.Max`` is a comparison and a selection, as C has it. x86 has one instruction for the two;
on ARM only ``llvm.maximum``, which says what happens to NaN, becomes one.
"""

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant, intrinsic
from edgecomp.schedules.cpu.vectors import lanes_of, typed


def at_least(x: Expr, low: float, isa: str) -> Expr:
    """``max(x, low)``.

    Args:
        x: float32.
        low: the bound.
        isa: instruction set of the target, "" where it is not known.
    """
    bound = constant(low, "float32", lanes_of(x))
    return _arm("llvm.maximum", bound, x) if _has_one(isa, x) else tirx.Max(bound, x)


def at_most(x: Expr, high: float, isa: str) -> Expr:
    """``min(x, high)``; see ``at_least``."""
    bound = constant(high, "float32", lanes_of(x))
    return _arm("llvm.minimum", bound, x) if _has_one(isa, x) else tirx.Min(bound, x)


def clamp(x: Expr, low: float, high: float, isa: str = "") -> Expr:
    """``x`` in [low, high]; see ``at_least``."""
    return at_most(at_least(x, low, isa), high, isa)


def _has_one(isa: str, x: Expr) -> bool:
    """Whether the target's instruction takes a value of this many lanes."""
    return isa == "aarch64" or (isa == "armv7" and lanes_of(x) % 4 == 0)


def _arm(name: str, bound: Expr, x: Expr) -> Expr:
    lanes = lanes_of(x)
    kind = "f32" if lanes == 1 else f"v{lanes}f32"
    return intrinsic(typed("float32", lanes), f"{name}.{kind}", bound, x)
