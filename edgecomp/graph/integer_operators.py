"""Integer operators: what a group of float, Quantize and Dequantize nodes means.

``graph.qdq`` finds them; the reference interprets them and the lowering makes operations of them.
Arrays carry everything a kernel needs except its own packing.
"""

import dataclasses

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.integer import AddWeights, Affine, AnyArray, Float32Array, Requantization
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.windows import Window

WeightArray = npt.NDArray[np.int8] | npt.NDArray[np.int16]
BiasArray = npt.NDArray[np.int32] | npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A stored tensor with its meaning.

    Attributes:
        value: holds the stored numbers of 8 or 16 bits.
        affine: what they mean.
        constant: the stored numbers where they are constant, else None.
    """

    value: ir.Value
    affine: Affine
    constant: AnyArray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Static shape."""
        shape = static_shape(self.value)
        assert shape is not None
        return shape


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class IntegerOperator:
    """What all kinds have in common.

    Attributes:
        node: the float operator; the QuantizeLinear itself where one scale becomes another.
        nodes: every node that the group replaces except DequantizeLinear nodes, in order:
            the float operator, a bias Add, an activation, QuantizeLinear nodes.
        inputs: quantized activations (and constants) it reads, in the float operator's order.
        output: the stored result; None where the result stays float (products only).
        result: the value the group defines: the stored one, or the float one.
    """

    node: ir.Node
    nodes: tuple[ir.Node, ...]
    inputs: tuple[QuantizedTensor, ...]
    output: QuantizedTensor | None
    result: ir.Value

    @property
    def quantized_output(self) -> QuantizedTensor:
        """The output of a group that has a stored one."""
        assert self.output is not None
        return self.output

    @property
    def results(self) -> tuple[ir.Value, ...]:
        """All values the group defines."""
        return (self.result,)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class IntegerProduct(IntegerOperator):
    """Conv, Gemm or MatMul with constant weights: ``acc = sum((x - z_x) * w) + b``.

    Attributes:
        weight: int8, or int16: [M, C/groups, taps...] of a Conv, else [K, N].
        bias: int32 [M] or [N], int64 where ``is_wide``; zeros where the model has none. Does not
            contain the term ``-z_x * sum(w)``, which fits in int32 with it.
        groups: of a Conv, else 1.
        window: of a Conv, else None.
        requantization: to the stored result, None where the result stays float.
        multiplier: float32 [1] or [channels]: ``s_x * s_w / s_y`` with a requantization, else
            ``s_x * s_w``.
        weight_bits: 4 where the model stores the weights so, else 8.
        is_wide: whether activations or weights are stored in 16 bits, and the accumulator may
            be beyond int32.
    """

    weight: WeightArray
    bias: BiasArray
    groups: int
    window: Window | None
    requantization: Requantization | None
    multiplier: Float32Array
    weight_bits: int = 8
    is_wide: bool = False


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ValueProduct(IntegerOperator):
    """MatMul of two quantized values: ``float32(sum((a - z_a) * (b - z_b))) * multiplier``.

    The sum is exact in float32, and so is the result on targets that add in floats.

    Attributes:
        multiplier: float32 [1]: ``s_a * s_b``.
    """

    multiplier: Float32Array


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class IntegerSum(IntegerOperator):
    """Add or Sub of two quantized values, broadcast."""

    weights: AddWeights
    requantization: Requantization


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class IntegerMultiply(IntegerOperator):
    """Mul of two quantized values, broadcast: ``acc = (a - z_a) * (b - z_b)``."""

    requantization: Requantization


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class IntegerAverage(IntegerOperator):
    """Averages over dimensions or windows with one divisor: ``acc = sum(x - z_x)``.

    Attributes:
        axes: dimensions that are averaged (GlobalAveragePool, ReduceMean), else ().
        keep_dimensions: whether averaged axes stay with extent 1.
        window: of an AveragePool, else None.
        count: divisor.
    """

    axes: tuple[int, ...]
    keep_dimensions: bool
    window: Window | None
    count: int
    requantization: Requantization


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class StoredMaximum(IntegerOperator):
    """MaxPool, or GlobalMaxPool, of stored values: same scale and zero point on both sides."""

    window: Window


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class StoredMove(IntegerOperator):
    """Stored values move (Reshape, Transpose, Slice, Pad ...), then pass through tables.

    Attributes:
        outputs: stored results, one per output of the node; None for an unused one.
        tables: per output 256 entries, None where stored values stay as they are.
        fill: stored number of what a Pad adds, before the table.
    """

    outputs: tuple[QuantizedTensor | None, ...]
    tables: tuple[AnyArray | None, ...]
    fill: int

    @property
    def results(self) -> tuple[ir.Value, ...]:
        """All values the group defines."""
        return tuple(output.value for output in self.outputs if output is not None)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class StoredConcat(IntegerOperator):
    """Concat of stored values.

    Attributes:
        axis: not negative.
        tables: per input 256 entries, None where its stored values stay as they are.
    """

    axis: int
    tables: tuple[AnyArray | None, ...]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class StoredTable(IntegerOperator):
    """A function of one value, or a change of scale.

    Attributes:
        table: 256 entries in the result's dtype, for stored values from the least on.
    """

    table: AnyArray
