"""Fold constant arithmetic per channel behind a product into its weights and bias.

    Conv(x, W, b) -> Mul(.., s [M,1,1]) -> Add(.., t [M,1,1])   =>   Conv(x, s W, s b + t)
    MatMul(x, W) -> Add(.., b [N]) -> Mul(.., s [N])   =>   MatMul(x, s W) -> Add(.., s b)

Add and Sub become bias, Mul and Div scale the weights; a scalar counts as the same for every
channel. Between a Conv, ConvTranspose or Gemm and the arithmetic there may be Squeeze, Unsqueeze,
Reshape and Flatten that leave the channels a dimension of their own. Not applied where the product
is read elsewhere too, or the constant varies along another dimension than the channels (then it
stays an operator of its own).
"""

import math

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.counts import OpenValues, open_values
from edgecomp.graph.edit import only_reader, remove_unused, replace_value, set_constant_input
from edgecomp.graph.match import RENAMES, is_operator, producer, split_constant
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

    Into MatMul and the bias behind it Mul and Div only.

    Scope: main graph.  Numerics: float-reassociated.
    """

    numerics = Numerics.REASSOCIATED

    def call(self, model: ir.Model) -> Outcome:
        """Fold in graph order, so that chains fold one after the other."""
        applied, open_ones = 0, open_values(model)
        refusals: list[Refusal] = []
        for node in list(model.graph):
            if not is_operator(node, "Add", "Sub", "Mul", "Div"):
                continue
            reason = _fold(node, open_ones)
            if reason is None:
                continue
            if reason:
                refusals.append(refuse(node, reason))
            else:
                applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied, refusals)


def _fold(node: ir.Node, open_ones: OpenValues) -> str | None:
    """Fold: "" when done, a reason when refused, None when it is no such place."""
    found = split_constant(node)
    if found is None:
        return None
    value, array, index = found
    names = _renamed(value)
    product = names[-1].producer()
    if product is None or not is_operator(product, *PRODUCTS):
        return _fold_into_matrix(node, value, array, index)
    if len(names) > 1 and open_ones.reads(node):
        return "its shape is not that of every run"
    channels, made, shape = (
        output_channels(product),
        static_shape(names[-1]),
        static_shape(value),
    )
    is_known = channels is not None and static_shape(node.outputs[0]) == shape
    if not is_known or made is None or shape is None:
        return "the product's weights are not constant"
    vector = _by_channel(array, made, shape)
    if vector is None:
        return "the constant varies along another dimension than the channels"
    if any(only_reader(name) is None for name in names):
        return "the product's result is read elsewhere too"
    if array.dtype.kind != "f" or (node.op_type == "Div" and (index == 0 or not vector.all())):
        return "it divides by the product or by zero"
    scale, shift = _scale_and_shift(node.op_type, vector, index)
    scale_output_channels(product, scale, shift)
    _remove(node, value, product)
    return ""


def _renamed(value: ir.Value) -> list[ir.Value]:
    """A value and those in front of it that hold the same elements in the same order."""
    found = [value]
    while (rename := producer(found[-1], *RENAMES)) is not None:
        before = rename.inputs[0]
        assert before is not None
        found.append(before)
    return found


def _by_channel(
    array: AnyArray, made: tuple[int, ...], shape: tuple[int, ...]
) -> AnyArray | None:
    """A constant that meets a product's result in another shape, by the result's channels.

    Args:
        array: the constant.
        made: shape of the product's result, with channels in dimension 1.
        shape: that it has where the constant meets it.
    """
    count, channels = made[:2]
    if array.size == 1:
        return per_channel(array.reshape(()), made, 1)
    for axis, extent in enumerate(shape):
        if extent == channels and math.prod(shape[:axis]) == count:
            return per_channel(array, shape, axis)
    return None


def _fold_into_matrix(
    node: ir.Node, value: ir.Value, array: AnyArray, index: int
) -> str | None:
    """Scale the constant matrix of a MatMul, and the bias between it and ``node``."""
    if not is_operator(node, "Mul", "Div") or (node.op_type == "Div" and index == 0):
        return None
    shape = static_shape(value)
    vector = None if not shape else per_channel(array, shape, len(shape) - 1)
    if shape is None or vector is None or static_shape(node.outputs[0]) != shape:
        return None
    if array.dtype.kind != "f" or (node.op_type == "Div" and not vector.all()):
        return None
    bias = producer(value, "Add")
    product, summed = value.producer(), None
    if bias is not None:
        summed = split_constant(bias)
        if summed is None or only_reader(summed[0]) is not bias:
            return None
        if per_channel(summed[1], shape, len(shape) - 1) is None:
            return None
        product = summed[0].producer()
    if product is None or not is_operator(product, "MatMul"):
        return None
    matrix = constant_array(product.inputs[1])
    if matrix is None or matrix.ndim != 2 or only_reader(value) is not node:
        return None
    scale, _ = _scale_and_shift(node.op_type, vector, index)
    assert scale is not None
    set_constant_input(product, 1, (matrix.astype(np.float64) * scale).astype(matrix.dtype))
    if bias is not None and summed is not None:
        _, old, at = summed
        set_constant_input(bias, at, (old.astype(np.float64) * scale).astype(old.dtype))
    _remove(node, value, product)
    return ""


def _remove(node: ir.Node, value: ir.Value, product: ir.Node) -> None:
    """Let ``value`` stand for the node's result."""
    copy_source(node, product)
    replace_value(node.outputs[0], value)
    assert isinstance(node.graph, ir.Graph)
    node.graph.remove(node, safe=True)


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
