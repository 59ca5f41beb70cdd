"""Weights as floats of fewer bits, everything else in float32."""

import json
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
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
    progress("round the weights")
    scope_options = InsertQdqOptions(
        nodes_to_exclude=options.nodes_to_exclude,
        op_types_to_quantize=options.op_types_to_quantize,
    )
    scope = narrow_scope(model, scope_options, dtype)
    rows = [_row(node, dtype) for node in scope.nodes]
    store = NarrowWeightsPass([node.name or "" for node in scope.nodes], dtype)
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


def _row(node: ir.Node, dtype: str) -> Mapping[str, Any]:
    """A layer in the report."""
    weight = constant_array(node.inputs[WEIGHTS[node.op_type][0]])
    assert weight is not None
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    return {
        "node": node.name or "",
        "shape": list(weight.shape),
        "float_bytes": weight.nbytes,
        "bytes": weight.size * kind.itemsize,
        "method": "rtn",
        "weight_error": _error(weight, kind),
    }


def _error(weight: AnyArray, dtype: np.dtype[Any]) -> float:
    """``||W - Q||^2 / ||W||^2``, 0 for weights that are all 0."""
    lost = weight - weight.astype(dtype).astype(np.float32)
    power = float(np.vdot(weight, weight))
    return float(np.float32(np.vdot(lost, lost) / power)) if power else 0.0
