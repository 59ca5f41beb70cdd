"""Constants of 4 bits that an integer product reads, alone or with whole multiples of groups.

    MatMulInteger(q, Cast(w4 to int8), z)
    MatMulInteger(q, Cast(DequantizeLinear(w4, m, block_size=g) to int8), z)

ONNX's integer products take bytes alone, so that a Cast stands between; scales of groups that are
whole numbers make whole numbers, which it changes no further. Both nodes stay when the model is
built, for kernels unpack such weights in registers.
"""

import ml_dtypes
import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, is_constant
from edgecomp.graph.match import is_operator, producer

_PRODUCTS = ("MatMulInteger", "ConvInteger")


def is_int4_weight(node: ir.Node) -> bool:
    """Whether a node makes int8 of a constant int4 that is the weights of integer products alone."""
    source = node.inputs[0] if node.inputs else None
    if not is_operator(node, "Cast") or node.attributes.get_int("to", 0) != ir.DataType.INT8:
        return False
    if source is None:
        return False
    is_plain = source.dtype == ir.DataType.INT4 and is_constant(source)
    if not is_plain and _multiplied(source) is None:
        return False
    uses = list(node.outputs[0].uses())
    if not uses or node.outputs[0].is_graph_output():
        return False
    return all(is_operator(use.node, *_PRODUCTS) and use.idx == 1 for use in uses)


def is_int4_multiply(node: ir.Node) -> bool:
    """Whether a DequantizeLinear multiplies groups of such weights, for such Casts alone."""
    if node.outputs[0].is_graph_output() or _multiplied(node.outputs[0]) is None:
        return False
    uses = list(node.outputs[0].uses())
    return bool(uses) and all(is_int4_weight(use.node) for use in uses)


def int4_weights(value: ir.Value | None) -> AnyArray | None:
    """int8 contents of the Cast of such a constant; None for any other value."""
    cast = producer(value, "Cast")
    if cast is None or not is_int4_weight(cast):
        return None
    source = cast.inputs[0]
    assert source is not None
    stored = constant_array(source)
    if stored is None:
        return _multiplied(source)
    assert stored.dtype == ml_dtypes.int4
    return stored.astype(np.int8)


def _multiplied(value: ir.Value) -> AnyArray | None:
    """int8 numbers of int4 times whole multiples of groups; None for any other value."""
    node = producer(value, "DequantizeLinear")
    if node is None or len(node.inputs) > 2 or not node.attributes.get_int("block_size", 0):
        return None
    stored, scale = (constant_array(each) for each in node.inputs[:2])
    if stored is None or stored.dtype != ml_dtypes.int4 or scale is None:
        return None
    if scale.dtype != np.float32 or not (np.abs(scale) <= np.iinfo(np.int8).max).all():
        return None
    if (scale != np.rint(scale)).any():
        return None
    axis = node.attributes.get_int("axis", 1)
    place = np.arange(stored.shape[axis]) // node.attributes.get_int("block_size", 0)
    spread = np.take(scale.astype(np.int64), place, axis)
    numbers = stored.astype(np.int64) * spread
    if numbers.size and (numbers.min() < -128 or numbers.max() > 127):
        return None
    return numbers.astype(np.int8)
