"""Take the mean error that quantization leaves in every product's result out of its bias.

    b'[c] = b[c] + mean(y_float[c]) - mean(y_quantized[c])

Rounded weights and clipped activations shift the mean of a channel, and shifts add up through the
layers. The products are corrected in execution order, each with everything before it quantized and
corrected already: correcting all of them at once would take the shifts that travel on out twice
(Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019,
appendix: empirical bias correction).

The quantized model is run in pieces, one per product, over all samples at a time: together they
cost about one run of the model per sample.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.calibrate.ranges import Range
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.run import Runner
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.add_bias import add_bias
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_scope import InsertQdqOptions, decide_scope

#: Means of a channel settle with few samples: every pixel counts.
MOST_SAMPLES = 64
#: Values between two pieces, of all samples together.
MOST_BYTES = 512 << 20

Means = npt.NDArray[np.float64]
Feed = Mapping[str, AnyArray]


@dataclasses.dataclass(frozen=True)
class _Product:
    """A product that is computed in integers.

    Attributes:
        node: its name.
        result: name of its float value behind the bias.
        axis: dimension of the result that holds the channels.
    """

    node: str
    result: str
    axis: int


def correct_bias(
    model: ir.Model,
    samples: Iterable[Feed],
    ranges: Mapping[str, Range],
    options: InsertQdqOptions,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    shifts: dict[str, Means] | None = None,
    only: Collection[str] | None = None,
    reference: ir.Model | None = None,
) -> int:
    """Change the biases of a float model so that it loses less when it is quantized.

    Args:
        model: float, not quantized yet; changed in place. Its own results change by what is
            corrected: it is for ``InsertQdqPass`` with the same ranges and options.
        samples: feeds; the first ``MOST_SAMPLES``, or as many as fit into ``MOST_BYTES``, are used.
        ranges: as for ``InsertQdqPass``.
        options: as for ``InsertQdqPass``.
        progress: told (products done, products in all).
        shifts: receives what was added to the bias of each product, by the node's name.
        only: names of the nodes that are corrected, None for all.
        reference: float model whose means the products shall have, where the weights of ``model``
            are rounded already.

    Returns:
        How many products were corrected.
    """
    quantized = model.clone()
    insert = InsertQdqPass(ranges, options)
    insert(quantized)
    products = [
        product
        for product in _products(model, quantized, options, insert.refusals)
        if only is None or product.node in only
    ]
    if not products:
        return 0
    used = _some(samples, quantized)
    expected = _float_means(reference or model, used, products)
    nodes = {node.name: node for node in model.graph}
    pieces = _Pieces(quantized, used)
    for done, product in enumerate(products):
        shift = expected[product.result] - pieces.advance(product)
        pieces.shift(product, shift)
        add_bias(nodes[product.node], shift)
        if shifts is not None:
            shifts[product.node] = shift
        progress(done + 1, len(products))
    return len(products)


def _products(
    model: ir.Model,
    quantized: ir.Model,
    options: InsertQdqOptions,
    refusals: Mapping[str, str],
) -> list[_Product]:
    """The products that became integer, in the order of the quantized graph."""
    scope = decide_scope(model.graph, options, lambda _: "")
    found = {
        (block.add or block.node).outputs[0].name: block.node
        for block in scope.blocks
        if block.is_product and block.node.name not in refusals
    }
    return [
        _Product(found[value.name].name or "", value.name, _axis(found[value.name]))
        for node in quantized.graph
        for value in node.outputs
        if value.name is not None and value.name in found
    ]


def _axis(node: ir.Node) -> int:
    return 1 if node.op_type == "Conv" else -1


def _some(samples: Iterable[Feed], model: ir.Model) -> list[Feed]:
    largest = max(
        int(np.prod(static_shape(value) or (0,))) for n in model.graph for value in n.outputs
    )
    # A piece reads and writes a few values of up to the largest size.
    most = max(1, min(MOST_SAMPLES, MOST_BYTES // max(1, 4 * 4 * largest)))
    used: list[Feed] = []
    for sample in samples:
        used.append(sample)
        if len(used) == most:
            break
    return used


def _float_means(
    model: ir.Model, samples: Sequence[Feed], products: Sequence[_Product]
) -> dict[str, Means]:
    runner = Runner(model, [product.result for product in products])
    totals: dict[str, Means] = {}
    for sample in samples:
        results = runner(sample)
        for product in products:
            mean = _channel_mean(results[product.result], product.axis)
            totals[product.result] = totals.get(product.result, 0.0) + mean
    return {name: total / len(samples) for name, total in totals.items()}


def _channel_mean(array: AnyArray, axis: int) -> Means:
    channels_last = np.moveaxis(array, axis, -1)
    mean: Means = channels_last.reshape(-1, channels_last.shape[-1]).mean(0, dtype=np.float64)
    return mean


class _Pieces:
    """The quantized model, run up to one product after the other.

    For each sample it keeps the values that nodes before the cut made and nodes after it read.
    """

    def __init__(self, model: ir.Model, samples: Sequence[Feed]) -> None:
        self._model = model
        self._nodes = list(model.graph)
        self._position = 0
        self._live: list[dict[str, AnyArray]] = [dict(sample) for sample in samples]

    def advance(self, product: _Product) -> Means:
        """Run up to and with a product; the mean of its result per channel."""
        start = self._position
        end = start
        while product.result not in {v.name for v in self._nodes[end].outputs}:
            end += 1
        self._position = end + 1
        inside = self._nodes[start : end + 1]
        made = {v for node in inside for v in node.outputs}
        after = {v for node in self._nodes[end + 1 :] for v in _reads(node)}
        outputs = [v for v in made if v in after or v.name == product.result]
        inputs = [
            v
            for v in dict.fromkeys(v for node in inside for v in _reads(node))
            if v not in made and (v.producer() is not None or v.is_graph_input())
        ]
        part = ir.convenience.extract(self._model.graph, inputs, outputs)
        names = [v.name or "" for v in outputs]
        piece = ir.Model(part, ir_version=self._model.ir_version)
        runner = Runner(piece, names)
        kept = {v.name or "" for v in after}
        total: Means | float = 0.0
        for live in self._live:
            results = runner({v.name or "": live[v.name or ""] for v in inputs})
            total = total + _channel_mean(results[product.result], product.axis)
            live.update(results)
            for name in [name for name in live if name not in kept]:
                del live[name]
        return np.asarray(total / len(self._live), np.float64)

    def shift(self, product: _Product, amount: Means) -> None:
        """Correct the product's result: what its new bias will do."""
        for live in self._live:
            if product.result not in live:
                continue
            array = live[product.result]
            form = [1] * array.ndim
            form[product.axis] = -1
            live[product.result] = (array + amount.reshape(form)).astype(array.dtype)


def _reads(node: ir.Node) -> set[ir.Value]:
    """Values that a node or its subgraphs read."""
    found = {value for value in node.inputs if value is not None}
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            inner = ir.traversal.RecursiveGraphIterator(attribute.as_graph())
            found.update(v for n in inner for v in n.inputs if v is not None)
    return found
