"""Integer products of activations whose scale is known only while the model runs.

    q, s, z = DynamicQuantizeLinear(x)
    Add(Mul(Cast(MatMulInteger(q, w, z, z_w)), Mul(s, s_w)), bias)

is how onnxruntime's dynamic quantization writes a product; ConvInteger likewise.
"""

import dataclasses

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.edit import only_reader
from edgecomp.graph.match import is_operator
from edgecomp.graph.shapes import static_shape


@dataclasses.dataclass(frozen=True, eq=False)
class ScaledProduct:
    """``float(product) * (scale * multiplier) + offset``.

    Attributes:
        node: MatMulInteger or ConvInteger.
        nodes: it, and those behind it that belong to the chain, in order.
        unit: the node that multiplies the two scales, where only this chain reads it.
        scale: float32 of one element, or None for 1.
        multiplier: float32 per channel or of one element, or None for 1.
        offset: float32 per channel, or None for 0.
    """

    node: ir.Node
    nodes: tuple[ir.Node, ...]
    unit: ir.Node | None
    scale: ir.Value | None
    multiplier: AnyArray | None
    offset: AnyArray | None


def scaled_products(graph: ir.Graph) -> dict[ir.Node, ScaledProduct]:
    """Last node of each chain -> the chain. Scope: the graph itself, no subgraphs."""
    found: dict[ir.Node, ScaledProduct] = {}
    for node in graph:
        if is_operator(node, "MatMulInteger", "ConvInteger"):
            chain = _chain(node)
            if chain is not None:
                found[chain.nodes[-1]] = chain
    return found


def _chain(node: ir.Node) -> ScaledProduct | None:
    cast = only_reader(node.outputs[0])
    if cast is None or not is_operator(cast, "Cast"):
        return None
    if cast.attributes.get_int("to", 0) != ir.DataType.FLOAT or cast.graph is not node.graph:
        return None
    multiply = only_reader(cast.outputs[0])
    if multiply is None or not is_operator(multiply, "Mul"):
        return None
    if multiply.graph is not node.graph:
        return None
    factor = _other(multiply, cast.outputs[0])
    parts = None if factor is None else _factors(node, factor)
    if parts is None:
        return None
    unit, scale, multiplier = parts
    nodes, offset = [node, cast, multiply], None
    add = only_reader(multiply.outputs[0])
    if add is not None and is_operator(add, "Add") and add.graph is node.graph:
        value = _other(add, multiply.outputs[0])
        offset = None if value is None else _per_channel(node, value)
        if offset is not None:
            nodes.append(add)
    if unit is not None and only_reader(unit.outputs[0]) is not multiply:
        unit = None
    return ScaledProduct(node, tuple(nodes), unit, scale, multiplier, offset)


def _other(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """The operand of a node of two that is not ``value``, if the result keeps value's shape."""
    others = [each for each in node.inputs if each is not value]
    if len(others) != 1 or static_shape(node.outputs[0]) != static_shape(value):
        return None
    return others[0]


def _factors(
    node: ir.Node, factor: ir.Value
) -> tuple[ir.Node | None, ir.Value | None, AnyArray | None] | None:
    """(node of a product of scales, scale of the activation, scales of the weights)."""
    known = _per_channel(node, factor)
    if known is not None:
        return None, None, known
    maker = factor.producer()
    if maker is not None and is_operator(maker, "Mul") and maker.graph is node.graph:
        first, second = maker.inputs[:2]
        for scale, weights in ((first, second), (second, first)):
            if scale is None or weights is None or not _is_single(scale):
                continue
            array = _per_channel(node, weights)
            if array is not None:
                return maker, scale, array
    return (None, factor, None) if _is_single(factor) else None


def _is_single(value: ir.Value) -> bool:
    """Whether a computed value is one float32."""
    shape = static_shape(value)
    plain = constant_array(value) is None and value.dtype == ir.DataType.FLOAT
    return plain and shape is not None and int(np.prod(shape)) == 1


def _per_channel(node: ir.Node, value: ir.Value) -> AnyArray | None:
    """A float32 constant as one number, or one per channel; None for any other."""
    array, shape = constant_array(value), static_shape(node.outputs[0])
    if array is None or array.dtype != np.float32 or not shape:
        return None
    if array.size == 1:
        return array.reshape(-1)
    axis = 1 if node.op_type == "ConvInteger" else len(shape) - 1
    own = (1,) * (len(shape) - array.ndim) + array.shape
    wanted = tuple(shape[d] if d == axis else 1 for d in range(len(shape)))
    return array.reshape(-1) if own == wanted else None
