"""Decide whose weights are stored in few bits while everything else stays float."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import constant_array, is_constant
from edgecomp.graph.match import is_operator
from edgecomp.graph.packed_weights import weight_matrix
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.outcome import Refusal, refuse
from edgecomp.passes.quantization_options import InsertQdqOptions, check_options, exclusion

#: Operators whose weights kernels unpack in registers.
PRODUCTS = ("MatMul", "Gemm")
_LEAST_RANK = 2


@dataclasses.dataclass(frozen=True)
class WeightScope:
    """The decision.

    Attributes:
        products: whose weights are stored, in execution order.
        refusals: operators with constant weights that stay as they are, with the reason.
    """

    products: tuple[ir.Node, ...]
    refusals: tuple[Refusal, ...]


def weight_scope(model: ir.Model, options: InsertQdqOptions) -> WeightScope:
    """Look at every operator with weights of the main graph.

    Raises:
        EdgecompError: USAGE where the options name a node that is not there, or a type of which
            no weights can be stored.
    """
    check_options(model, options, PRODUCTS, "has no weights that are stored in few bits alone")
    products, refusals = [], []
    for node in _with_weights(model.graph):
        reason = _refusal(node, options)
        if reason:
            refusals.append(refuse(node, reason))
        else:
            products.append(node)
    return WeightScope(tuple(products), tuple(refusals))


def few_bit_products(graph: ir.Graph) -> dict[str, str]:
    """Operators of the main graph with constant weights -> why they stay as they are, or ""."""
    return {
        node.name or "": _refusal(node, InsertQdqOptions()) for node in _with_weights(graph)
    }


def _with_weights(graph: ir.Graph) -> Iterator[ir.Node]:
    for node in graph:
        if is_operator(node, *PRODUCTS, "Conv") and len(node.inputs) > 1:
            if is_constant(node.inputs[1]):
                yield node


def _refusal(node: ir.Node, options: InsertQdqOptions) -> str:
    if node.op_type == "Conv":
        return "kernels of convolutions do not unpack weights of few bits"
    reason = exclusion(node, options)
    if reason:
        return reason
    weight, x = constant_array(node.inputs[1]), node.inputs[0]
    assert weight is not None
    if weight.dtype != np.float32 or not np.isfinite(weight).all():
        return "its weights are not finite float32 numbers"
    if weight.ndim != 2 or 0 in weight.shape:
        return f"its weights have the shape {list(weight.shape)}"
    if x is None or is_constant(x):
        return "its first operand is constant"
    if node.attributes.get_int("transA", 0):
        return "its first operand is transposed"
    if len(static_shape(x) or ()) < _LEAST_RANK:
        return "its first operand is a vector"
    return ""


def require_group(products: Sequence[ir.Node], group: int) -> None:
    """Check a group size that was asked for against the inputs of every product.

    Raises:
        EdgecompError: USAGE with sizes that would do.
    """
    depths = {node.name: len(weight_matrix(node)) for node in products}
    wrong = {name: depth for name, depth in depths.items() if depth % group}
    if not wrong:
        return
    name, depth = next(iter(wrong.items()))
    common = int(np.gcd.reduce(list(depths.values())))
    fitting = [size for size in range(16, common + 1, 16) if common % size == 0]
    below = [size for size in fitting if size < group][-1:]
    above = [size for size in fitting if size > group][:1]
    sizes = " or ".join(map(str, below + above))
    others = f"; {len(wrong) - 1} more layers likewise" if len(wrong) > 1 else ""
    raise EdgecompError(
        Code.USAGE,
        f"--group-size {group} does not divide the {depth} inputs of '{name}'{others}",
        node=name or "",
        hint=(f"use {sizes}, of which every layer has a multiple, or " if sizes else "use ")
        + "-1 for one group per column; without --group-size the last group of a column may "
        "be smaller",
    )
