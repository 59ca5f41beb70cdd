"""Operations: what a kernel computes, apart from how.

``lower`` makes one operation from a group of ONNX nodes; a schedule makes kernels from it. The
``kind`` is a frozen dataclass of this module or of ``counting``; its docstring fixes the inputs,
their shapes and the meaning. Integer meanings are those of docs/numerics.md.

Shapes are ONNX order. Where an operation takes NHWC values its docstring says so; all other
values are reached through ``Value.view`` and may lie in any order.
"""

import dataclasses

from edgecomp.plan.counting import (
    GivenCount,
    NonMaxSuppression,
    NonZero,
    Progression,
    Sizes,
    SliceBetween,
    Unique,
)
from edgecomp.plan.finish import (
    Activation,
    Finish,
    IntegerAdd,
    Requantize,
)
from edgecomp.plan.row_bytes import FEW_ROWS, block_words
from edgecomp.plan.sizes import Symbol
from edgecomp.plan.values import Array, Quantization, Value, View


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
    steps: "tuple[Step, ...]" = ()


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of an elementwise chain.

    Attributes:
        operator: ONNX operator type (Add, Mul, Sigmoid, Where, Cast ...).
        operands: indices: 0..n-1 are the operation's inputs, n.. the results of earlier steps.
        attributes: ONNX attributes it needs, as sorted (name, value) pairs.
        dtype: of the result.
    """

    operator: str
    operands: tuple[int, ...]
    dtype: str
    attributes: tuple[tuple[str, float | int | str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Elementwise:
    """A chain of elementwise steps over broadcast inputs; the last step is the output.

    inputs: values or constants, broadcast to the output's shape by numpy's rule.
    """

    steps: tuple[Step, ...]


@dataclasses.dataclass(frozen=True)
class LookupTable:
    """Any function of one 8-bit value.

    inputs: x uint8 or int8.
    output: ``table[stored x - dtype minimum]``; the table has 256 entries of the output's dtype.
    """

    table: Array


@dataclasses.dataclass(frozen=True)
class QuantizedAdd:
    """Sum (or difference, by a negative weight) of two quantized values, broadcast.

    inputs: a, b uint8 or int8.
    """

    integer_add: IntegerAdd


@dataclasses.dataclass(frozen=True)
class QuantizedMultiply:
    """``acc = (a - zero_a) * (b - zero_b)``, then requantize; broadcast.

    inputs: a, b uint8 or int8.
    """

    zero_a: int
    zero_b: int
    requantize: Requantize


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
class Recurrence:
    """Steps of a recurrent net over what its inputs contribute, which a product computes before.

    inputs: x row-major [S, B, D * gates * padded_hidden] ([B, S, ...] with ``batch_first``): the
        input's part of every gate with all biases, but not the recurrent bias of the candidate
        of a GRU with ``linear_before_reset``; recurrence [D, hidden, gates, padded_hidden],
        float32, or a constant of int8 that ``recurrence_scale`` multiplies;
        then those named in ``extras``, in that order:
        recurrence_scale: constant [D, gates, padded_hidden];
        candidate_bias: [D, padded_hidden]; peepholes: [D, 3, padded_hidden], input, output,
        forget; lengths: int32 [B], steps of each sequence; initial_h and initial_c: float32
        [D, B, hidden] ([B, D, hidden] with ``batch_first``).
    outputs: those named in ``results``, in that order: y [S, D, B, hidden] ([B, S, D, hidden]
        with ``batch_first``), zero behind the end of a sequence; h and c, the last states.

    Gates are in ONNX's order: input, output, forget, candidate (lstm); update, reset, candidate
    (gru); one (rnn).

    Attributes:
        cell: lstm, gru or rnn.
        hidden: elements of a state.
        reverse: for each direction whether it runs from the end.
        activations: for each direction f, g, h (lstm), f, g (gru), f (rnn) of ONNX's equations.
        clip: bound of what goes into the gates' activations, or None.
        batch_first: whether the batch is the outermost dimension.
        linear_before_reset: gru: the reset gate multiplies after the product.
        input_forget: lstm: the forget gate is one minus the input gate.
        extras: names of further inputs.
        results: names of outputs.
    """

    cell: str
    hidden: int
    reverse: tuple[bool, ...]
    activations: tuple[tuple[Activation, ...], ...]
    clip: float | None = None
    batch_first: bool = False
    linear_before_reset: bool = False
    input_forget: bool = False
    extras: tuple[str, ...] = ()
    results: tuple[str, ...] = ("y",)

    @property
    def gates(self) -> int:
        """Gates of the cell."""
        return {"lstm": 4, "gru": 3, "rnn": 1}[self.cell]

    @property
    def padded_hidden(self) -> int:
        """Elements of a gate in memory: whole vectors."""
        return -(-self.hidden // 8) * 8


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
class StridedCopy:
    """Copy of a box: transposes, slices, concatenation, split, padding, layout changes.

    inputs: x; then, if ``into``, nothing more: several StridedCopy operations may write
        disjoint parts of one output value.
    For every index i of ``shape``: ``out[out_start + i * out_step] = x[in_start + i' * in_step]``
    where ``i'[d]`` is ``i[permutation[d]]``: dimension d of x runs with dimension
    permutation[d] of the box. A step of 0 repeats an element (Expand); negative steps reverse.

    Attributes:
        shape: of the box, in the output's dimensions.
        permutation: for each dimension of x, the box dimension it follows, or -1 (stays at
            in_start).
        in_start, in_step: per dimension of x.
        out_start, out_step: per dimension of the output.
        lookup: 256 entries of the output's dtype, applied to 8-bit elements (requantization
            during a concat), or None.
        in_shape, out_shape: shapes under which x and the output are indexed where those are
            not their own: each cuts dimensions into factors, outer ones first (a channel
            shuffle is a copy from [N, g, C/g, H, W]). None for the value's own shape.
    """

    shape: tuple[int, ...]
    permutation: tuple[int, ...]
    in_start: tuple[int, ...]
    in_step: tuple[int, ...]
    out_start: tuple[int, ...]
    out_step: tuple[int, ...]
    lookup: Array | None = None
    in_shape: tuple[int, ...] | None = None
    out_shape: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Fill:
    """Constant into the whole output (Pad's border before its copy). No inputs."""

    value: float | int


@dataclasses.dataclass(frozen=True)
class FillHalo:
    """Constant into the halo of the output, which its producer then completes. No inputs."""

    value: float | int


@dataclasses.dataclass(frozen=True)
class Reinterpret:
    """The same elements under another shape: Reshape, Flatten, Squeeze, Unsqueeze.

    inputs: x row-major. output: row-major, an alias of x. Makes no kernel call.
    """


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resize:
    """Resize of the two image dimensions of an NHWC value by numpy-computed source positions.

    inputs: x NHWC. output: NHWC.
    For each output row y: ``rows[y]`` are two source rows, ``row_weights[y]`` their weights
    (nearest: both the same row, weights 1 and 0); likewise columns.
    Nearest works on any dtype (exact copy), linear on float32.
    """

    nearest: bool
    rows: Array  # int32 [OH, 2]
    row_weights: Array  # float32 [OH, 2]
    columns: Array  # int32 [OW, 2]
    column_weights: Array  # float32 [OW, 2]


@dataclasses.dataclass(frozen=True)
class Gather:
    """Rows of a table: ``out[..., :] = x`` taken at indices along ``axis``.

    inputs: x row-major, any dtype; indices int32 or int64 row-major (negative counts from
        the end).
    """

    axis: int


@dataclasses.dataclass(frozen=True)
class StorePart:
    """One part of a value along ``axis``, at an index known at run time.

    inputs: x row-major, any dtype; index int64 of one element.
    output: row-major, x's shape with ``axis`` more; the other parts keep what they hold.
    """

    axis: int


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """One of two programs, by a condition.

    inputs: condition, bool of one element; then what the programs read.
    outputs: what the program that runs gives. All row-major.

    Attributes:
        bodies: the program for true and the one for false; inputs of each stand for the
            operation's behind the condition, one for one, outputs for the operation's. None
            where the model has nothing that could run: the run then fails.
    """

    bodies: "tuple[Program | None, Program | None]"


@dataclasses.dataclass(frozen=True, eq=False)
class Loop:
    """A program that runs round after round.

    inputs: the greatest number of rounds (int64 of one element) where ``has_limit``; the first
        condition (bool of one element) where ``has_start``; the first contents of what is
        carried; then what the program reads.
    outputs: the last contents of what is carried, then what ``StorePart`` operations of the
        program write. All row-major.

    Attributes:
        body: its inputs are the number of the round (int64) where ``has_counter``, what is
            carried, and what it reads; its outputs the next condition where ``has_next``, the
            next contents of what is carried, and what StorePart writes.
        carried: how many values are carried.
        most_rounds: more are refused when the model runs.
    """

    body: "Program"
    carried: int
    has_limit: bool
    has_start: bool
    has_next: bool
    has_counter: bool
    most_rounds: int


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


@dataclasses.dataclass(frozen=True)
class GatherParts:
    """Parts of a value at positions that are known when the model runs.

    inputs: x row-major [B, D1 .. Dr, T]; indices int64 or int32 row-major [B, ..., r]. B stands
        for the first ``batch_dims`` dimensions, T for what is behind those that r counts.
    output: row-major [B, ..., T]. An index outside takes the nearest element of its dimension.
    """

    batch_dims: int


@dataclasses.dataclass(frozen=True)
class Fallback:
    """One ONNX node without a schedule; Relax supplies the kernels.

    inputs: the node's inputs (constants included), row-major.

    Attributes:
        model: serialized ONNX ModelProto of the single node, inputs named i0, i1 ..., outputs
            o0, o1 ...; constant inputs are initializers.
        operator: ONNX operator type, for the coverage report.
    """

    model: bytes
    operator: str


Kind = (
    Convolution
    | MatrixMultiply
    | ScaledMatrixMultiply
    | PackedMatrixMultiply
    | BatchMatrixMultiply
    | IntegerBatchMultiply
    | Elementwise
    | LookupTable
    | QuantizedAdd
    | QuantizedMultiply
    | Pool
    | Reduce
    | Softmax
    | Exponentials
    | Attention
    | IntegerAttention
    | LayerNorm
    | Recurrence
    | Cumulative
    | StridedCopy
    | Fill
    | FillHalo
    | Reinterpret
    | Quantize
    | PackSigns
    | DynamicQuantize
    | Dequantize
    | Resize
    | Gather
    | StorePart
    | Branch
    | Loop
    | NonZero
    | NonMaxSuppression
    | Unique
    | GivenCount
    | Progression
    | SliceBetween
    | TopK
    | GatherParts
    | Sizes
    | Fallback
)


@dataclasses.dataclass(eq=False)
class Operation:
    """One step of the program.

    Attributes:
        kind: what it computes.
        inputs: values it reads, in the order the kind's docstring gives.
        outputs: values it writes. Two operations write the same value only as parts (Fill,
            FillHalo, StridedCopy, then the producer).
        nodes: names of the ONNX nodes it stands for.
        source: ``file.py:line`` of the first node that has one, or "".
    """

    kind: Kind
    inputs: list[Value]
    outputs: list[Value]
    nodes: tuple[str, ...] = ()
    source: str = ""

    @property
    def output(self) -> Value:
        """The only output."""
        (value,) = self.outputs
        return value


def counted_symbol(operation: Operation) -> str:
    """Name of the symbol whose value the last output of an operation is, "" for none."""
    return getattr(operation.kind, "symbol", "")


def bodies_of(operation: Operation) -> "list[Program]":
    """The programs inside a Branch or a Loop."""
    kind = operation.kind
    if isinstance(kind, Branch):
        return [body for body in kind.bodies if body is not None]
    return [kind.body] if isinstance(kind, Loop) else []


@dataclasses.dataclass
class Program:
    """Operations in execution order.

    Attributes:
        name: C identifier of the model.
        inputs: values the user fills; row-major.
        outputs: values the user reads; row-major.
        output_names: what the user calls them.
        symbols: that the shapes of the inputs or operations give, of dynamic dimensions.
    """

    name: str
    operations: list[Operation]
    inputs: list[Value]
    outputs: list[Value]
    output_names: list[str] = dataclasses.field(default_factory=list)
    symbols: tuple[Symbol, ...] = ()
