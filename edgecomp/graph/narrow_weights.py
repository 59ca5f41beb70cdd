"""Weights that a model keeps in floats of 16 bits, and that its products read as they are.

    Conv(x, Cast(w16 [M, C, KH, KW], to float), b)
    MatMul(x, Cast(w16 [K, N], to float))
    Gemm(x, Cast(w16), b)

A Cast of constants is computed when the model is built everywhere else; here it stays, since
kernels widen such weights in registers and the file is the smaller for it.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, is_constant
from edgecomp.graph.match import is_operator, producer

#: Operators that take weights as their second input, and the ranks that they may have.
_RANKS = {"Conv": (3, 4), "MatMul": (2,), "Gemm": (2,)}
HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def narrow_weights(product: ir.Node) -> AnyArray | None:
    """The weights of a product in the type that the model keeps them in; None for any others."""
    if not is_operator(product, *_RANKS) or len(product.inputs) < 2:
        return None
    cast = producer(product.inputs[1], "Cast")
    if cast is None or not is_narrow_weight(cast):
        return None
    return constant_array(cast.inputs[0])


def is_narrow_weight(cast: ir.Node) -> bool:
    """Whether a node is such a Cast: one that products alone read, as their weights."""
    if not _is_widening(cast) or cast.outputs[0].is_graph_output():
        return False
    uses = list(cast.outputs[0].uses())
    return bool(uses) and all(_takes(use.node, use.idx, cast) for use in uses)


def widened(value: ir.Value | None) -> AnyArray | None:
    """float32 numbers of a Cast of constants of 16 bits; None for any other value."""
    cast = producer(value, "Cast")
    if cast is None or not _is_widening(cast):
        return None
    stored = constant_array(cast.inputs[0])
    return None if stored is None else stored.astype(np.float32)


def has_narrow_weights(model: ir.Model) -> bool:
    """Whether any product of the main graph has such weights."""
    return any(is_operator(node, "Cast") and is_narrow_weight(node) for node in model.graph)


def _is_widening(cast: ir.Node) -> bool:
    source = cast.inputs[0] if cast.inputs else None
    return (
        is_operator(cast, "Cast")
        and source is not None
        and source.dtype in HALVES
        and is_constant(source)
        and cast.attributes.get_int("to", 0) == ir.DataType.FLOAT
    )


def _takes(node: ir.Node, index: int, cast: ir.Node) -> bool:
    if index != 1 or not is_operator(node, *_RANKS):
        return False
    stored, x = constant_array(cast.inputs[0]), node.inputs[0]
    return (
        stored is not None
        and stored.ndim in _RANKS[node.op_type]
        and x is not None
        and not is_constant(x)
    )
