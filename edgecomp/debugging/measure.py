"""Compare every layer of a quantized model with float, alone and with all before it."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.parts import in_parts
from edgecomp.debugging.alone import AloneModel, Part, alone_model, result_names
from edgecomp.debugging.layers import Layer
from edgecomp.debugging.metrics import Similarity
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.run import Runner
from edgecomp.graph.shapes import static_shape

Feed = Mapping[str, AnyArray]

#: Results of one sample, of all models together, that may be in memory at once.
MEMORY_BYTES = 512 << 20
#: Float, quantized and three kinds of alone.
_COPIES = 5


@dataclasses.dataclass(frozen=True)
class LayerFigures:
    """How one layer's results differ from float.

    Attributes:
        alone: only this layer is quantized.
        accumulated: everything up to it is.
        inputs: only what it reads is.
        weights: only its weights and bias are; None without.
    """

    alone: Similarity
    accumulated: Similarity
    inputs: Similarity
    weights: Similarity | None


def measure_layers(
    plain: ir.Model,
    quantized: ir.Model,
    layers: Sequence[Layer],
    feeds: Iterable[Feed],
    *,
    weights_of: ir.Model | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, LayerFigures]:
    """Run both models, and every layer alone, over samples.

    Args:
        plain: float.
        quantized: made of it, names kept.
        layers: that are quantized.
        feeds: samples; read once for each part of the layers whose results fit into memory.
        weights_of: the float model with the weights that were quantized, where their biases
            were corrected.
        progress: told (parts of the work done, in all).
    """
    parts = in_parts(layers, _bytes_of(plain), MEMORY_BYTES)
    figures: dict[str, LayerFigures] = {}
    for index, part in enumerate(parts):
        found = {layer.name: _empty(layer) for layer in part}
        runs = _Runs(plain, quantized, layers, part, weights_of or plain)
        for count, feed in enumerate(feeds):
            runs.add(feed, found)
            progress(index * 100 + min(count + 1, 99), len(parts) * 100)
        figures.update(found)
    return figures


def _empty(layer: Layer) -> LayerFigures:
    return LayerFigures(
        Similarity(),
        Similarity(),
        Similarity(divergence=False),
        Similarity(divergence=False) if layer.weight else None,
    )


class _Runs:
    """The models for some of the layers."""

    def __init__(
        self,
        plain: ir.Model,
        quantized: ir.Model,
        layers: Sequence[Layer],
        part: Sequence[Layer],
        weights_of: ir.Model,
    ) -> None:
        wanted = {layer.name for layer in part}
        self._layers = part
        self._alone = {
            kind: alone_model(quantized, weights_of, layers, wanted, kind) for kind in Part
        }
        self._names = result_names(quantized, part)
        graph_inputs = {value.name for value in plain.graph.inputs}
        needed = [
            *(name for each in self._alone.values() for name in each.inputs.values()),
            *self._names,
        ]
        values = [name for name in dict.fromkeys(needed) if name not in graph_inputs]
        self._plain = Runner(plain, values)
        self._quantized = Runner(quantized, list(self._names.values()))
        self._runners = {
            kind: Runner(each.model, list(each.outputs.values()))
            for kind, each in self._alone.items()
        }

    def add(self, feed: Feed, figures: Mapping[str, LayerFigures]) -> None:
        """One sample."""
        expected = {**feed, **self._plain(feed)}
        found = self._quantized(feed)
        for layer in self._layers:
            for name in layer.outputs:
                figures[layer.name].accumulated.add(expected[name], found[self._names[name]])
        del found
        for kind in Part:
            results = self._run_alone(self._alone[kind], self._runners[kind], expected)
            for layer in self._layers:
                own = figures[layer.name]
                to = {Part.ALL: own.alone, Part.INPUTS: own.inputs, Part.WEIGHTS: own.weights}
                similarity = to[kind]
                for name in layer.outputs if similarity is not None else ():
                    assert similarity is not None
                    similarity.add(expected[name], results[name])

    @staticmethod
    def _run_alone(
        alone: AloneModel, runner: Runner, expected: Mapping[str, AnyArray]
    ) -> dict[str, AnyArray]:
        results = runner({own: expected[name] for own, name in alone.inputs.items()})
        return {name: results[own] for name, own in alone.outputs.items()}


def _bytes_of(model: ir.Model) -> Callable[[Layer], int]:
    """Of a layer: what its values take in all models together."""
    values = [*model.graph.inputs, *(v for node in model.graph for v in node.outputs)]
    sizes = {v.name: 4 * int(np.prod(static_shape(v) or (0,))) for v in values}
    return lambda layer: (
        _COPIES * sum(sizes.get(name, 0) for name in (*layer.inputs, *layer.outputs))
    )
