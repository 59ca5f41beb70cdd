"""A quantized model whose ranges are inputs: many are tried without making it anew.

    Conv(w, b) -> y        =>     Conv(w', b) -> QuantizeLinear(s, z) -> DequantizeLinear(s, z) -> y

with the scale and the zero point of every stored value as inputs of the graph, and weights that are
rounded once and stay float constants. Products are computed in float then, which changes nothing
that a comparison of ranges would see: sums of stored numbers are exact in both forms but for the last
digits of float32. Biases are those of the ranges that it was made with.
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.ranges import Range
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.edit import remove_unused
from edgecomp.graph.run import Runner
from edgecomp.passes.activation_affines import affines_of
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_options import InsertQdqOptions

Feed = Mapping[str, AnyArray]


class Simulation:
    """One session for all ranges.

    Args:
        model: float; stays as it is.
        ranges: as for ``InsertQdqPass``.
        options: as for ``InsertQdqPass``.

    Attributes:
        names: of the outputs.
    """

    def __init__(
        self, model: ir.Model, ranges: Mapping[str, Range], options: InsertQdqOptions
    ) -> None:
        insert = InsertQdqPass(ranges, options)
        self._scope = insert.scope_of(model.graph)
        self._options = options
        self._inputs: dict[str, tuple[str, str]] = {}
        made = model.clone()
        # Results of the graph are named anew when they are stored.
        names = {value: value.name or "" for value in made.graph.inputs}
        names |= {v: v.name or "" for node in made.graph for v in node.outputs}
        insert(made)
        for node in list(made.graph):
            if node.op_type == "QuantizeLinear":
                self._take_scale(made.graph, node, names)
            elif node.op_type == "DequantizeLinear":
                _fold(made.graph, node)
        remove_unused(made)
        self._runner = Runner(made)
        self.names = self._runner.names

    def affines(self, ranges: Mapping[str, Range]) -> dict[str, AnyArray]:
        """Scales and zero points by ranges, for ``run``."""
        found: dict[str, AnyArray] = {}
        for value, affine in affines_of(self._scope, ranges, self._options).items():
            if (value.name or "") in self._inputs:
                scale, zero = self._inputs[value.name or ""]
                found[scale] = np.array(affine.scale, np.float32)
                found[zero] = np.array(affine.zero_point, affine.dtype)
        return found

    def run(self, feed: Feed, affines: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Outputs by name."""
        return self._runner({**feed, **affines})

    def _take_scale(
        self, graph: ir.Graph, node: ir.Node, names: Mapping[ir.Value, str]
    ) -> None:
        value = node.inputs[0]
        assert value is not None
        name = names.get(value)
        if name is None:  # of what the float model has not, whose range is known
            return
        new = []
        for index, what in ((1, "scale"), (2, "zero_point")):
            old = node.inputs[index]
            assert old is not None
            new.append(ir.Value(name=f"{name}/{what}", shape=old.shape, type=old.type))
        graph.inputs.extend(new)
        self._inputs[name] = (new[0].name or "", new[1].name or "")
        for each in (node, *(use.node for use in node.outputs[0].uses())):
            each.replace_input_with(1, new[0])
            each.replace_input_with(2, new[1])


def _fold(graph: ir.Graph, node: ir.Node) -> None:
    """Put the real numbers in the place of stored constants."""
    stored = constant_array(node.inputs[0])
    scale = constant_array(node.inputs[1])
    if stored is None or scale is None:
        return
    zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    shape = [1] * stored.ndim
    if scale.ndim:
        shape[node.attributes.get_int("axis", 1)] = -1
    numbers = stored.astype(np.float32)
    if zero is not None:
        numbers -= zero.astype(np.float32).reshape(shape if zero.ndim else ())
    array = numbers * scale.reshape(shape if scale.ndim else ())
    tensor = ir.Tensor(array.astype(np.float32), name=f"{node.outputs[0].name}/constant")
    constant = ir.Value(
        name=tensor.name,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.FLOAT),
        const_value=tensor,
    )
    graph.register_initializer(constant)
    for use in tuple(node.outputs[0].uses()):
        use.node.replace_input_with(use.idx, constant)
