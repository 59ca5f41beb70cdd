"""Take what rounded weights add to a product's results on average out of its bias.

    b'[c] = b[c] + sum_i (W[c, i] - W_stored[c, i]) * mean(x[i])

with the means of the float model's values: each product is corrected by itself. Unlike
``correct_bias`` it knows nothing of clipped and rounded activations, and takes nothing out that comes
from the layers before. A mean that few positions make, or some that do not matter, cannot spoil more
than the rounding of its own weights (Nagel et al., "Data-free quantization through weight
equalization and bias correction", 2019, section 4.2). Of a convolution all taps are taken to see the
mean of a channel: borders are few.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.qspaces import store_weights, weight_scales, weight_space
from edgecomp.calibrate.ranges import Range
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.run import Runner
from edgecomp.passes.add_bias import add_bias
from edgecomp.passes.correct_bias import MOST_SAMPLES, Feed, Means
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import Block, weight_channel_axis
from edgecomp.passes.scales.apply import as_matrix

#: Weights of fewer bits have scales by group, and methods of their own that make up for them.
_BITS = 8


def correct_weight_errors(
    model: ir.Model,
    samples: Iterable[Feed],
    ranges: Mapping[str, Range],
    options: InsertQdqOptions,
    *,
    shifts: dict[str, Means],
    only: Collection[str] | None = None,
    reference: ir.Model | None = None,
) -> int:
    """Change the biases of a float model; returns of how many products.

    Args:
        model: float, not quantized yet; changed in place.
        samples: feeds; the first ``MOST_SAMPLES`` are used.
        ranges: as for ``InsertQdqPass``; they decide which products become integer.
        options: as for ``InsertQdqPass``.
        shifts: receives what was added to the bias of each product, by the node's name.
        only: names of the nodes that are corrected, None for all.
        reference: float model with the weights as trained, where those of ``model`` are rounded.
    """
    scope = InsertQdqPass(ranges, options).scope_of(model.graph)
    nodes = [
        block.node
        for block in scope.blocks
        if can_correct(block, options) and (only is None or block.node.name in only)
    ]
    trained = {node.name: node for node in (reference or model).graph}
    means = _means(reference or model, samples, nodes)
    for node in nodes:
        assert node.inputs[0] is not None
        matrix = as_matrix(node, _lost(node, trained[node.name], options)).sum(axis=2)
        mean = means[node.inputs[0].name or ""]
        groups = mean.size // matrix.shape[1]
        read = np.repeat(mean.reshape(groups, -1), len(matrix) // groups, axis=0)
        shift: Means = (matrix * read).sum(axis=1)
        add_bias(node, shift)
        shifts[node.name or ""] = shift
    return len(nodes)


def can_correct(block: Block, options: InsertQdqOptions) -> bool:
    """Whether a block is a product whose weights' rounding can be made up for."""
    return block.is_product and options.weight_bits(block.node) == _BITS


def _lost(node: ir.Node, trained: ir.Node, options: InsertQdqOptions) -> AnyArray:
    """Weights as trained less what is stored of them."""
    weight, wanted = constant_array(node.inputs[1]), constant_array(trained.inputs[1])
    assert weight is not None
    assert wanted is not None
    axis = weight_channel_axis(node)
    space = weight_space(per_channel=options.is_per_channel(node))
    scales = weight_scales(weight, axis, space)
    form = [1] * weight.ndim
    form[axis] = -1
    stored = store_weights(weight, scales, axis, space).astype(np.float64)
    lost: AnyArray = wanted.astype(np.float64) - stored * scales.astype(np.float64).reshape(
        form
    )
    return lost


def _means(
    model: ir.Model, samples: Iterable[Feed], nodes: Collection[ir.Node]
) -> dict[str, Means]:
    """Mean of each channel of what the nodes read."""
    axes = {
        value.name or "": 1 if node.op_type == "Conv" else -1
        for node in nodes
        if (value := node.inputs[0]) is not None
    }
    given = {value.name for value in model.graph.inputs}
    runner = Runner(model, [name for name in axes if name not in given], optimize=True)
    totals: dict[str, Means] = {}
    count = 0
    for sample in itertools.islice(samples, MOST_SAMPLES):
        values = {**sample, **(runner(sample) if runner.names else {})}
        count += 1
        for name, axis in axes.items():
            array = np.moveaxis(values[name], axis, -1)
            mean = array.reshape(-1, array.shape[-1]).mean(0, dtype=np.float64)
            totals[name] = totals.get(name, 0.0) + mean
    return {name: total / count for name, total in totals.items()}
