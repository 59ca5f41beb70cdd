"""Decide whose weights are stored as floats of fewer bits while everything is computed in float."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, is_constant
from edgecomp.graph.match import is_operator
from edgecomp.passes.outcome import Refusal, refuse
from edgecomp.passes.quantization_options import (
    InsertQdqOptions,
    check_options,
    exclusion,
    is_depthwise,
)

#: Operators with weights, the input that they are, and the ranks that kernels take.
WEIGHTS = {"Conv": (1, (3, 4)), "MatMul": (1, (2,)), "Gemm": (1, (2,)), "Gather": (0, (2,))}
#: Largest finite number of each type that weights may become.
#: Floats of 8 bits have scales.
LARGEST = {"float16": 65504.0, "bfloat16": (2.0 - 2.0**-7) * 2.0**127}


@dataclasses.dataclass(frozen=True)
class NarrowScope:
    """The decision.

    Attributes:
        nodes: whose weights are stored, in execution order.
        refusals: operators with constant weights that stay float32, with the reason.
    """

    nodes: tuple[ir.Node, ...]
    refusals: tuple[Refusal, ...]


def narrow_scope(model: ir.Model, options: InsertQdqOptions, dtype: str) -> NarrowScope:
    """Look at every operator with weights of the main graph.

    Args:
        model: after the float passes.
        options: nodes and operator types to leave alone.
        dtype: numpy or ml_dtypes name of the type that weights become, or log2, which tables
            and depthwise convolutions do not.

    Raises:
        EdgecompError: USAGE where the options name a node that is not there, or a type of which
            no weights can be stored.
    """
    known = [name for name in WEIGHTS if dtype != "log2" or name != "Gather"]
    check_options(model, options, known, f"has no weights that are stored as {dtype} alone")
    nodes, refusals = [], []
    for node, weight in _with_weights(model.graph, dtype):
        reason = _refusal(node, weight, options, dtype)
        if reason:
            refusals.append(refuse(node, reason))
        else:
            nodes.append(node)
    return NarrowScope(tuple(nodes), tuple(refusals))


def narrow_operators(graph: ir.Graph, dtype: str) -> dict[str, str]:
    """Operators of the main graph with float weights -> why they stay as they are, or ""."""
    return {
        node.name or "": _refusal(node, weight, InsertQdqOptions(), dtype)
        for node, weight in _with_weights(graph, dtype)
    }


def _with_weights(graph: ir.Graph, dtype: str) -> Iterator[tuple[ir.Node, AnyArray]]:
    for node in graph:
        if not is_operator(node, *WEIGHTS) or (dtype == "log2" and node.op_type == "Gather"):
            continue
        index = WEIGHTS[node.op_type][0]
        weight = constant_array(node.inputs[index]) if index < len(node.inputs) else None
        if weight is not None and weight.dtype == np.float32:
            yield node, weight


def _refusal(node: ir.Node, weight: AnyArray, options: InsertQdqOptions, dtype: str) -> str:
    reason = exclusion(node, options)
    if reason:
        return reason
    index, ranks = WEIGHTS[node.op_type]
    if weight.ndim not in ranks or 0 in weight.shape:
        return f"its weights have the shape {list(weight.shape)}"
    if dtype == "log2" and is_depthwise(node):
        return "its kernels read the taps of a depthwise convolution as float32"
    if is_constant(node.inputs[1 - index]):
        return "its other operand is constant"
    if not np.isfinite(weight).all():
        return "its weights are not finite"
    farthest, end = float(np.abs(weight).max()), LARGEST.get(dtype, np.inf)
    if farthest > end:
        return f"its weights reach {farthest:g}, and {dtype} ends at {end:g}"
    return ""
