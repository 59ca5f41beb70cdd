"""Weights as floats of fewer bits, everything else in float32."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.compress.narrow import narrowed, real
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.narrow_weights import NarrowWeights, output_axis
from edgecomp.options import WEIGHT_TYPES, WEIGHTS_PROPERTY, QuantizeOptions
from edgecomp.passes.narrow_scope import WEIGHTS, narrow_scope
from edgecomp.passes.narrow_weights import NarrowWeightsPass
from edgecomp.passes.pipeline import run_passes
from edgecomp.passes.quantization_scope import InsertQdqOptions
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.steps.quantize import Quantization


def narrow_weights(
    model: ir.Model,
    options: QuantizeOptions,
    progress: Progress,
    sample: Mapping[str, Array],
) -> Quantization:
    """Round a float model's weights to the type of the precision, in place.

    Args:
        model: after the float passes.
        options: how.
        progress: told about the step.
        sample: inputs for golden vectors.

    Raises:
        EdgecompError: USAGE.
    """
    dtype = WEIGHT_TYPES[options.precision]
    scope_options = InsertQdqOptions(
        nodes_to_exclude=options.nodes_to_exclude,
        op_types_to_quantize=options.op_types_to_quantize,
    )
    scope = narrow_scope(model, scope_options, dtype)
    made: dict[tuple[ir.Value, int | None], NarrowWeights] = {}
    weights, rows = {}, []
    for number, node in enumerate(scope.nodes):
        progress("round the weights", number, len(scope.nodes))
        value = node.inputs[WEIGHTS[node.op_type][0]]
        assert value is not None
        weight = constant_array(value)
        assert weight is not None
        axis = None
        if options.per_channel and node.op_type != "Gather":
            axis = output_axis(node)
        if (value, axis) not in made:
            made[value, axis] = narrowed(weight, dtype, axis)
        weights[node.name or ""] = made[value, axis]
        rows.append(_row(node.name or "", weight, made[value, axis], axis, dtype))
    store = NarrowWeightsPass(weights)
    run_passes(model, [store], dump_dir=None)
    model.metadata_props[WEIGHTS_PROPERTY] = json.dumps(rows, sort_keys=True)
    facts = {
        "quantization": {
            "precision": options.precision,
            "activations": "float32",
            "method": "rtn",
            "samples": 0,
            "stay_float": {each.node: each.reason for each in scope.refusals},
        },
        "weights": rows,
    }
    return Quantization(
        [dict(sample)], facts, options.precision, {}, scope_options, {}, storing=store
    )


def _row(
    name: str, weight: AnyArray, stored: NarrowWeights, axis: int | None, dtype: str
) -> Mapping[str, Any]:
    """A layer in the report; its error is ``||W - Q||^2 / ||W||^2``, 0 where all are 0."""
    lost, power = weight - real(stored, axis), float(np.vdot(weight, weight))
    scale_bytes = 0 if stored.scale is None else stored.scale.nbytes
    number_bytes = -(-stored.numbers.size // 2) if dtype == "log2" else stored.numbers.nbytes
    return {
        "node": name,
        "shape": list(weight.shape),
        "float_bytes": weight.nbytes,
        "bytes": number_bytes + scale_bytes,
        "method": "rtn",
        "weight_error": float(np.float32(np.vdot(lost, lost) / power)) if power else 0.0,
    }
