"""What becomes of a sum: rounded to 8 bits, scaled to float, or kept; and how 8-bit sums are formed."""

import dataclasses

from edgecomp.plan.values import Array


@dataclasses.dataclass(frozen=True)
class Activation:
    """An elementwise function at the end of a float operation.

    Attributes:
        name: ONNX operator in lower case: relu, clip, leakyrelu, hardswish, hardsigmoid,
            sigmoid, silu, tanh, gelu, erf, elu, softplus, mish ...
        alpha: first parameter (clip: minimum; leakyrelu, elu, hardsigmoid: alpha).
        beta: second parameter (clip: maximum; hardsigmoid: beta).
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0


@dataclasses.dataclass(frozen=True)
class Requantize:
    """int32 accumulator to a quantized value: see "Requantize" in docs/numerics.md.

    Attributes:
        multiplier: float32 [1] or [channels].
        zero_point: of the result, in the result's dtype.
        low: least result (dtype minimum, or the activation's lower bound).
        high: greatest result.
    """

    multiplier: Array
    zero_point: int
    low: int
    high: int


@dataclasses.dataclass(frozen=True)
class IntegerAdd:
    """Weighted sum of two quantized values: see "Add" in docs/numerics.md.

    ``acc = (a - zero_a) * weight_a + (b - zero_b) * weight_b``, then ``requantize``, whose
    multiplier is a power of two.
    """

    weight_a: int
    weight_b: int
    zero_a: int
    zero_b: int
    requantize: Requantize


@dataclasses.dataclass(frozen=True)
class Scale:
    """int32 accumulator to float32: ``float32(acc) * multiplier``.

    Attributes:
        multiplier: float32 [1] or [channels].
    """

    multiplier: Array


@dataclasses.dataclass(frozen=True)
class Accumulate:
    """The int32 accumulator as it is; output int32."""


@dataclasses.dataclass(frozen=True)
class RuntimeScale:
    """int32 accumulator of activations that are quantized while the model runs, to float32.

    ``float32(acc - (zero + zero_shift) * sums) * (scale * multiplier) + offset`` with two more
    inputs behind the constant bias: zero, 8 bits [], and scale float32 [].

    Attributes:
        multiplier: float32 [1] or [channels], the weights' scales.
        sums: int32 [channels], of each channel's weights.
        zero_shift: what the target's storage adds to a zero point.
        offset: float32 [channels].
        zero_dtype: of the zero point.
    """

    multiplier: Array
    sums: Array
    zero_shift: int
    offset: Array
    zero_dtype: str = "uint8"


Finish = Requantize | Scale | Accumulate | RuntimeScale
