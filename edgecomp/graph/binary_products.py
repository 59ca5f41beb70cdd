"""Products of signs with signs: what a network with binary weights and activations holds.

    MatMul(Sign(x), w)                                            w = +-s for every output
    Conv(Where(GreaterOrEqual(x, 0), 1, -1), w), Gemm alike
    MatMul(Mul(Sign(x), a), DequantizeLinear(w1, s))              a: one number

Such a sum is a count of equal signs. Sign gives 0 for 0, which then counts for nothing, as padding
does, and NaN too; Where gives 1 or -1.
"""

import dataclasses

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, is_one_row
from edgecomp.graph.dequantized import dequantized
from edgecomp.graph.match import is_operator, producer, split_constant
from edgecomp.graph.packed_weights import is_turned
from edgecomp.graph.shapes import static_shape

#: Of fewer inputs most bits of a word would be empty.
_LEAST_INPUTS = 16
_COMPARISONS = ("GreaterOrEqual", "Greater", "LessOrEqual", "Less")
_IMAGE_RANK = 4


@dataclasses.dataclass(frozen=True, eq=False)
class BinaryProduct:
    """``(signs of source) * signs of weights``, times scales, plus a bias.

    Attributes:
        node: Conv, Gemm or MatMul.
        inside: nodes between the source and it.
        source: what is compared with 0.
        test: Sign, or the comparison that chooses ``first``.
        first: sign where the comparison holds, 1 or -1; 1 of Sign.
        negative: of the weights, bool [M, C, KH, KW] of a Conv, else [K, N].
        scale: float32 [outputs], of weights and activations together.
        bias: float32 [outputs], None without one.
    """

    node: ir.Node
    inside: tuple[ir.Node, ...]
    source: ir.Value
    test: str
    first: int
    negative: AnyArray
    scale: AnyArray
    bias: AnyArray | None


def binary_products(graph: ir.Graph) -> dict[ir.Node, BinaryProduct]:
    """Products of signs by their nodes. Scope: the graph itself, no subgraphs."""
    found = {}
    for node in graph:
        if is_operator(node, "Conv", "Gemm", "MatMul"):
            product = _product(node)
            if product is not None:
                found[node] = product
    return found


def only_inside(products: dict[ir.Node, BinaryProduct]) -> set[ir.Node]:
    """Nodes that nothing but such products needs."""
    taken: set[ir.Node] = set()
    for product in products.values():
        for node in product.inside:  # from the product on
            value = node.outputs[0]
            readers = [use.node for use in value.uses()]
            if value.is_graph_output():
                continue
            if all(reader in taken or reader in products for reader in readers):
                taken.add(node)
    return taken


def _product(node: ir.Node) -> BinaryProduct | None:
    signs = _signs(node.inputs[0])
    weights = _weights(node)
    if signs is None or weights is None:
        return None
    source, inside, test, first, factor = signs
    negative, scale = weights
    shape = static_shape(source)
    if shape is None or source.dtype != ir.DataType.FLOAT or 0 in shape:
        return None
    if node.op_type == "Conv":
        if len(shape) != _IMAGE_RANK or node.attributes.get_int("group", 1) != 1:
            return None
    elif len(shape) < 2 or node.attributes.get_int("transA", 0) != 0:
        return None
    if negative.shape[1 if node.op_type == "Conv" else 0] < _LEAST_INPUTS:
        return None
    bias = None
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = _bias(node, len(scale))
        if bias is None:
            return None
    scale = (scale.astype(np.float64) * factor).astype(np.float32)
    return BinaryProduct(node, inside, source, test, first, negative, scale, bias)


def _bias(node: ir.Node, outputs: int) -> AnyArray | None:
    """Float32 [outputs]; None where it is no constant, or another one in every row of a Gemm."""
    bias = constant_array(node.inputs[2])
    if bias is None or not is_one_row(bias.shape, outputs):
        return None
    beta = np.float32(node.attributes.get_float("beta", 1.0))
    return np.broadcast_to(beta * bias.reshape(-1), (outputs,)).astype(np.float32)


def _signs(
    value: ir.Value | None,
) -> tuple[ir.Value, tuple[ir.Node, ...], str, int, float] | None:
    """Source, nodes from the last on, test, first sign, factor."""
    scaling, factor = producer(value, "Mul"), 1.0
    inside: tuple[ir.Node, ...] = ()
    if scaling is not None:
        parts = split_constant(scaling)
        if parts is None or parts[1].size != 1:
            return None
        value, factor, inside = parts[0], float(parts[1].reshape(())), (scaling,)
        if not np.isfinite(factor) or factor <= 0:
            return None
    sign = producer(value, "Sign")
    if sign is not None and sign.inputs[0] is not None:
        return sign.inputs[0], (*inside, sign), "Sign", 1, factor
    choice = producer(value, "Where")
    comparison = None if choice is None else producer(choice.inputs[0], *_COMPARISONS)
    if choice is None or comparison is None or comparison.inputs[0] is None:
        return None
    limit = constant_array(comparison.inputs[1])
    ends = [_single(constant_array(each)) for each in choice.inputs[1:]]
    if limit is None or limit.any() or None in ends:
        return None
    first, second = ends
    if first is None or second is None or first != -second or not 0 < abs(first) < np.inf:
        return None
    if static_shape(choice.outputs[0]) != static_shape(comparison.inputs[0]):
        return None
    nodes = (*inside, choice, comparison)
    return (
        comparison.inputs[0],
        nodes,
        comparison.op_type,
        int(np.sign(first)),
        factor * abs(first),
    )


def _single(array: AnyArray | None) -> float | None:
    """The number that all elements are."""
    if array is None or array.size == 0 or (array != array.flat[0]).any():
        return None
    return float(array.flat[0])


def _weights(node: ir.Node) -> tuple[AnyArray, AnyArray] | None:
    """Where they are negative, and their magnitude by output; None where it differs."""
    weight = constant_array(node.inputs[1])
    if weight is None:
        weight = dequantized(node.inputs[1])
    wanted = _IMAGE_RANK if node.op_type == "Conv" else 2
    if weight is None or weight.ndim != wanted or weight.size == 0:
        return None
    if node.op_type == "Gemm":
        weight = weight.T if is_turned(node) else weight
        weight = np.float32(node.attributes.get_float("alpha", 1.0)) * weight
    rows = weight if node.op_type == "Conv" else weight.T
    magnitude = np.abs(rows.reshape(len(rows), -1))
    scale = magnitude[:, 0]
    if not np.isfinite(scale).all() or (magnitude != scale[:, None]).any():
        return None
    return weight < 0, scale
