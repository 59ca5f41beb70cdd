"""The layers of a model that can be quantized, as debugging sees them.

A layer reads stored values and has stored weights; what it gives is float. Storing its result is
for the layers that read it: left float, they read the result as it is.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array, is_constant
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import source_of
from edgecomp.passes.quantization_scope import Block, Scope, weight_channel_axis


@dataclasses.dataclass(frozen=True)
class Layer:
    """An operator that is computed in integers, with what is computed together with it.

    Attributes:
        name: of its node; recipes name it so.
        operator: ONNX type, with those of its bias and activation.
        source: line of Python it came from, or "".
        nodes: names of all its nodes.
        inputs: names of the variable values that it reads stored.
        outputs: names of its results.
        weight: name of its weights, "" without.
        multiply_adds: of one inference; 0 where there are no weights.
    """

    name: str
    operator: str
    source: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight: str
    multiply_adds: int


def layers_of(scope: Scope) -> list[Layer]:
    """The layers of a decision, in execution order."""
    return [_layer(block) for block in scope.blocks]


def share_of_multiply_adds(some: Sequence[str], layers: Sequence[Layer]) -> float:
    """Part of the layers' multiply-adds that layers of these names have."""
    total = sum(layer.multiply_adds for layer in layers)
    own = sum(layer.multiply_adds for layer in layers if layer.name in some)
    return own / total if total else 0.0


def _layer(block: Block) -> Layer:
    weight = block.node.inputs[1] if block.is_product else None
    return Layer(
        block.node.name or "",
        "+".join(node.op_type for node in block.nodes),
        source_of(block.node),
        tuple(node.name or "" for node in block.nodes),
        tuple(dict.fromkeys(v.name or "" for v in block.input_values if not is_constant(v))),
        tuple(v.name or "" for v in block.outputs),
        (weight.name or "") if weight is not None else "",
        _multiply_adds(block.node, weight),
    )


def _multiply_adds(node: ir.Node, weight: ir.Value | None) -> int:
    array = constant_array(weight)
    if array is None:
        return 0
    channels = array.shape[weight_channel_axis(node)]
    outputs = int(np.prod(static_shape(node.outputs[0]) or (0,)))
    return outputs * int(array.size // max(1, channels))
