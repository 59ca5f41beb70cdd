"""Weights that are stored by themselves, without calibrated ranges: what the ways have in common."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.options import WEIGHTS_PROPERTY, QuantizeOptions
from edgecomp.passes.pipeline import run_passes
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.plan.values import Array
from edgecomp.steps.quantize import Quantization


def scope_options(options: QuantizeOptions) -> InsertQdqOptions:
    """Which operators' weights are stored."""
    return InsertQdqOptions(
        nodes_to_exclude=options.nodes_to_exclude,
        op_types_to_quantize=options.op_types_to_quantize,
        per_channel=options.per_channel,
    )


def store_alone(
    model: ir.Model,
    options: QuantizeOptions,
    store: ir.passes.InPlacePass,
    rows: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    samples: Sequence[Mapping[str, Array]],
) -> Quantization:
    """Store weights in place.

    Args:
        model: float, after the float passes.
        options: precision, and what is stored.
        store: the pass that does it.
        rows: of the layers, for the report; the model keeps them too.
        facts: for the report: ``activations``, ``method``, ``stay_float`` and what else there is.
        samples: inputs for golden vectors.
    """
    run_passes(model, [store], dump_dir=None)
    model.metadata_props[WEIGHTS_PROPERTY] = json.dumps(rows, sort_keys=True)
    told = {"precision": options.precision, "samples": 0, **facts}
    return Quantization(
        [dict(sample) for sample in samples],
        {"quantization": told, "weights": rows},
        options.precision,
        {},
        scope_options(options),
        {},
        storing=store,
    )
