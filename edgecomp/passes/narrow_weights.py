"""Store weights as floats of 16 or 8 bits.

    Conv(x, w, b)        =>  Conv(x, Cast(w16, to float), b), also for MatMul and Gemm
                         =>  Conv(x, DequantizeLinear(w8, scales), b)
    Gather(table, i)     =>  Cast(Gather(table16, i), to float)
                         =>  DequantizeLinear(Gather(table8, i), scale)

What is computed stays float32. The float32 weights go where nothing else reads them.
"""

from collections.abc import Mapping

import onnx_ir as ir

from edgecomp.graph.constants import constant_array, new_initializer
from edgecomp.graph.edit import new_node, remove_unused
from edgecomp.graph.names import unused_name
from edgecomp.graph.narrow_weights import NarrowWeights, output_axis
from edgecomp.passes.narrow_scope import WEIGHTS
from edgecomp.passes.outcome import Numerics, Outcome, finish


class NarrowWeightsPass(ir.passes.InPlacePass):
    """Widen the weights of products and the rows of tables from 16 or 8 bits.

    Scope: main graph.  Numerics: quantized.

    Args:
        weights: name of a node -> its stored weights; those of one object become one
            initializer.
    """

    numerics = Numerics.QUANTIZED

    def __init__(self, weights: Mapping[str, NarrowWeights]) -> None:
        super().__init__()
        self._weights = weights

    def call(self, model: ir.Model) -> Outcome:
        """Insert the nodes."""
        made: dict[int, list[ir.Value]] = {}
        applied = 0
        for node in list(model.graph):
            weights = self._weights.get(node.name or "")
            if weights is None or node.op_type not in WEIGHTS:
                continue
            index = WEIGHTS[node.op_type][0]
            old = node.inputs[index]
            if old is None or constant_array(old) is None or old.producer() is not None:
                continue
            if old.dtype != ir.DataType.FLOAT:
                continue
            if id(weights) not in made:
                made[id(weights)] = _constants(model.graph, old.name or "", weights)
            if node.op_type == "Gather":
                _widen_result(node, made[id(weights)])
            else:
                _widen_weights(node, index, made[id(weights)])
            applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied)


def _constants(graph: ir.Graph, name: str, weights: NarrowWeights) -> list[ir.Value]:
    """Numbers and, where there are, scales."""
    numbers = new_initializer(graph, f"{name}_{weights.numbers.dtype.name}", weights.numbers)
    if weights.scale is None:
        return [numbers]
    scale = weights.scale.reshape(()) if weights.scale.size == 1 else weights.scale
    return [numbers, new_initializer(graph, f"{name}_scale", scale)]


def _widening(node: ir.Node, constants: list[ir.Value], name: str) -> ir.Node:
    """Cast or DequantizeLinear, whose first input is still the stored weights."""
    assert isinstance(node.graph, ir.Graph)
    operator, attributes = "Cast", {"to": ir.DataType.FLOAT.value}
    if len(constants) > 1:
        operator, attributes = "DequantizeLinear", {}
        if node.op_type != "Gather":
            attributes = {"axis": output_axis(node)}
    new = new_node(
        node.graph,
        operator,
        constants,
        like=node,
        attributes=dict(attributes),
        output=unused_name(node.graph, name),
    )
    new.name = f"{node.name}_stored_{operator}"
    new.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    return new


def _widen_weights(node: ir.Node, index: int, constants: list[ir.Value]) -> None:
    widening = _widening(node, constants, f"{node.name}_weights")
    widening.outputs[0].shape = constants[0].shape
    node.prepend(widening)
    node.replace_input_with(index, widening.outputs[0])


def _widen_result(node: ir.Node, constants: list[ir.Value]) -> None:
    """A Gather whose rows are widened behind it; what gives them keeps the result's name."""
    rows, stored = node.outputs[0], constants[0]
    assert stored.dtype is not None
    widening, taken = _widening(node, constants, f"{rows.name}_widened"), rows.name
    wide = widening.outputs[0]
    wide.shape = rows.shape
    node.append(widening)
    rows.replace_all_uses_with(wide, replace_graph_outputs=True)
    widening.replace_input_with(0, rows)
    rows.name, wide.name = wide.name, taken
    rows.type = ir.TensorType(stored.dtype)
    node.replace_input_with(0, stored)
