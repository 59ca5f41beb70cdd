"""What the sums of an integer depthwise convolution are made of, and how far they go."""

import dataclasses

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.finish import Requantize, Scale
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.values import Array
from edgecomp.schedules.cpu import depthwise
from edgecomp.schedules.cpu.reach import Reach, greatest_x, reach_of


@dataclasses.dataclass(frozen=True)
class Sums:
    """Numbers per channel.

    Attributes:
        taps: int8 [channels, taps].
        bias: int64 [channels], for x as the products take it.
        multiplier: float32 [channels].
        reach: of the sums.
    """

    taps: Array
    bias: Array
    multiplier: Array
    reach: Reach


def sums_of(operation: Operation, target: Target, x_dtype: str) -> Sums:
    """The sums of a claimed operation whose products take x as ``x_dtype``."""
    kind, x = operation.kind, operation.inputs[0]
    assert isinstance(kind, Convolution)
    assert isinstance(kind.finish, Requantize | Scale)
    taps, bias = depthwise.constants_of(operation)
    wide = taps.astype(np.int64)
    start = bias.astype(np.int64).reshape(-1)
    if x.dtype != x_dtype:
        # The kernel reads x + 128 as uint8, or x - 128 as int8.
        start = start + wide.sum(axis=1) * (-128 if x_dtype == "uint8" else 128)
    multiplier = np.broadcast_to(kind.finish.multiplier.reshape(-1), start.shape)
    farthest = greatest_x(x_dtype) * np.abs(wide).sum(axis=1) + np.abs(start)
    reach = reach_of(target, farthest, multiplier)
    return Sums(taps, start, multiplier.astype(np.float32), reach)
