"""Real numbers of quantized constants."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.match import producer


def dequantized(value: ir.Value | None) -> AnyArray | None:
    """``(stored - zero) * scale`` of a DequantizeLinear of constants, None for any other value.

    One scale, one per index of an axis, or one per block of an axis; the product is rounded to
    the scale's type once.
    """
    node = producer(value, "DequantizeLinear")
    if node is None:
        return None
    stored, scale = constant_array(node.inputs[0]), constant_array(node.inputs[1])
    zero_value = node.inputs[2] if len(node.inputs) > 2 else None
    zero = np.zeros(1, np.int32) if zero_value is None else constant_array(zero_value)
    if stored is None or scale is None or zero is None or scale.dtype != np.float32:
        return None
    points = zero.astype(np.float32)
    scale, points = (_spread(each, stored, node) for each in (scale, points))
    real: AnyArray = (stored.astype(np.float32) - points) * scale
    return real


def _spread(values: AnyArray, stored: AnyArray, node: ir.Node) -> AnyArray:
    """Scales or zero points in a shape that broadcasts to the stored numbers'."""
    if values.size == 1:
        return values.reshape((1,) * stored.ndim)
    axis = node.attributes.get_int("axis", 1) % stored.ndim
    block = node.attributes.get_int("block_size", 0)
    if not block:
        return values.reshape([-1 if d == axis else 1 for d in range(stored.ndim)])
    return np.take(values, np.arange(stored.shape[axis]) // block, axis)
