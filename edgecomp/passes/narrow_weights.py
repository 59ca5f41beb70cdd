"""Store weights as floats of 16 bits.

    Conv(x, w, b)        =>  Conv(x, Cast(w16, to float), b), also for MatMul and Gemm
    Gather(table, i)     =>  Cast(Gather(table16, i), to float)

Weights are rounded to the nearest number, halves to even; what is computed stays float32. The
float32 weights go where nothing else reads them.
"""

from collections.abc import Collection

import ml_dtypes
import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array, new_initializer
from edgecomp.graph.edit import new_node, remove_unused
from edgecomp.graph.names import unused_name
from edgecomp.passes.narrow_scope import WEIGHTS
from edgecomp.passes.outcome import Numerics, Outcome, finish


class NarrowWeightsPass(ir.passes.InPlacePass):
    """Cast the weights of products and the rows of tables from 16 bits.

    Scope: main graph.  Numerics: quantized.

    Args:
        names: of the nodes whose weights are stored.
        dtype: float16 or bfloat16.
    """

    numerics = Numerics.QUANTIZED

    def __init__(self, names: Collection[str], dtype: str) -> None:
        super().__init__()
        self._names = frozenset(names)
        self._dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))

    def call(self, model: ir.Model) -> Outcome:
        """Insert the nodes."""
        made: dict[ir.Value, ir.Value] = {}
        applied = 0
        for node in list(model.graph):
            if (node.name or "") not in self._names or node.op_type not in WEIGHTS:
                continue
            index = WEIGHTS[node.op_type][0]
            old = node.inputs[index]
            weight = constant_array(old)
            if old is None or weight is None or weight.dtype != np.float32:
                continue
            if old not in made:
                name = f"{old.name}_{self._dtype.name}"
                made[old] = new_initializer(model.graph, name, weight.astype(self._dtype))
            if node.op_type == "Gather":
                _widen_result(node, made[old])
            else:
                _widen_weights(node, index, made[old])
            applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied)


def _cast(node: ir.Node, x: ir.Value, name: str) -> ir.Node:
    assert isinstance(node.graph, ir.Graph)
    cast = new_node(
        node.graph,
        "Cast",
        [x],
        like=node,
        attributes={"to": ir.DataType.FLOAT.value},
        output=unused_name(node.graph, name),
    )
    cast.name = f"{node.name}_Cast"
    return cast


def _widen_weights(node: ir.Node, index: int, stored: ir.Value) -> None:
    cast = _cast(node, stored, f"{node.name}_weights")
    cast.outputs[0].type, cast.outputs[0].shape = (
        ir.TensorType(ir.DataType.FLOAT),
        stored.shape,
    )
    node.prepend(cast)
    node.replace_input_with(index, cast.outputs[0])


def _widen_result(node: ir.Node, stored: ir.Value) -> None:
    """A Gather whose rows are widened behind it; what gives them keeps the result's name."""
    graph, rows = node.graph, node.outputs[0]
    assert isinstance(graph, ir.Graph)
    assert stored.dtype is not None
    cast, taken = _cast(node, rows, f"{rows.name}_widened"), rows.name
    wide = cast.outputs[0]
    wide.type, wide.shape = rows.type, rows.shape
    node.append(cast)
    rows.replace_all_uses_with(wide, replace_graph_outputs=True)
    cast.replace_input_with(0, rows)
    rows.name, wide.name = wide.name, taken
    rows.type = ir.TensorType(stored.dtype)
    node.replace_input_with(0, stored)
