"""Read QuantizeLinear and DequantizeLinear nodes: scales, zero points, weights, endings."""

import dataclasses
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array
from edgecomp.graph.edit import only_reader
from edgecomp.graph.grouped_scales import common_unit
from edgecomp.graph.integer import Affine, AnyArray, Float32Array, clamp_bounds
from edgecomp.graph.integer_operators import QuantizedTensor, WeightArray
from edgecomp.graph.match import clip_bounds

_STORED = (np.dtype(np.uint8), np.dtype(np.int8))
_WIDE = np.dtype(np.int16)
_FEW_BITS = tuple(np.dtype(each) for each in (ml_dtypes.uint4, ml_dtypes.int4))
#: Of scales of groups: 4 bits times it are 8 bits.
_LARGEST_MULTIPLE = 15


class Refusal(Exception):  # noqa: N818  # an answer, not an error
    """Why nodes are not an integer operator."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ending:
    """What follows a float result: at most one activation, then one QuantizeLinear.

    Attributes:
        nodes: the activation, if any, and the QuantizeLinear.
        output: the stored result.
        low, high: stored bounds that the activation sets.
    """

    nodes: tuple[ir.Node, ...]
    output: QuantizedTensor
    low: int
    high: int

    @property
    def bounded(self) -> bool:
        """Whether the activation excludes any stored value."""
        affine = self.output.affine
        return self.low > affine.lowest or self.high < affine.highest


def ending_of(value: ir.Value) -> Ending | None:
    """The ending of a float value, None where it is read in another way."""
    reader = only_reader(value)
    if reader is None or reader.graph is not value.graph:
        return None
    activation = None
    limits = clip_bounds(reader)
    if limits is not None:
        activation, reader = reader, only_reader(reader.outputs[0])
    if reader is None or reader.domain != "" or reader.op_type != "QuantizeLinear":
        return None
    try:
        affine = quantize_affine(reader)
    except Refusal:
        return None
    low, high = clamp_bounds(affine, *(limits or (-np.inf, np.inf)))
    nodes = (reader,) if activation is None else (activation, reader)
    return Ending(nodes, QuantizedTensor(reader.outputs[0], affine), low, high)


def required_ending(value: ir.Value) -> Ending:
    """The ending of a float value; Refusal where there is none."""
    ending = ending_of(value)
    if ending is None:
        raise Refusal("its result does not go into one QuantizeLinear of 8 or 16 bits alone")
    return ending


def quantize_affine(node: ir.Node) -> Affine:
    """Scale and zero point of a QuantizeLinear's output."""
    zero_point = node.inputs[2] if len(node.inputs) > 2 else None
    zero = constant_array(zero_point)
    named = node.attributes.get_int("output_dtype", 0)
    if zero is not None:
        dtype = zero.dtype
    elif named:
        dtype = ir.DataType(named).numpy()
    else:
        dtype = np.dtype(np.uint8)
    return _affine(node, dtype)


def activation_of(value: ir.Value | None) -> QuantizedTensor:
    """The stored tensor behind a dequantized value; Refusal where it is none.

    Constants count: their contents are in ``constant``.
    """
    node = dequantize_of(value)
    if node is None:
        raise Refusal(f"its input {'' if value is None else value.name} is not dequantized")
    stored = node.inputs[0]
    assert stored is not None
    return QuantizedTensor(stored, _affine(node, _stored_dtype(node)), constant_array(stored))


def dequantize_of(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that produces the value."""
    node = None if value is None else value.producer()
    if node is None or node.domain != "" or node.op_type != "DequantizeLinear":
        return None
    return node


def weight_of(value: ir.Value | None, channel_axis: int) -> tuple[WeightArray, Float32Array]:
    """Constant weights less their zero points, and their scales, [1] or [channels].

    The weights are int8, or int16 where they are stored so or a zero point takes them out of
    its range.

    Args:
        value: dequantized weights.
        channel_axis: dimension of the output channels.
    """
    node = dequantize_of(value)
    stored = None if node is None else constant_array(node.inputs[0])
    if node is None or stored is None:
        raise Refusal("its weights are not a dequantized constant")
    if _stored_dtype(node) not in (*_STORED, *_FEW_BITS, _WIDE):
        raise Refusal(f"its weights are {stored.dtype}, not of 16, 8 or 4 bits")
    if node.attributes.get_int("block_size", 0):
        return _grouped(node, stored, channel_axis)
    scale, zero = _scale_and_zero(node)
    if stored.dtype == _WIDE and zero.any():
        raise Refusal("its 16-bit weights have a zero point")
    if scale.size > 1:
        axis = node.attributes.get_int("axis", 1) % stored.ndim
        if axis != channel_axis or scale.size != stored.shape[axis]:
            raise Refusal("its weights have scales along another dimension than the channels")
    if zero.size > 1:
        zero = zero.reshape([-1 if d == channel_axis else 1 for d in range(stored.ndim)])
    centred = stored.astype(np.int16) - zero.astype(np.int16)
    if centred.size and (centred.min() < -128 or centred.max() > 127):
        return centred, scale
    return centred.astype(np.int8), scale


def _grouped(
    node: ir.Node, stored: AnyArray, channel_axis: int
) -> tuple[WeightArray, Float32Array]:
    """Weights with scales of groups as whole multiples of those with one scale per channel."""
    scale = constant_array(node.inputs[1])
    if scale is None or scale.dtype != np.float32 or not 0 <= channel_axis < stored.ndim == 2:
        raise Refusal("its scales of groups are not constant float32 numbers of a matrix")
    if node.attributes.get_int("axis", 1) % 2 == channel_axis:
        raise Refusal("its weights have scales of groups of channels")
    if not (np.isfinite(scale) & (scale >= np.finfo(np.float32).tiny)).all():
        raise Refusal("its scale is not a positive normal number")
    zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else np.zeros_like(scale)
    if zero is None or zero.shape != scale.shape:
        raise Refusal("its zero points are not constant numbers of its groups")
    found = common_unit(scale if channel_axis == 1 else scale.T)
    place = np.arange(stored.shape[1 - channel_axis]) // node.attributes.get_int(
        "block_size", 0
    )
    reason = (
        f"its scales of groups are no multiples of one, up to {_LARGEST_MULTIPLE} times it"
    )
    if found is None or int(found[1].max()) > _LARGEST_MULTIPLE:
        raise Refusal(reason)
    unit, multiples = found
    multiples = multiples if channel_axis == 1 else multiples.T
    centred = stored.astype(np.int64) - np.take(zero.astype(np.int64), place, 1 - channel_axis)
    numbers = centred * np.take(multiples, place, 1 - channel_axis)
    if numbers.size and (numbers.min() < -128 or numbers.max() > 127):
        raise Refusal("its weights, counted in the least scale, are beyond 8 bits")
    return numbers.astype(np.int8), unit


def weight_bits_of(value: ir.Value | None) -> int:
    """4 where ``weight_of`` are stored so and, less their zero points, are no more; else 8."""
    node = dequantize_of(value)
    stored = None if node is None else constant_array(node.inputs[0])
    if node is None or stored is None or stored.dtype not in _FEW_BITS:
        return 8
    if node.attributes.get_int("block_size", 0):
        return 4  # and multiples of their groups, where kernels take them
    _, zero = _scale_and_zero(node)
    offset = 8 if stored.dtype == _FEW_BITS[0] else 0
    return 4 if (zero == offset).all() else 8


def stores_wide(value: ir.Value | None) -> bool:
    """Whether a dequantized value is stored in 16 bits."""
    node = dequantize_of(value)
    return node is not None and _stored_dtype(node) == _WIDE


def dequantized_constant(value: ir.Value) -> tuple[AnyArray, Float32Array] | None:
    """Stored int32 numbers and scales of a dequantized constant with zero point 0."""
    node = dequantize_of(value)
    stored = None if node is None else constant_array(node.inputs[0])
    if node is None or stored is None or stored.dtype != np.int32:
        return None
    scale, zero = _scale_and_zero(node)
    return None if zero.any() else (stored, scale)


def _affine(node: ir.Node, dtype: np.dtype[Any]) -> Affine:
    if dtype not in (*_STORED, _WIDE):
        raise Refusal(f"activations stored as {dtype} have no integer form")
    scale, zero = _scale_and_zero(node)
    if dtype == _WIDE and zero.any():
        raise Refusal("its 16-bit activations have a zero point")
    if scale.size != 1:
        raise Refusal("its activations have more than one scale")
    return Affine(scale.reshape(-1)[0], int(zero.reshape(-1)[0]), dtype)


def _scale_and_zero(node: ir.Node) -> tuple[Float32Array, AnyArray]:
    """float32 [1] or [channels] and int32 of the same size or one element."""
    scale = constant_array(node.inputs[1])
    if scale is None:
        raise Refusal("its scale is not constant")
    blocked = node.attributes.get_int("block_size", 0) != 0
    if scale.dtype != np.float32 or scale.ndim > 1 or blocked:
        raise Refusal("its scales are not float32 per tensor or per channel")
    # Subnormal scales would be flushed to zero by some processors.
    if not (np.isfinite(scale) & (scale >= np.finfo(np.float32).tiny)).all():
        raise Refusal("its scale is not a positive normal number")
    zero_point = node.inputs[2] if len(node.inputs) > 2 else None
    if zero_point is None:
        return scale.reshape(-1), np.zeros(1, np.int32)
    zero = constant_array(zero_point)
    if zero is None:
        raise Refusal("its zero point is not constant")
    return scale.reshape(-1), zero.astype(np.int32).reshape(-1)


def _stored_dtype(node: ir.Node) -> np.dtype[Any]:
    stored = node.inputs[0]
    if stored is not None and stored.dtype is not None:
        return stored.dtype.numpy()
    zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    if zero is None:
        raise Refusal("the dtype of its stored input is not known")
    return zero.dtype
