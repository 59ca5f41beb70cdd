"""Softmax, and attention as one operation."""

import dataclasses

from edgecomp.plan.elementwise import Step
from edgecomp.plan.values import Quantization, View


@dataclasses.dataclass(frozen=True)
class Softmax:
    """Softmax (or its logarithm) along one axis of a float32 value.

    output: float32; of no logarithm also 8 bits with ``quantization``, as QuantizeLinear makes them.
    """

    axis: int
    logarithm: bool = False


@dataclasses.dataclass(frozen=True)
class Exponentials:
    """``exp(x - max(x))`` of each row along the last dimension, and the sum of each.

    inputs: x float32. outputs: 8 bits with ``quantization``, what QuantizeLinear makes of the
        exponentials; their float32 sums [..., 1].
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attention:
    """``softmax(steps(alpha * q @ k^T)) @ v`` of float32, made for GPUs of what stands in a program.

    inputs: values that hold q, k and v; then what ``steps`` read beside the scores, each
        broadcast to their shape [..., M, L]. output: a value that holds the result.

    Attributes:
        q, k, v, y: [..., M, K], [..., L, K], [..., L, N] and [..., M, N]: where elements lie in
            the inputs and in the output.
        alpha: of the scores.
        steps: of an Elementwise chain whose operand 0 is the scores; none for nothing.
    """

    q: View
    k: View
    v: View
    y: View
    alpha: float
    steps: tuple[Step, ...] = ()


@dataclasses.dataclass(frozen=True)
class IntegerAttention:
    """Attention of 8-bit values, made for GPUs of what stands in a program.

        s = steps(alpha * float32(sum((q - zero_q) * (k - zero_k))))
        e = exp(s - max(s)), of each row
        y = beta * float32(sum((Quantize(e) - zero_e) * (v - zero_v))) / sum(e)

    inputs: values of 8 bits with ``quantization`` that hold q, k and v; then what ``steps`` read
        beside the scores, each broadcast to their shape [..., M, L]. output: a value that holds
        the result, float32, or 8 bits with ``quantization``: what Quantize makes of it.

    Attributes:
        q, k, v, y: as of ``Attention``.
        alpha: of the scores.
        beta: of the result.
        weights: of the exponentials, as uint8.
        steps: as of ``Attention``.
    """

    q: View
    k: View
    v: View
    y: View
    alpha: float
    beta: float
    weights: Quantization
    steps: tuple[Step, ...] = ()
