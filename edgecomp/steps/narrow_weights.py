"""Weights as floats of fewer bits, everything else in float32."""

from collections.abc import Mapping

import onnx_ir as ir

from edgecomp.compress.narrow import narrowed, real
from edgecomp.graph.constants import constant_array
from edgecomp.graph.narrow_weights import NarrowWeights, output_axis
from edgecomp.options import WEIGHT_TYPES, QuantizeOptions
from edgecomp.passes.narrow_scope import WEIGHTS, narrow_scope
from edgecomp.passes.narrow_weights import NarrowWeightsPass
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.steps.quantize import Quantization
from edgecomp.steps.stored_alone import scope_options, store_alone
from edgecomp.steps.weight_rows import rounded_row


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
    scope = narrow_scope(model, scope_options(options), dtype)
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
        stored = weights[node.name or ""] = made[value, axis]
        back, size = real(stored, axis), _stored_bytes(stored, dtype)
        rows.append(rounded_row(node.name or "", weight, back, size))
    facts = {
        "activations": "float32",
        "method": "rtn",
        "stay_float": {each.node: each.reason for each in scope.refusals},
    }
    return store_alone(model, options, NarrowWeightsPass(weights), rows, facts, [sample])


def _stored_bytes(stored: NarrowWeights, dtype: str) -> int:
    """Of numbers and scales; powers of two take half a byte in a bundle."""
    scale_bytes = 0 if stored.scale is None else stored.scale.nbytes
    numbers = -(-stored.numbers.size // 2) if dtype == "log2" else stored.numbers.nbytes
    return numbers + scale_bytes
