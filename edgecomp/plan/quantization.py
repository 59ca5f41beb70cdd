"""Operations between floats and the integers or signs that stand for them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Quantize:
    """``saturate(rint(x / scale) + zero_point)``; scale and zero point are the output's.

    inputs: x float32. output: uint8 or int8 with ``quantization``; orders may differ.
    """


@dataclasses.dataclass(frozen=True)
class DynamicQuantize:
    """Quantization by the range that the values have: ONNX's DynamicQuantizeLinear.

    inputs: x float32 row-major.
    outputs: y of x's shape, 8 bits (where they are int8, the model's uint8 less 128); scale
        float32 []; zero uint8 [], as the model has it; extremes float32 [2, chunks], for the
        kernels' own use.
    """


#: Signs of a word.
SIGN_BITS = 32


@dataclasses.dataclass(frozen=True)
class PackSigns:
    """Signs of float32 numbers as bits, for products with signs.

    inputs: x: NHWC [N, C, H, W], or row-major [..., K].
    output: int32 in the order of x: [N, 2 * words, H, W] or [..., 2 * words], ``words`` of 32
        channels each; first the negative ones, then those that count.

    A product of such a value with int32 weights of the same form (the second word 0) is the
    number of counting signs less twice that of differing ones; its bias is 0. Padding is 0 and
    does not count.

    Attributes:
        test: Sign, by which zero and NaN do not count, or GreaterOrEqual, Greater, LessOrEqual, Less.
        first: the sign where the comparison with 0 holds, 1 or -1; 1 of Sign. NaN has the other one.
    """

    test: str
    first: int = 1


@dataclasses.dataclass(frozen=True)
class Dequantize:
    """``(x - zero_point) * scale``; scale and zero point are the input's. Output float32."""
