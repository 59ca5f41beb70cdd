"""Let the products that read a normalisation have channels of their own scale.

    y = LayerNormalization(x)                y = LayerNormalization(x)
    a = MatMul(y, W)                 =>      z = Mul(y, 1)
    b = Add(y, ..)                           a = MatMul(z, W)
                                             b = Add(y, ..)

A residual sum reads what the products read, and keeps the scale of its channels: smoothing could
move nothing (``smooth_activations``). It moves scales into the row of ones instead. Kernels
multiply where they make 8 bits of the normalisation (``lower/fuse_quantize.py``), so that the row
costs next to nothing on processors; a row that stays ones is removed. Products that are not to be
smoothed, or that cannot take a scale, read the normalisation itself as before.

Only the model and names decide what is split, so that it is the same at all sizes of its dynamic
dimensions.
"""

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array, new_initializer
from edgecomp.graph.edit import new_node, remove_unused, replace_value
from edgecomp.graph.match import is_operator, producer
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse
from edgecomp.passes.remove_identities import same_value
from edgecomp.passes.scales.region import is_asked_for
from edgecomp.passes.scales.rules import NORMALISATIONS, source_refusal

_PRODUCTS = ("MatMul", "Gemm")
#: Behind the name of what a normalisation makes.
_SUFFIX = "_factors"


class SplitNormalisationsPass(ir.passes.InPlacePass):
    """Put a Mul by ones between normalisations and the products among their readers.

    Scope: main graph.  Numerics: exact.

    Args:
        only: names of the products that may read such a Mul, None for all.
    """

    numerics = Numerics.EXACT

    def __init__(self, only: Collection[str] | None = None) -> None:
        super().__init__()
        self._only = only

    def call(self, model: ir.Model) -> Outcome:
        """Split those that products and others read."""
        split = 0
        refusals: list[Refusal] = []
        taken = {node.name for node in ir.traversal.RecursiveGraphIterator(model.graph)}
        for node in list(model.graph):
            products = _products(node, self._only)
            if not products:
                continue
            name = f"{node.outputs[0].name}{_SUFFIX}"
            if name in taken:
                refusals.append(refuse(node, f"a node is named {name} already"))
                continue
            _split(node, products, name)
            split += 1
        return finish(type(self).__name__, model, split, refusals)


class JoinNormalisationsPass(ir.passes.InPlacePass):
    """Remove the Muls of ``SplitNormalisationsPass`` that nothing was moved into.

    Scope: main graph.  Numerics: exact.
    """

    numerics = Numerics.EXACT

    def call(self, model: ir.Model) -> Outcome:
        """Remove products with nothing but ones."""
        joined = 0
        for node in list(model.graph):
            if is_split(node) and (kept := same_value(node)) is not None:
                replace_value(node.outputs[0], kept)
                joined += 1
        if joined:
            remove_unused(model)
        return finish(type(self).__name__, model, joined)


def is_split(node: ir.Node) -> bool:
    """Whether a node is as ``SplitNormalisationsPass`` puts them in, by form and name."""
    if not is_operator(node, "Mul") or not (node.name or "").endswith(_SUFFIX):
        return False
    y, row = node.inputs[0], constant_array(node.inputs[1])
    shape = static_shape(y)
    if not shape or row is None or producer(y, *NORMALISATIONS) is None:
        return False
    return row.dtype == np.float32 and row.shape == shape[-1:]


def _products(node: ir.Node, only: Collection[str] | None) -> list[ir.Node]:
    """The products that can be smoothed, of a normalisation which others read too."""
    if not is_operator(node, *NORMALISATIONS) or not static_shape(node.outputs[0]):
        return []
    y = node.outputs[0]
    if y.dtype != ir.DataType.FLOAT:
        return []
    uses = list(y.uses())
    products = [
        use.node
        for use in uses
        if use.idx == 0
        and use.node.graph is node.graph
        and is_operator(use.node, *_PRODUCTS)
        and is_asked_for(use.node, only)
        and not source_refusal(use.node)
    ]
    return products if len(products) < len(uses) or y.is_graph_output() else []


def _split(node: ir.Node, products: list[ir.Node], name: str) -> None:
    y, graph = node.outputs[0], node.graph
    assert isinstance(graph, ir.Graph)
    shape = static_shape(y)
    assert shape
    row = new_initializer(graph, f"{name}_row", np.ones(shape[-1], np.float32))
    split = new_node(graph, "Mul", [y, row], like=node)
    split.name = name
    node.append(split)
    for product in products:
        product.replace_input_with(0, split.outputs[0])
