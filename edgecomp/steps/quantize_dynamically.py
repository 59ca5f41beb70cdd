"""Products in integers whose activations are quantized while the model runs."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.frontend.opset import convert_opset
from edgecomp.graph.constants import AnyArray
from edgecomp.options import DYNAMIC_BITS, WEIGHTS_PROPERTY, QuantizeOptions
from edgecomp.passes.dynamic_scope import (
    dynamic_matrix,
    dynamic_products,
    integer_matrix,
)
from edgecomp.passes.pipeline import run_passes
from edgecomp.passes.quantization_scope import InsertQdqOptions
from edgecomp.passes.quantize_dynamically import IntegerMatrix, QuantizeDynamicallyPass
from edgecomp.passes.store_weights import LEAST_OPSET
from edgecomp.passes.weight_scope import weight_scope
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.steps.quantize import Quantization


def quantize_dynamically(
    model: ir.Model, options: QuantizeOptions, progress: Progress, sample: Mapping[str, Array]
) -> Quantization:
    """Quantize a float model's products in place.

    Args:
        model: after the float passes.
        options: how.
        progress: told about the step.
        sample: inputs for golden vectors.

    Raises:
        EdgecompError: USAGE.
    """
    bits = DYNAMIC_BITS[options.precision]
    if bits < 8 and model.opset_imports.get("", 0) < LEAST_OPSET:
        convert_opset(model, LEAST_OPSET)
    scope_options = InsertQdqOptions(
        nodes_to_exclude=options.nodes_to_exclude,
        op_types_to_quantize=options.op_types_to_quantize,
        per_channel=options.per_channel,
    )
    scope = weight_scope(model, scope_options)
    refusals = {each.node: each.reason for each in scope.refusals}
    reasons = dynamic_products(model.graph)
    refusals = {name: reasons.get(name) or reason for name, reason in refusals.items()}
    weights: dict[str, IntegerMatrix] = {}
    rows = []
    for number, node in enumerate(scope.products):
        progress("store the weights", number, len(scope.products))
        reason = reasons[node.name or ""]
        if reason:
            refusals[node.name or ""] = reason
            continue
        matrix = dynamic_matrix(node)
        stored = integer_matrix(matrix, bits, per_channel=options.per_channel)
        weights[node.name or ""] = stored
        rows.append(_row(node.name or "", matrix, stored, bits))
    store = QuantizeDynamicallyPass(weights)
    run_passes(model, [store], dump_dir=None)
    model.metadata_props[WEIGHTS_PROPERTY] = json.dumps(rows, sort_keys=True)
    facts = {
        "quantization": {
            "precision": options.precision,
            "activations": "uint8, while the model runs",
            "method": "rtn",
            "samples": 0,
            "stay_float": refusals,
        },
        "weights": rows,
    }
    return Quantization(
        [dict(sample)], facts, options.precision, {}, scope_options, {}, storing=store
    )


def _row(name: str, matrix: AnyArray, stored: IntegerMatrix, bits: int) -> dict[str, Any]:
    """A layer in the report; its error is ``||W - Q||^2 / ||W||^2``."""
    lost = matrix - stored.numbers.astype(np.float32) * stored.scales
    power = float(np.vdot(matrix, matrix))
    return {
        "node": name,
        "shape": list(matrix.shape),
        "float_bytes": matrix.nbytes,
        "bytes": -(-matrix.size * bits // 8) + stored.scales.nbytes,
        "method": "rtn",
        "weight_error": float(np.float32(np.vdot(lost, lost) / power)) if power else 0.0,
    }
