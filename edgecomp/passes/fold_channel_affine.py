"""Fold constant arithmetic per channel behind a product into its weights and bias.

    Conv(x, W, b) -> Mul(.., s [M,1,1]) -> Add(.., t [M,1,1])   =>   Conv(x, s W, s b + t)

Add and Sub become bias, Mul and Div scale the weights; a scalar counts as the same for every
channel. Not applied where the product is read elsewhere too, or the constant varies along
another dimension than the channels (then it stays an operator of its own).
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.edit import only_reader, remove_unused, replace_value
from edgecomp.graph.match import is_operator, split_constant
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import copy_source
from edgecomp.passes.channel_scale import (
    PRODUCTS,
    output_channels,
    per_channel,
    scale_output_channels,
)
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse


class FoldChannelAffinePass(ir.passes.InPlacePass):
    """Fold Add, Sub, Mul, Div by constants into Conv, ConvTranspose and canonical Gemm.

    Scope: main graph.  Numerics: float-reassociated.
    """

    numerics = Numerics.REASSOCIATED

    def call(self, model: ir.Model) -> Outcome:
        """Fold in graph order, so that chains fold one after the other."""
        applied = 0
        refusals: list[Refusal] = []
        for node in list(model.graph):
            if not is_operator(node, "Add", "Sub", "Mul", "Div"):
                continue
            reason = _fold(node)
            if reason is None:
                continue
            if reason:
                refusals.append(refuse(node, reason))
            else:
                applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied, refusals)


def _fold(node: ir.Node) -> str | None:
    """Fold: "" when done, a reason when refused, None when it is no such place."""
    found = split_constant(node)
    if found is None:
        return None
    value, array, index = found
    product = value.producer()
    if product is None or not is_operator(product, *PRODUCTS):
        return None
    channels, shape = output_channels(product), static_shape(value)
    if channels is None or shape is None or static_shape(node.outputs[0]) != shape:
        return "the product's weights are not constant"
    vector = per_channel(array, shape, 1)
    if vector is None:
        return "the constant varies along another dimension than the channels"
    if only_reader(value) is not node:
        return "the product's result is read elsewhere too"
    if array.dtype.kind != "f" or (node.op_type == "Div" and (index == 0 or not vector.all())):
        return "it divides by the product or by zero"
    scale, shift = _scale_and_shift(node.op_type, vector, index)
    scale_output_channels(product, scale, shift)
    copy_source(node, product)
    replace_value(node.outputs[0], value)
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    graph.remove(node, safe=True)
    return ""


def _scale_and_shift(
    operator: str, vector: np.ndarray, index: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if operator == "Add":
        return None, vector
    if operator == "Mul":
        return vector, None
    if operator == "Div":
        return 1.0 / vector, None
    if index == 1:
        return None, -vector
    return np.full_like(vector, -1.0), vector
