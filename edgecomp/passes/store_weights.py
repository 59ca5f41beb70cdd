"""Put weights of few bits into a float model.

    MatMul(x, W [K, N])  =>  MatMul(x, DequantizeLinear(w4 [K, N], scales [K / block, N]))

for MatMul and Gemm whose stored weights are given. The stored type is the smallest that holds the
bits in the model's operator set: int2 from opset 25 on (also for signs, -1 and 1), int4 (also for 3
bits) and int8; their
unsigned forms with zero points where the zero points are not all in the middle. One group per
column has no blocks, but a scale per index of the axis. The float weights go where nothing else
reads them.
"""

from collections.abc import Mapping

import ml_dtypes
import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, new_initializer
from edgecomp.graph.edit import new_node, remove_unused
from edgecomp.graph.names import unused_name
from edgecomp.graph.packed_weights import PackedWeights, is_turned
from edgecomp.passes.outcome import Numerics, Outcome, finish

#: The first version whose DequantizeLinear takes blocks and 4 bits, and that with 2 bits.
LEAST_OPSET, TWO_BITS_OPSET = 21, 25
_TYPES = {2: ("int2", "uint2"), 4: ("int4", "uint4"), 8: ("int8", "uint8")}


class StoreWeightsPass(ir.passes.InPlacePass):
    """Dequantize the weights of products from few bits.

    Scope: main graph.  Numerics: quantized.

    Args:
        weights: name of a product -> its stored weights; those of one object become one
            initializer.
    """

    numerics = Numerics.QUANTIZED

    def __init__(self, weights: Mapping[str, PackedWeights]) -> None:
        super().__init__()
        self._weights = weights

    def requires(self, model: ir.Model) -> None:
        """Raise where the operator set lacks blocks."""
        if model.opset_imports.get("", 0) < LEAST_OPSET:
            raise ir.passes.PreconditionError(f"StoreWeightsPass needs opset >= {LEAST_OPSET}")

    def call(self, model: ir.Model) -> Outcome:
        """Insert the nodes."""
        made: dict[tuple[int, bool], list[ir.Value]] = {}
        applied = 0
        for node in list(model.graph):
            weights = self._weights.get(node.name or "")
            old = node.inputs[1] if weights is not None else None
            if weights is None or old is None or old.producer() is not None:
                continue
            key = (id(weights), is_turned(node))
            if key not in made:
                made[key] = _constants(model, old.name or "", weights, turned=key[1])
            _dequantize(model.graph, node, made[key], weights)
            applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied)


def stored_type(bits: int, opset: int, *, symmetric: bool) -> np.dtype[np.generic]:
    """Element type of weights in a model of an operator set."""
    room = next(b for b in _TYPES if b >= bits and (b != 2 or opset >= TWO_BITS_OPSET))
    name = _TYPES[room][0 if symmetric else 1]
    return np.dtype(getattr(ml_dtypes, name, name))


def _constants(
    model: ir.Model, name: str, weights: PackedWeights, *, turned: bool
) -> list[ir.Value]:
    """Numbers, scales and, where they say something, zero points."""
    middle = 1 << weights.bits - 1
    signs = weights.bits == 1
    symmetric = signs or bool((weights.zeros == middle).all())
    dtype = stored_type(weights.bits, model.opset_imports[""], symmetric=symmetric)
    less = middle if symmetric else 0
    steps = weights.numbers.astype(np.int16) * (2 if signs else 1)
    numbers = (steps - less).astype(dtype)
    arrays = {"stored": numbers, "scale": _unblocked(weights.scales)}
    if not symmetric:
        arrays["zero_point"] = _unblocked(weights.zeros.astype(dtype))
    return [
        new_initializer(
            model.graph, f"{name}_{what}", np.ascontiguousarray(array.T if turned else array)
        )
        for what, array in arrays.items()
    ]


def _unblocked(parameters: AnyArray) -> AnyArray:
    """[blocks, N]; [N] of a single one."""
    return parameters[0] if len(parameters) == 1 else parameters


def _dequantize(
    graph: ir.Graph, node: ir.Node, constants: list[ir.Value], weights: PackedWeights
) -> None:
    old = node.inputs[1]
    assert old is not None
    single = len(weights.scales) == 1
    # Blocks lie along K; a single one has a scale per index of the other axis.
    axis = int(is_turned(node) != single)
    dequantize = new_node(
        graph,
        "DequantizeLinear",
        constants,
        like=node,
        attributes={"axis": axis, "block_size": None if single else weights.block},
        output=unused_name(graph, f"{node.name}_weights"),
    )
    dequantize.name = f"{node.name}_stored_DequantizeLinear"
    dequantize.outputs[0].type, dequantize.outputs[0].shape = old.type, old.shape
    node.prepend(dequantize)
    node.replace_input_with(1, dequantize.outputs[0])
