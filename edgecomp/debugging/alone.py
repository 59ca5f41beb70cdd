"""Models that compute every layer from the float model's values: each quantized alone.

Made of the quantized model, so that scales, weights and what is fused are those of a build: every
QuantizeLinear of a computed value reads a graph input instead, and the results of the layers are
the graph outputs. One run then evaluates all of them.
"""

import dataclasses
import enum
from collections.abc import Collection, Mapping, Sequence

import onnx_ir as ir

from edgecomp.debugging.layers import Layer
from edgecomp.graph.constants import constant_array, is_constant, new_initializer
from edgecomp.graph.edit import remove_unused


class Part(enum.Enum):
    """What of the layers is quantized."""

    ALL = "all"
    INPUTS = "inputs"
    WEIGHTS = "weights"


@dataclasses.dataclass(frozen=True)
class AloneModel:
    """A model of separate layers.

    Attributes:
        model: to run.
        inputs: name of a graph input -> name of the float value that it is fed with.
        outputs: name of a value of the float model -> name of the graph output that is it.
    """

    model: ir.Model
    inputs: dict[str, str]
    outputs: dict[str, str]


def result_names(quantized: ir.Model, layers: Sequence[Layer]) -> dict[str, str]:
    """Name of each layer's result in the float model -> in the quantized one.

    They differ where a graph output is stored.
    """
    nodes = {node.name: node for node in quantized.graph}
    return {
        name: value.name or ""
        for layer in layers
        for name, value in zip(
            layer.outputs, nodes[layer.nodes[-1]].outputs, strict=True
        )
    }  # fmt: skip


def alone_model(
    quantized: ir.Model,
    plain: ir.Model,
    layers: Sequence[Layer],
    wanted: Collection[str],
    part: Part = Part.ALL,
) -> AloneModel:
    """Cut a quantized model into its layers.

    Args:
        quantized: with the nodes of ``plain``; not changed.
        plain: the float model it was made of, for weights that are not quantized.
        layers: of the model.
        wanted: names of layers whose results are wanted.
        part: what is quantized.
    """
    names = result_names(quantized, layers)
    originals = {own: name for name, own in names.items()}
    model = quantized.clone()
    inputs = _feed_quantizers(model, originals, keep=part is not Part.WEIGHTS)
    if part is Part.INPUTS:
        _restore_constants(model, plain, {n for layer in layers for n in layer.nodes})
    values = {v.name: v for node in model.graph for v in node.outputs}
    chosen = {
        name: names[name] for layer in layers if layer.name in wanted for name in layer.outputs
    }
    model.graph.outputs.clear()
    model.graph.outputs.extend(values[own] for own in chosen.values())
    remove_unused(model)
    for value in list(model.graph.inputs):
        if not value.uses():
            model.graph.inputs.remove(value)
            inputs.pop(value.name or "", None)
    return AloneModel(model, inputs, chosen)


def _feed_quantizers(
    model: ir.Model, originals: Mapping[str, str], *, keep: bool
) -> dict[str, str]:
    """Let what reads stored values read graph inputs, through rounding where ``keep``."""
    fed: dict[str, ir.Value] = {}
    inputs: dict[str, str] = {}
    for node in list(model.graph):
        if node.op_type != "QuantizeLinear" or is_constant(node.inputs[0]):
            continue
        value = node.inputs[0]
        assert value is not None
        name = originals.get(value.name or "", value.name or "")
        if name not in fed:
            fed[name] = ir.Value(name=f"{name}:float", shape=value.shape, type=value.type)
            model.graph.inputs.append(fed[name])
            inputs[f"{name}:float"] = name
        if keep:
            node.replace_input_with(0, fed[name])
            continue
        for use in tuple(node.outputs[0].uses()):
            for reader in tuple(use.node.outputs[0].uses()):
                reader.node.replace_input_with(reader.idx, fed[name])
    return inputs


def _restore_constants(model: ir.Model, plain: ir.Model, names: Collection[str]) -> None:
    """Give the layers their float weights and biases back."""
    before = {node.name: node for node in plain.graph}
    for node in list(model.graph):
        if node.name not in names:
            continue
        for index, value in enumerate(before[node.name].inputs):
            array = constant_array(value)
            own = node.inputs[index]
            if array is None or own is None or is_constant(own):
                continue
            name = f"{node.name}:{index}:float"
            node.replace_input_with(index, new_initializer(model.graph, name, array))
