"""Constants of 4 bits that an integer product reads: MatMulInteger(q, Cast(w4 to int8), z).

ONNX's integer products take bytes alone, so that a Cast stands between. It stays when the model is
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
    if source is None or source.dtype != ir.DataType.INT4 or not is_constant(source):
        return False
    uses = list(node.outputs[0].uses())
    if not uses or node.outputs[0].is_graph_output():
        return False
    return all(is_operator(use.node, *_PRODUCTS) and use.idx == 1 for use in uses)


def int4_weights(value: ir.Value | None) -> AnyArray | None:
    """int8 contents of the Cast of such a constant; None for any other value."""
    cast = producer(value, "Cast")
    if cast is None or not is_int4_weight(cast):
        return None
    stored = constant_array(cast.inputs[0])
    assert stored is not None
    assert stored.dtype == ml_dtypes.int4
    return stored.astype(np.int8)
