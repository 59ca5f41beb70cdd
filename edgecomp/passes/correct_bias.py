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
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.calibrate.ranges import Range
from edgecomp.calibrate.values_in_order import ValuesInOrder
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.run import Runner
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.add_bias import add_bias
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import decide_scope

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
        samples: feeds; of the first ``MOST_SAMPLES`` as many as fit into ``MOST_BYTES`` are used.
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
    values = {value.name: value for node in quantized.graph for value in node.outputs}
    pieces = ValuesInOrder(quantized, used, memory_bytes=None, optimize=False)
    for done, product in enumerate(products):
        value = values[product.result]
        shift = expected[product.result] - _mean(pieces.of(value), product.axis)
        pieces.change(value, functools.partial(_shifted, amount=shift, axis=product.axis))
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
    """Evenly from the first samples: neighbours in a set are often alike."""
    largest = max(
        int(np.prod(static_shape(value) or (0,))) for n in model.graph for value in n.outputs
    )
    # A piece reads and writes a few values of up to the largest size.
    most = max(1, min(MOST_SAMPLES, MOST_BYTES // max(1, 4 * 4 * largest)))
    read: list[Feed] = []
    size = 0
    for sample in samples:
        size += sum(array.nbytes for array in sample.values())
        if read and size > MOST_BYTES:
            break
        read.append(sample)
        if len(read) == MOST_SAMPLES:
            break
    count = min(most, len(read))
    return [read[index * len(read) // count] for index in range(count)]


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


def _mean(arrays: Iterable[AnyArray], axis: int) -> Means:
    means = [_channel_mean(array, axis) for array in arrays]
    return np.asarray(sum(means) / len(means), np.float64)


def _shifted(array: AnyArray, amount: Means, axis: int) -> AnyArray:
    """What a new bias does to the result of its product."""
    form = [1] * array.ndim
    form[axis] = -1
    shifted: AnyArray = (array + amount.reshape(form)).astype(array.dtype)
    return shifted


def _channel_mean(array: AnyArray, axis: int) -> Means:
    channels_last = np.moveaxis(array, axis, -1)
    mean: Means = channels_last.reshape(-1, channels_last.shape[-1]).mean(0, dtype=np.float64)
    return mean
