"""Operations that multiply matrices: convolutions, products with constants and of two values."""

import dataclasses

from edgecomp.plan.elementwise import Step
from edgecomp.plan.finish import Activation, Finish, IntegerAdd
from edgecomp.plan.row_bytes import FEW_ROWS, block_words
from edgecomp.plan.values import Array, View


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convolution:
    """2-D convolution, groups and depthwise included.

    inputs: x NHWC [N, C, H, W] whose halo covers ``pads``; weight constant [M, C/groups, KH, KW];
        bias constant [M]; then, if ``residual``, a value of the output's shape, NHWC.
    output: NHWC [N, M, OH, OW].

    float: ``y = activation(conv(x) * weight_scale + bias + residual)``; the weight may be of a
        narrower float type (float16, bfloat16, float8_e4m3fn, float8_e5m2), whose numbers count.
    integer: x uint8, int8 or int16, weight int8, bias int32 (already minus zero_x *
        sum(weight)), halo filled with zero_x; sums are known to fit in int32. Or all int32: signs,
        as ``PackSigns`` has them, with a Scale. ``finish`` is a Requantize (quantized output), a Scale or a
        RuntimeScale (float output, then ``activation``), or Accumulate (int32 output). With ``residual`` the requantized result is ``a`` and the
        residual ``b`` of ``integer_add``.
    """

    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, bottom, right
    groups: int = 1
    activation: Activation | None = None
    residual: bool = False
    finish: Finish | None = None
    integer_add: IntegerAdd | None = None
    weight_scale: Array | None = None  # float32 [M], positive; None for 1
    weight_bits: int = 8  # integer: 4 where memory is to hold the weights in 4 bits


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixMultiply:
    """Product with a constant matrix.

    inputs: a row-major [..., K]; weight constant [K, N]; bias constant [N]; then, if
        ``residual``, a row-major value of the output's shape.
    output: row-major [..., N].
    Everything else as Convolution: the leading dimensions are the rows.
    """

    activation: Activation | None = None
    residual: bool = False
    finish: Finish | None = None
    integer_add: IntegerAdd | None = None
    weight_scale: Array | None = None
    weight_bits: int = 8


@dataclasses.dataclass(frozen=True)
class ScaledMatrixMultiply:
    """float32 product with a matrix that is stored in 8 bits, a scale for each column.

    inputs: x row-major [..., K]; constants: weight int8 [K, N], scale and bias float32 [N].
    output: row-major [..., N], ``(x @ weight) * scale + bias``.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackedMatrixMultiply:
    """Product of float32 activations with a constant matrix of few bits per weight.

    inputs: a row-major [..., K]; then constants: numbers uint8 [K, N]; scales float32
        [blocks, N]; zeros uint8 [blocks, N]; bias float32 [N].
    outputs: y row-major [..., N]; scratch float32 [``scratch_words``], for the kernels' own use.

    ``y = activation(a @ ((numbers - zeros) * scales) + bias)``; row k of the matrix belongs to
    block ``k // block``. Of 1 bit are signs: ``(2 * numbers - 1) * scales``, and zeros are 0.

    Attributes:
        bits: 1, 2, 3, 4 or 8; numbers are below ``2**bits``.
        block: elements of K that share a scale.
    """

    bits: int
    block: int
    activation: Activation | None = None

    def scratch_words(self, depth: int) -> int:
        """Room for the bytes of few rows of K elements, or the sums of their blocks.

        It does not depend on the rows that there are: these may be dynamic.
        """
        blocks = -(-depth // self.block)
        return FEW_ROWS * blocks * block_words(min(self.block, depth))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchMatrixMultiply:
    """float32 product of two activations with numpy broadcasting of the batch dimensions.

    inputs: a [..., M, K] (or [..., K, M] with transpose_a), b [..., K, N] (or [..., N, K]).
    output: [..., M, N], times ``alpha``.

    Attributes:
        transpose_a, transpose_b, alpha: see above.
        a, b, output: these, where their elements lie otherwise than the values say that hold them;
            None for the values' own shapes and views.
    """

    transpose_a: bool = False
    transpose_b: bool = False
    alpha: float = 1.0
    a: View | None = None
    b: View | None = None
    output: View | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class IntegerBatchMultiply:
    """Product of two quantized values: ``float32(sum((a - zero_a) * (b - zero_b))) * alpha``.

    inputs: a [..., M, K] and b [..., K, N], 8 bits with ``quantization``, whose scales do not matter;
        then float32 values that ``steps`` read, each broadcast to [..., M, N].
    output: [..., M, N] float32, or 8 bits with ``quantization``: what Quantize makes of these.

    Attributes:
        alpha: float32.
        a, b, output: where their elements lie; batch dimensions are broadcast by numpy's rule.
        steps: as of ``Elementwise``: operand 0 is the product, then come the further inputs.
    """

    alpha: float
    a: View
    b: View
    output: View
    steps: tuple[Step, ...] = ()
