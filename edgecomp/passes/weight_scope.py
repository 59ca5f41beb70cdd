"""Decide whose weights are stored in few bits while everything else stays float."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.graph.constants import constant_array, is_constant
from edgecomp.graph.packed_weights import weight_matrix
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.outcome import Refusal, refuse
from edgecomp.passes.quantization_scope import InsertQdqOptions, check_names, is_excluded

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
    check_names(model, options)
    for operator in options.op_types_to_quantize:
        if operator not in PRODUCTS:
            raise EdgecompError(
                Code.USAGE,
                f"weights of '{operator}' cannot be stored in few bits alone",
                hint=nearest_hint(operator, PRODUCTS),
            )
    products, refusals = [], []
    for node in model.graph:
        if node.domain != "" or node.op_type not in (*PRODUCTS, "Conv"):
            continue
        if len(node.inputs) < 2 or not is_constant(node.inputs[1]):
            continue
        reason = _refusal(node, options)
        if reason:
            refusals.append(refuse(node, reason))
        else:
            products.append(node)
    return WeightScope(tuple(products), tuple(refusals))


def few_bit_products(graph: ir.Graph) -> dict[str, str]:
    """Operators of the main graph with constant weights -> why they stay as they are, or ""."""
    return {
        node.name or "": _refusal(node, InsertQdqOptions())
        for node in graph
        if node.domain == ""
        and node.op_type in (*PRODUCTS, "Conv")
        and len(node.inputs) > 1
        and is_constant(node.inputs[1])
    }


def _refusal(node: ir.Node, options: InsertQdqOptions) -> str:
    if node.op_type == "Conv":
        return "kernels of convolutions do not unpack weights of few bits"
    if is_excluded(node, options):
        return options.stay_float.get(node.name or "", "it is excluded by name")
    if options.op_types_to_quantize and node.op_type not in options.op_types_to_quantize:
        return "its operator type is not among those to quantize"
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
