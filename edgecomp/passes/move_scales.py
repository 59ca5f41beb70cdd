"""Move the scale of attention's scores to where the queries or keys are made.

    MatMul(Transpose(Reshape(MatMul(x, W))), k) -> Mul(.., s)
    =>   MatMul(Transpose(Reshape(Mul(MatMul(x, W), s))), k)

There ``FoldChannelAffinePass`` takes it into the weights: it costs nothing then, where it was one
more way through all scores. Not applied where a value on the way is read elsewhere too, or neither
operand comes from constant weights.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import is_constant, new_initializer
from edgecomp.graph.edit import insert_behind, only_reader, replace_value
from edgecomp.graph.match import RENAMES, is_operator, producer, scaled, split_constant
from edgecomp.graph.source import copy_source
from edgecomp.passes.outcome import Numerics, Outcome, finish

#: They hand on all elements, none changed.
_MOVES = ("Transpose", *RENAMES)


class MoveScalesPass(ir.passes.InPlacePass):
    """Move scalar factors behind products of two activations to an operand's product.

    Scope: main graph.  Numerics: float-reassociated.
    """

    numerics = Numerics.REASSOCIATED

    def call(self, model: ir.Model) -> Outcome:
        """Look at every Mul and Div by a number."""
        applied = 0
        for node in list(model.graph):
            if is_operator(node, "Mul", "Div"):
                applied += _move(node)
        return finish(type(self).__name__, model, applied)


def _move(node: ir.Node) -> bool:
    found = scaled(node)
    if found is None or only_reader(found[0]) is not node:
        return False
    scores, factor = found
    product = producer(scores, "MatMul")
    if product is None or scores.dtype is None or node.outputs[0].shape != scores.shape:
        return False
    if any(is_constant(operand) for operand in product.inputs):
        return False  # the factor folds into these weights
    for operand in product.inputs:
        made = _made_from_weights(operand)
        if made is None:
            continue
        graph = node.graph
        assert isinstance(graph, ir.Graph)
        number = np.asarray(factor, scores.dtype.numpy())
        scale = new_initializer(graph, f"{node.outputs[0].name}_scale", number)
        insert_behind(made, "Mul", scale, name=node.name or "")
        copy_source(node, product)
        replace_value(node.outputs[0], scores)
        graph.remove(node, safe=True)
        return True
    return False


def _made_from_weights(operand: ir.Value | None) -> ir.Node | None:
    """The product with constant weights, or the bias behind it, that an operand comes from."""
    while operand is not None and only_reader(operand) is not None:
        node = operand.producer()
        if is_operator(node, *_MOVES):
            assert node is not None
            operand = node.inputs[0]
            continue
        return node if node is not None and _has_weights(node) else None
    return None


def _has_weights(node: ir.Node) -> bool:
    """Whether a factor behind a node folds into constants."""
    if is_operator(node, "Add"):
        summed = split_constant(node)
        product = None if summed is None else summed[0].producer()
        return (
            summed is not None
            and only_reader(summed[0]) is node
            and product is not None
            and is_operator(product, "MatMul")
            and is_constant(product.inputs[1])
        )
    return is_operator(node, "MatMul", "Gemm", "Conv") and is_constant(node.inputs[1])
