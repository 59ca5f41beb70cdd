"""Store the weights of recurrent nets in 8 bits.

    LSTM(x, W, R, ...)   =>   LSTM(x, DequantizeLinear(W8), DequantizeLinear(R8), ...)

for LSTM, GRU and RNN with constant float32 W and R: int8 with one scale per row (a gate's element;
both directions share it), or one for all. States, inputs and sums stay float32: a step's rounding
would come back in every later step. It does not apply to nodes that are excluded, nor where only
other operators are to be quantized.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, new_initializer
from edgecomp.graph.edit import new_node
from edgecomp.graph.match import is_operator
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse
from edgecomp.passes.quantization_options import RECURRENT, InsertQdqOptions, exclusion

_LARGEST = 127


class QuantizeRecurrentWeightsPass(ir.passes.InPlacePass):
    """Dequantize the weights of LSTM, GRU and RNN from 8 bits.

    Scope: main graph.  Numerics: quantized.

    Args:
        options: which nodes stay float, and whether rows have scales of their own.
    """

    numerics = Numerics.QUANTIZED

    def __init__(self, options: InsertQdqOptions | None = None) -> None:
        super().__init__()
        self._options = options or InsertQdqOptions()

    def call(self, model: ir.Model) -> Outcome:
        """Replace W and R of every net."""
        applied = 0
        refusals: list[Refusal] = []
        for node in list(model.graph):
            if not is_operator(node, *RECURRENT) or exclusion(node, self._options):
                continue
            matrices = [constant_array(node.inputs[index]) for index in (1, 2)]
            if any(m is None or m.dtype != np.float32 for m in matrices):
                continue  # computed, or quantized already
            if not all(m is not None and np.isfinite(m).all() for m in matrices):
                refusals.append(refuse(node, "its weights are not finite"))
                continue
            for index in (1, 2):
                _quantize_input(
                    model.graph, node, index, per_row=self._options.is_per_channel(node)
                )
            applied += 1
        return finish(type(self).__name__, model, applied, refusals)


def _quantize_input(graph: ir.Graph, node: ir.Node, index: int, *, per_row: bool) -> None:
    value = node.inputs[index]
    array = constant_array(value)
    assert value is not None
    assert array is not None
    scale = _scales(array, per_row=per_row)
    wide = scale.reshape(1, -1, 1)
    numbers = np.clip(np.rint(array / wide), -_LARGEST, _LARGEST).astype(np.int8)
    dequantize = new_node(
        graph,
        "DequantizeLinear",
        [
            new_initializer(graph, f"{value.name}_quantized", numbers),
            new_initializer(graph, f"{value.name}_scale", scale),
        ],
        like=node,
        output=f"{value.name}_dequantized",
        attributes={"axis": 1} if scale.ndim else None,
    )
    dequantize.name = f"{value.name}_DequantizeLinear"
    dequantize.outputs[0].type, dequantize.outputs[0].shape = value.type, value.shape
    node.prepend(dequantize)
    node.replace_input_with(index, dequantize.outputs[0])
    if value.name is not None and not value.uses() and value.is_initializer():
        del graph.initializers[value.name]


def _scales(array: AnyArray, *, per_row: bool) -> AnyArray:
    """float32 [rows] or a scalar; 1 where all weights are zero."""
    largest = np.abs(array).max(axis=(0, 2) if per_row else None)
    scale = np.asarray(largest / np.float32(_LARGEST), np.float32)
    # A subnormal scale is zero on some processors.
    return np.where(scale >= np.finfo(np.float32).tiny, scale, np.float32(1.0))
