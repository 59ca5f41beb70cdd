"""Loops over K of 8-bit products whose panels are packed while they run, and sums of rows.

A b that is not symmetric is one that is, and a number: ``b - z = (b - middle) + (middle - z)``. That
number comes as often as a row of a says in all, and these are products of a with ones.
"""

import dataclasses
from collections.abc import Callable

from edgecomp.plan.sizes import Dimension, is_dynamic
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, ramp, splat
from edgecomp.schedules.cpu.arithmetic import Arithmetic, Operands, RegisterTile, Start
from edgecomp.schedules.cpu.byte_panel import GROUP

_ONES = 0x01010101


def in_groups(depth: Expr) -> Expr:
    """Groups of four elements that hold so many."""
    if isinstance(depth, int):
        return -(-depth // GROUP)
    return tirx.truncdiv(depth + (GROUP - 1), GROUP)


def each_step(
    builder: KernelBuilder,
    arithmetic: Arithmetic,
    groups: Expr,
    step: Callable[[Expr, int], None],
) -> None:
    """Emit loops over groups of four elements, as many at a time as a step of the arithmetic has.

    Args:
        builder: receives them.
        arithmetic: whose own groups may be smaller.
        groups: of four.
        step: gets the first element of K, and how many of the arithmetic's groups.
    """
    per_group = GROUP // arithmetic.group
    size = arithmetic.step // GROUP
    if isinstance(groups, int):
        whole, rest = divmod(groups, size)
        if whole:
            with builder.loop("k", 0, whole) as number:
                step(number.astype("int64") * arithmetic.step, size * per_group)
        if rest:
            step(whole * arithmetic.step, rest * per_group)
        return
    whole = builder.let("whole", tirx.truncdiv(groups, size)) if size > 1 else groups
    with builder.loop("k", 0, whole) as number:
        step(number.astype("int64") * arithmetic.step, size * per_group)
    if size > 1:
        with builder.loop("k", whole * size, groups) as number:
            step(number.astype("int64") * GROUP, per_group)


@dataclasses.dataclass(frozen=True)
class RowSums:
    """Sums of rows over all of K, in every lane of a vector.

    Attributes:
        builder: receives the statements.
        arithmetic: of products with ones.
        depth: elements of K.
        ones: a step of them, for one vector of columns.
        rest: of the group that K ends in, where it ends in one.
    """

    builder: KernelBuilder
    arithmetic: Arithmetic
    depth: Dimension
    ones: Buffer
    rest: Buffer | None

    @classmethod
    def of(cls, builder: KernelBuilder, arithmetic: Arithmetic, depth: Dimension) -> "RowSums":
        """With the ones made ready."""
        made = cls._stored(builder, arithmetic, tirx.const(_ONES, "int32"))
        rest = None
        if is_dynamic(depth) or depth % GROUP:
            bits = (builder.size(depth) & (GROUP - 1)) * 8
            mask = builder.let("mask", (tirx.const(1, "int32") << bits) - 1)
            rest = cls._stored(builder, arithmetic, mask & _ONES)
        return cls(builder, arithmetic, depth, made, rest)

    @staticmethod
    def _stored(builder: KernelBuilder, arithmetic: Arithmetic, quad: Expr) -> Buffer:
        """A step of the same four elements."""
        size = arithmetic.lanes * arithmetic.group
        steps = arithmetic.step // arithmetic.group
        buffer = builder.array("ones", arithmetic.weight_dtype, steps * size)
        parts = arithmetic.quad_parts(splat(quad, arithmetic.lanes))
        for group in range(steps):
            builder.store(buffer, ramp(group * size, size), parts[group % len(parts)])
        return buffer

    def add(self, x: Buffer, rows: list[Expr]) -> RegisterTile:
        """Of rows that begin at these elements of ``x``."""
        builder, arithmetic = self.builder, self.arithmetic
        tile = arithmetic.begin(builder, len(rows), 1, Start())

        def step(ones: Buffer, k: Expr, groups: int) -> None:
            x_rows = [row + k for row in rows]
            operands = Operands(x=x, x_rows=x_rows, weights=ones, weight_index=0)
            arithmetic.accumulate(builder, tile, operands, groups)

        whole = _whole_groups(builder.size(self.depth))
        each_step(builder, arithmetic, whole, lambda k, groups: step(self.ones, k, groups))
        if self.rest is not None:
            step(self.rest, whole * GROUP, GROUP // arithmetic.group)
        return tile


def _whole_groups(depth: Expr) -> Expr:
    return depth // GROUP if isinstance(depth, int) else tirx.truncdiv(depth, GROUP)
