"""Operations that make one number, or a row of them, of many."""

import dataclasses

from edgecomp.plan.finish import Requantize


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pool:
    """Maximum or average over windows.

    inputs: x NHWC [N, C, H, W] (float32, uint8 or int8) whose halo covers ``pads`` and holds
        the neutral value: -inf (float maximum), dtype minimum (integer maximum), 0 or zero_x.
    output: NHWC.

    Integer average: ``acc = sum(q - zero_x)``, then ``requantize``; refused by ``lower`` where
    the divisor is not the same everywhere. Float average with ``count_include_pad`` false
    divides by the number of elements inside the image.
    """

    maximum: bool
    window: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    count_include_pad: bool = False
    zero_x: int = 0
    requantize: Requantize | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reduce:
    """Reduction over axes; a global pool is a Reduce over (2, 3) with keepdims.

    inputs: x; then, where it is ``centred``, what is taken off the elements of each result first,
        float32 of the output's shape. output: shape with the axes 1 (keepdims) or gone.
    float: operator is ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceProd, ReduceL1,
        ReduceL2, ReduceSumSquare, ReduceLogSum, ReduceLogSumExp, or ReduceMeanSquare, the mean
        of squares.
    integer (``requantize`` given): ``acc = sum(q - zero_x)``.
    """

    operator: str
    axes: tuple[int, ...]
    keepdims: bool = True
    zero_x: int = 0
    requantize: Requantize | None = None
    centred: bool = False


@dataclasses.dataclass(frozen=True)
class LayerNorm:
    """Layer normalisation over the dimensions from ``axis`` on.

    inputs: x float32 row-major; scale constant; bias constant (zeros where the model has none);
        factors, constant and float32, that results are multiplied by before they become 8 bits
        (none: 1).
    outputs: float32 row-major; or the same as QuantizeLinear makes 8 bits of it, with the value's
        scale and zero point; or both.
    """

    axis: int
    epsilon: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cumulative:
    """Sums or products of all elements up to each one along an axis.

    inputs: x row-major, integers or floats of 32 or 64 bits. output: the same shape and dtype.

    Attributes:
        axis: along it.
        product: products instead of sums.
        exclusive: without the element itself.
        reverse: from the end.
    """

    axis: int
    product: bool = False
    exclusive: bool = False
    reverse: bool = False


@dataclasses.dataclass(frozen=True)
class TopK:
    """The first elements along an axis in the order of size; equal ones as they come.

    inputs: x row-major.
    outputs, row-major: the elements; int64, their indices along the axis. How many is the
        outputs' extent.

    Attributes:
        axis: not negative.
        is_largest: whether the largest come first, else the smallest.
    """

    axis: int
    is_largest: bool
