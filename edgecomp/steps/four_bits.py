"""4-bit weights of 8-bit products, rounded so that a layer's results change least.

GPTQ chooses them for MatMul and Gemm, with a scale per output or with one per group of inputs, which
are whole multiples of one per output so that sums stay integers; weights of convolutions are rounded
to nearest, or by AdaRound where that is asked for. What is chosen becomes the model's float weights,
which are stored as the same numbers.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.values_in_order import ValuesInOrder
from edgecomp.compress.grid import Real, WeightForm
from edgecomp.compress.weight_layers import StoredLayer, hessian_of, store_layer
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.edit import set_constant_input
from edgecomp.graph.packed_weights import is_turned, weight_matrix
from edgecomp.options import QuantizeOptions
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import decide_scope
from edgecomp.passes.weight_scope import few_bit_products, require_group
from edgecomp.progress import Progress
from edgecomp.steps.recipe import LayerChoices
from edgecomp.steps.weight_rows import layer_row

#: Rounded layers by name, group and method.
Known = dict[tuple[str, int, str], StoredLayer]

#: Scales of groups are up to so many times that of the output: 4 bits times it are 8 bits.
LARGEST_MULTIPLE = 15


def round_four_bits(
    model: ir.Model,
    trained: ir.Model,
    samples: Iterable[Mapping[str, AnyArray]],
    qdq: InsertQdqOptions,
    layers: LayerChoices,
    options: QuantizeOptions,
    progress: Progress,
    known: Known | None = None,
) -> tuple[InsertQdqOptions, list[dict[str, Any]]]:
    """Replace the weights of products in place.

    Args:
        model: float.
        trained: the same with its own weights: what layers read is computed by it, so that a
            layer's weights depend on no other's precision.
        samples: feeds, iterable again.
        qdq: what is quantized, and which weights to 4 bits.
        layers: whose rounding was learned already, which have groups, and by which method others are
            rounded.
        options: of the build.
        progress: told about the step.
        known: layers that were rounded before for the same samples; receives those of now.

    Returns:
        What is quantized, with the weights that have groups; rows for the report, one a layer.
    """
    products = _products(model, qdq, layers)
    if not products:
        return qdq, []
    if options.group_size is not None and options.group_size > 0:
        require_group(products, options.group_size)
    known = {} if known is None else known
    read = {node.name: node.inputs[0] for node in trained.graph}
    values = ValuesInOrder(trained, samples)
    moments: dict[ir.Value, Real | None] = {}
    rows, grouped = [], {}
    for number, node in enumerate(products):
        progress("round 4-bit weights", number, len(products))
        name = node.name or ""
        group = layers.groups.get(name, 0)
        method = "rtn" if name in layers.to_nearest else "gptq"
        if (name, group, method) not in known:
            value = read[name]
            assert value is not None
            if method == "gptq" and value not in moments:
                moments = {value: hessian_of(values.of(value))}  # those before are large
            known[name, group, method] = _stored(node, group, method, moments.get(value))
        layer = known[name, group, method]
        if group:
            grouped[name] = layer.weights
        matrix = layer.weights.real()
        set_constant_input(
            node, 1, np.ascontiguousarray(matrix.T if is_turned(node) else matrix)
        )
        rows.append(layer_row(name, layer))
    return dataclasses.replace(qdq, grouped=grouped), rows


def _products(model: ir.Model, qdq: InsertQdqOptions, layers: LayerChoices) -> list[ir.Node]:
    """MatMul and Gemm with 4-bit weights whose rounding is not chosen yet.

    Storing those without groups rounds to nearest.
    """
    possible = few_bit_products(model.graph)
    blocks = decide_scope(model.graph, qdq, lambda _: "").blocks
    in_integers = {block.node.name for block in blocks}
    return [
        node
        for node in model.graph
        if (node.name or "") in qdq.four_bits
        and possible.get(node.name or "") == ""
        and node.name not in layers.rounded
        and node.name in in_integers
        and (node.name in layers.groups or node.name not in layers.to_nearest)
    ]


def _stored(node: ir.Node, group: int, method: str, moments: Real | None) -> StoredLayer:
    form = WeightForm(
        bits=4,
        group=group,
        symmetric=True,
        ranges="mse",
        multiples=LARGEST_MULTIPLE if group else 0,
    )
    return store_layer(weight_matrix(node).astype(np.float64), form, method, moments)
