"""Corrections of a float model before it is quantized: scales that move, weights that round."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.product_inputs import observe_inputs
from edgecomp.graph.edit import set_constant_input
from edgecomp.graph.run import random_feeds
from edgecomp.options import QuantizeOptions
from edgecomp.passes.equalize_layers import EqualizeLayersPass
from edgecomp.passes.pipeline import run_passes
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.smooth_activations import SmoothActivationsPass, products_to_observe
from edgecomp.passes.split_normalisations import (
    JoinNormalisationsPass,
    SplitNormalisationsPass,
)
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.steps.recipe import LayerChoices
from edgecomp.steps.round_weights import round_weights

logger = logging.getLogger(__name__)

#: Rows of a product on which the strength of smoothing is searched.
SEARCH_ROWS = 128

Feed = Mapping[str, Array]
#: Constants by the node's name and the index of the input.
Constants = Mapping[tuple[str, int], Array]


Tensors = Mapping[tuple[str, int], ir.TensorProtocol]


def move_scales(
    model: ir.Model,
    samples: Iterable[Feed],
    layers: LayerChoices,
    options: QuantizeOptions,
    progress: Progress,
) -> dict[str, Any]:
    """Equalize layers and smooth activations in place.

    The float model computes the same bits.

    Args:
        model: after the float passes.
        samples: feeds, iterable again.
        layers: which ones.
        options: ``seed``, ``verify_passes``.
        progress: told about each step.

    Returns:
        Facts for the report: correction -> lines.
    """
    facts: dict[str, Any] = {}
    if layers.equalized:
        progress("equalize layers")
        facts["equalized"] = _run(model, EqualizeLayersPass(layers.equalized), options)
    smoothed = [
        _run(model, SplitNormalisationsPass(names), options)
        for names in layers.smoothed.values()
    ]
    for alpha, names in layers.smoothed.items():
        progress("smooth activations")
        products = products_to_observe(model.graph, names)
        rows = SEARCH_ROWS if alpha is None else 0
        inputs = observe_inputs(model, samples, products, rows=rows, seed=options.seed)
        smoothed.append(_run(model, SmoothActivationsPass(inputs, alpha, names), options))
    if smoothed:
        _run(model, JoinNormalisationsPass(), options)
        facts["smoothed"] = {
            key: [line for each in smoothed for line in each[key]] for key in smoothed[0]
        }
    return facts


def learn_rounding(
    model: ir.Model,
    samples: Iterable[Feed],
    qdq: InsertQdqOptions,
    rounded: Collection[str],
    options: QuantizeOptions,
    progress: Progress,
) -> dict[str, Any]:
    """Learn how the weights of the nodes named are rounded, in place; facts for the report."""
    if not rounded:
        return {}
    count = round_weights(
        model,
        samples,
        qdq,
        only=rounded,
        seed=options.seed,
        progress=lambda done, total: progress("round weights", done, total),
    )
    return {"weight_rounding": "adaround", "rounded_products": count}


def changed_constants(model: ir.Model, before: Tensors) -> Constants:
    """What differs from the constants that a model had, for the same model at other sizes."""
    return {
        key: tensor.numpy()
        for key, tensor in constants_of(model).items()
        if before.get(key) is not tensor
    }


def repeat_constants(
    model: ir.Model, constants: Constants, smoothed: Sequence[Collection[str]]
) -> None:
    """Give a model the constants that the same one got at other sizes of its dimensions.

    Args:
        model: as the other one was before ``move_scales``.
        constants: what changed there.
        smoothed: names of the products that were smoothed, by strength and in its order.
    """
    run_passes(model, [SplitNormalisationsPass(names) for names in smoothed])
    nodes = {node.name or "": node for node in model.graph}
    for (name, index), array in constants.items():
        set_constant_input(nodes[name], index, array)
    if smoothed:
        run_passes(model, [JoinNormalisationsPass()])


def _run(
    model: ir.Model, each: ir.passes.InPlacePass, options: QuantizeOptions
) -> dict[str, Sequence[str]]:
    feeds = random_feeds(model, seed=options.seed) if options.verify_passes else None
    (report,) = run_passes(model, [each], verify_feeds=feeds)
    return {
        "layers": list(report.notes),
        "refused": [f"{each.node}: {each.reason}" for each in report.refusals],
    }


def constants_of(model: ir.Model) -> dict[tuple[str, int], ir.TensorProtocol]:
    """Initializers as the nodes of the main graph read them."""
    return {
        (node.name or "", index): value.const_value
        for node in model.graph
        for index, value in enumerate(node.inputs)
        if value is not None and value.is_initializer() and value.const_value is not None
    }
