"""Fold batch normalisation into the product before it, or write it as Mul and Add.

    Conv(x, W, b) -> BatchNormalization(.., g, h, m, v)
        =>   Conv(x, s W, s b + h - m s),   s = g / sqrt(v + epsilon)

Into Conv, ConvTranspose and canonical Gemm whose result nothing else reads. Anywhere else the
normalisation is ``x * s + (h - m s)`` per channel: a Mul and an Add that later steps know.

Refused: training mode, statistics that are not constant.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.batch_statistics import set_batch_statistics
from edgecomp.graph.constants import AnyArray, constant_array, new_initializer
from edgecomp.graph.edit import (
    new_node,
    only_reader,
    remove_unused,
    replace_node,
    replace_value,
)
from edgecomp.graph.match import is_operator
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import copy_source
from edgecomp.passes.channel_scale import PRODUCTS, output_channels, scale_output_channels
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse


class FoldBatchNormPass(ir.passes.InPlacePass):
    """Remove every BatchNormalization in inference mode.

    Scope: main graph.  Numerics: float-reassociated.
    """

    numerics = Numerics.REASSOCIATED

    def call(self, model: ir.Model) -> Outcome:
        """Fold into the product before, or split into Mul and Add."""
        applied = 0
        refusals: list[Refusal] = []
        for node in list(model.graph):
            if not is_operator(node, "BatchNormalization"):
                continue
            statistics = _scale_and_shift(node)
            if statistics is None:
                refusals.append(refuse(node, "training mode, or statistics are not constant"))
                continue
            known = [constant_array(value) for value in node.inputs[1:3]]
            result = _fold(node, *statistics)
            set_batch_statistics(result, np.asarray(known[1]), np.abs(np.asarray(known[0])))
            applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied, refusals)


def _scale_and_shift(node: ir.Node) -> tuple[AnyArray, AnyArray] | None:
    if node.attributes.get_int("training_mode", 0):
        return None
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return None
    arrays = [constant_array(value) for value in node.inputs[1:5]]
    if any(array is None for array in arrays) or static_shape(node.inputs[0]) is None:
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    return scale, beta - mean * scale


def _fold(node: ir.Node, scale: AnyArray, shift: AnyArray) -> ir.Value:
    """Returns the value that is normalized now."""
    graph, value = node.graph, node.inputs[0]
    assert isinstance(graph, ir.Graph)
    assert value is not None
    product = value.producer()
    foldable = (
        product is not None
        and is_operator(product, *PRODUCTS)
        and output_channels(product) is not None
        and only_reader(value) is node
    )
    if not foldable:
        return _split(node, scale, shift)
    assert product is not None
    scale_output_channels(product, scale, shift)
    copy_source(node, product)
    replace_value(node.outputs[0], value)
    graph.remove(node, safe=True)
    return value


def _split(node: ir.Node, scale: AnyArray, shift: AnyArray) -> ir.Value:
    """Mul and Add with constants [C, 1, ...] that broadcast over the batch."""
    graph, value = node.graph, node.inputs[0]
    assert isinstance(graph, ir.Graph)
    assert value is not None
    shape, dtype = static_shape(value), value.dtype
    assert shape is not None
    assert dtype is not None
    form = (-1,) + (1,) * (len(shape) - 2) if len(shape) > 1 else ()
    name = node.outputs[0].name
    factors = [
        new_initializer(graph, f"{name}_{kind}", vector.reshape(form).astype(dtype.numpy()))
        for kind, vector in (("scale", scale), ("shift", shift))
    ]
    product = new_node(graph, "Mul", [value, factors[0]], like=node)
    product.name = f"{node.name}_scale"
    node.prepend(product)
    total = ir.node("Add", [product.outputs[0], factors[1]], name=node.name)
    replace_node(node, total)
    return total.outputs[0]
