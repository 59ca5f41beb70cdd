"""Which integer depthwise convolutions have a loop of their own on aarch64, and its tile."""

import dataclasses

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.finish import Requantize
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.sizes import has_dynamic
from edgecomp.plan.values import Array
from edgecomp.schedules.cpu import depthwise
from edgecomp.schedules.cpu.depthwise_dot import RowPlan, plan_rows, products_of
from edgecomp.schedules.cpu.depthwise_sums import Sums, sums_of
from edgecomp.schedules.cpu.lane_dot import LaneDot
from edgecomp.schedules.cpu.lane_dot_plan import (
    LANES,
    MOST_OFFSET,
    Narrowing,
    in_reach,
    registers_for,
)
from edgecomp.schedules.cpu.narrow import folded_zero
from edgecomp.schedules.cpu.rounding import ROUNDING_MAGIC_BITS

#: Columns of a tile at most: more save few loads and cost code.
_MOST_COLUMNS = 16
#: Instructions of a tile that move pointers and repeat the loop.
_TILE_INSTRUCTIONS = 12
#: Bits of 2^23, the least float32 whose last bit is worth 1.
_UNIT_BITS = 0x4B000000
#: Scaled sums that fit 16 bits with any zero point.
_MOST_SCALED = 32000.0
#: Multipliers whose product with 2^23 is far from overflow.
_MOST_MULTIPLIER = 2.0**64


@dataclasses.dataclass(frozen=True)
class DotLoop:
    """The loop of a convolution.

    Attributes:
        operation: the convolution.
        plan: rows of a tile.
        narrowing: of its results.
        columns: of a tile at most.
        in_order: whether the core issues instructions in order.
    """

    operation: Operation
    plan: RowPlan
    narrowing: Narrowing
    columns: int
    in_order: bool

    def tile(self, columns: int, blocks: int) -> LaneDot:
        """The code of one tile."""
        x, out = self.operation.inputs[0].view.strides, self.operation.output.view.strides
        return LaneDot(
            window=depthwise.window_of(self.operation),
            plan=self.plan,
            columns=columns,
            blocks=blocks,
            x_row=x[2],
            x_column=x[3],
            out_row=out[2],
            out_column=out[3],
            narrowing=self.narrowing,
            in_order=self.in_order,
        )

    def factors(self, multiplier: Array) -> Array:
        """float32 [channels, 2]: what a scaled sum starts at, and its multiplier."""
        start = -multiplier * np.float32(2.0**23) if self.narrowing.fused else 0 * multiplier
        return np.stack([start, multiplier], axis=1)

    def cost(self, columns: int) -> float:
        """Instructions per output, but those that any tile has."""
        plan = self.plan
        taps = depthwise.window_of(self.operation).size[1]
        pixels = len(depthwise.window_of(self.operation).users(columns))
        shared = pixels * sum(len(group) + 4 for group in plan.groups)
        shared += 2 * len(plan.uses) * taps + _TILE_INSTRUCTIONS
        return (shared / columns + 2 * len(plan.uses) * taps) / plan.height


def loop_for(operation: Operation, target: Target, height: int) -> DotLoop | None:
    """The loop of a claimed operation for tiles of some rows; None where it has none."""
    kind, (x, *_), output = operation.kind, operation.inputs, operation.output
    assert isinstance(kind, Convolution)
    if target.core.isa != "aarch64" or not target.has("dotprod"):
        return None
    if not isinstance(kind.finish, Requantize) or kind.integer_add is not None:
        return None
    if {x.dtype, output.dtype} != {"int8"} or has_dynamic((*x.shape, *output.shape)):
        return None
    steps = [stride for value in (x, output) for stride in value.view.strides[2:]]
    if x.shape[1] % LANES or any(step % LANES for step in steps):
        return None
    products, window = products_of(target), depthwise.window_of(operation)
    narrowing = _narrowing(kind.finish, sums_of(operation, target, products.x_dtype))
    plan = plan_rows(window, height, products.group)
    if narrowing is None or not registers_for(window, plan, len(narrowing.constants())):
        return None
    if target.core.in_order and not in_reach(window, plan):
        return None
    columns = min(_MOST_COLUMNS, output.shape[3])
    while columns and window.span(columns) * max(steps[1], steps[3]) > MOST_OFFSET:
        columns -= 1
    if not columns:
        return None
    return DotLoop(operation, plan, narrowing, columns, target.core.in_order)


def _narrowing(finish: Requantize, sums: Sums) -> Narrowing | None:
    """How results are narrowed; None where sums go too far for it."""
    if not sums.reach.offset or sums.reach.magnitude >= _MOST_SCALED:
        return None
    folded = folded_zero(finish.zero_point)
    magic = ROUNDING_MAGIC_BITS + folded
    fused = finish.low >= finish.zero_point and float(sums.multiplier.max()) < _MOST_MULTIPLIER
    return Narrowing(
        start=_UNIT_BITS if fused else magic,
        magic=magic,
        zero=finish.zero_point - folded,
        low=finish.low if finish.low > -128 else None,
        high=finish.high if finish.high < 127 else None,
    )
