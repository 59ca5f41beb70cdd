"""Recognize Conv, Gemm and MatMul with constant weights as integer products."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array, is_constant, is_one_row
from edgecomp.graph.edit import only_reader
from edgecomp.graph.integer import (
    Float32Array,
    Requantization,
    float_multiplier,
    requantize_multiplier,
)
from edgecomp.graph.integer_operators import (
    BiasArray,
    IntegerProduct,
    QuantizedTensor,
    ValueProduct,
    WeightArray,
)
from edgecomp.graph.qdq_tensors import (
    Refusal,
    activation_of,
    dequantize_of,
    dequantized_constant,
    ending_of,
    stores_wide,
    weight_bits_of,
    weight_of,
)
from edgecomp.graph.qdq_value_products import value_product
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.weight_parts import FLOAT32_LIMIT, weight_parts
from edgecomp.graph.windows import Window, window_of

_INT32_MAXIMUM = 2**31 - 1
_MATRIX_RANK = 2
_LARGEST_WIDE_BIAS = 2**52
# A bias scale this close to s_x * s_w was computed as their product in another order.
_SCALE_TOLERANCE = 1e-5


def _convolution(node: ir.Node) -> IntegerProduct:
    x = _variable(node)
    weight, scale = weight_of(node.inputs[1], 0)
    shape = static_shape(node.inputs[0])
    assert shape is not None
    window = window_of(node, shape, weight.shape[2:])
    bias = _bias(node, _input(node, 2), x, scale, len(weight))
    groups = node.attributes.get_int("group", 1)
    return _product(node, (node,), x, weight, scale, bias, groups=groups, window=window)


def _gemm(node: ir.Node) -> IntegerProduct:
    x = _variable(node)
    transposed = bool(node.attributes.get_int("transB", 0))
    weight, scale = weight_of(node.inputs[1], 0 if transposed else 1)
    if transposed:
        weight = weight.T.copy()
    bias = _bias(node, _input(node, 2), x, scale, weight.shape[1])
    return _product(node, (node,), x, weight, scale, bias)


def _matrix_multiply(node: ir.Node) -> IntegerProduct | ValueProduct:
    if not has_constant_weights(node):
        return value_product(node)
    x = _variable(node)
    weight, scale = weight_of(node.inputs[1], 1)
    add, bias_value = following_bias(node, weight.shape[1])
    bias = _bias(node, bias_value, x, scale, weight.shape[1])
    nodes = (node,) if add is None else (node, add)
    return _product(node, nodes, x, weight, scale, bias)


def following_bias(
    node: ir.Node, channels: int
) -> tuple[ir.Node, ir.Value] | tuple[None, None]:
    """The Add of a constant [channels] that alone reads a MatMul's result, and the constant.

    The constant is float, or int32 behind a DequantizeLinear; leading dimensions of 1 count.
    """
    product = node.outputs[0]
    add = only_reader(product)
    if add is None or add.op_type != "Add" or add.domain != "" or add.graph is not node.graph:
        return None, None
    other = add.inputs[1] if add.inputs[0] is product else add.inputs[0]
    assert other is not None
    stored = dequantized_constant(other)
    array = constant_array(other) if stored is None else stored[0]
    if array is None or array.shape[-1:] != (channels,) or array.size != channels:
        return None, None
    rank = len(static_shape(node.inputs[0]) or ())
    return (add, other) if array.ndim <= rank else (None, None)


def _variable(node: ir.Node) -> QuantizedTensor:
    x = activation_of(node.inputs[0])
    if x.constant is not None:
        raise Refusal("its activation is constant")
    return x


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if len(node.inputs) > index else None


def _is_wide(node: ir.Node, x: QuantizedTensor) -> bool:
    return x.affine.is_wide or stores_wide(node.inputs[1])


def _bias(
    node: ir.Node,
    value: ir.Value | None,
    x: QuantizedTensor,
    scale: Float32Array,
    channels: int,
) -> BiasArray:
    """int32 [channels] in units of ``s_x * s_w``; a bias in other units is rounded to them.

    int64 where accumulators may be beyond int32.
    """
    if value is None:
        return np.zeros(channels, np.int32)
    unit = np.float64(x.affine.scale) * scale.astype(np.float64)
    stored = dequantized_constant(value)
    if stored is None:
        real = constant_array(value)
        if real is None:
            raise Refusal("its bias is not constant")
        steps = np.rint(real.astype(np.float64).reshape(-1) / unit)
    elif np.allclose(stored[1], unit, rtol=_SCALE_TOLERANCE, atol=0.0):
        steps = stored[0].astype(np.float64).reshape(-1)
    else:
        real = stored[0].astype(np.float64).reshape(-1) * stored[1].astype(np.float64)
        steps = np.rint(real / unit)
    if not is_one_row(static_shape(value) or (), channels):
        raise Refusal("its bias is not one number per channel")
    is_wide = _is_wide(node, x)
    most = _LARGEST_WIDE_BIAS if is_wide else _INT32_MAXIMUM
    if not np.isfinite(steps).all() or (np.abs(steps) > most).any():
        raise Refusal(f"its bias does not fit in {'the' if is_wide else 'int32'} accumulator")
    every = np.broadcast_to(steps, (channels,))
    return every.astype(np.int64) if is_wide else every.astype(np.int32)


def _product(
    node: ir.Node,
    nodes: tuple[ir.Node, ...],
    x: QuantizedTensor,
    weight: WeightArray,
    scale: Float32Array,
    bias: BiasArray,
    *,
    groups: int = 1,
    window: Window | None = None,
) -> IntegerProduct:
    """Bring the parts together with what follows ``nodes``.

    ``nodes`` are the operator and, for a MatMul, the Add of its bias; ``weight`` is [M, ...]
    with a window, else [K, N]; ``scale`` is the weights'.
    """
    is_wide, channel_axis = _is_wide(node, x), 0 if window else 1
    if is_wide:
        _check_parts(weight, bias, channel_axis, x)
    else:
        _check_range(weight, bias, channel_axis)
    real, bits = nodes[-1].outputs[0], weight_bits_of(node.inputs[1])
    ending = ending_of(real)
    if ending is None:
        return IntegerProduct(
            node=node, nodes=nodes, inputs=(x,), output=None, result=real, weight=weight,
            bias=bias, groups=groups, window=window, requantization=None,
            multiplier=float_multiplier(x.affine.scale, scale), weight_bits=bits,
            is_wide=is_wide,
        )  # fmt: skip
    affine = ending.output.affine
    multiplier = requantize_multiplier(x.affine.scale, scale, affine.scale)
    return IntegerProduct(
        node=node, nodes=nodes + ending.nodes, inputs=(x,), output=ending.output,
        result=ending.output.value, weight=weight, bias=bias, groups=groups, window=window,
        requantization=Requantization(
            multiplier, affine.zero_point, ending.low, ending.high, affine.dtype
        ),
        multiplier=multiplier, weight_bits=bits, is_wide=is_wide,
    )  # fmt: skip


def _check_parts(
    weight: WeightArray, bias: BiasArray, channel_axis: int, x: QuantizedTensor
) -> None:
    """Refuse where no parts of the weights have accumulators in int32, whatever the zero point."""
    greatest = 32768 if x.affine.is_wide else 255
    start = np.abs(bias)
    if not x.affine.is_wide:
        others = tuple(d for d in range(weight.ndim) if d != channel_axis)
        start = start + greatest * np.abs(weight.astype(np.int64)).sum(axis=others)
    if weight_parts(weight, start, channel_axis, greatest) is None:
        raise Refusal("its accumulator could overflow the parts of its weights")
    if x.affine.is_wide or weight.ndim == _MATRIX_RANK or weight.shape[1] != 1:
        return
    if (
        weight_parts(weight, np.zeros_like(bias), channel_axis, greatest, FLOAT32_LIMIT)
        is None
    ):
        raise Refusal("its window is too large for the parts of its weights")


def _check_range(weight: WeightArray, bias: BiasArray, channel_axis: int) -> None:
    """Refuse where an accumulator, with or without its zero point term, could leave int32."""
    others = tuple(d for d in range(weight.ndim) if d != channel_axis)
    reach = np.abs(weight.astype(np.int64)).sum(axis=others) * 255 + np.abs(
        bias.astype(np.int64)
    )
    if reach.size and int(reach.max()) > _INT32_MAXIMUM:
        raise Refusal("its accumulator could overflow int32")


def has_constant_weights(node: ir.Node) -> bool:
    """Whether the second operand of a product is a dequantized matrix of constants."""
    weight = dequantize_of(node.inputs[1])
    rank = len(static_shape(node.inputs[1]) or ())
    return weight is None or (is_constant(weight.inputs[0]) and rank == _MATRIX_RANK)


BUILDERS: dict[str, Callable[[ir.Node], IntegerProduct | ValueProduct]] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "MatMul": _matrix_multiply,
}
