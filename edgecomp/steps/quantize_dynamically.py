"""Products in integers whose activations are quantized while the model runs."""

from collections.abc import Mapping

import ml_dtypes
import numpy as np
import onnx_ir as ir

from edgecomp.compress.grid import WeightForm
from edgecomp.compress.round_to_nearest import round_to_nearest
from edgecomp.frontend.opset import convert_opset
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.grouped_scales import common_unit
from edgecomp.options import DYNAMIC_BITS, QuantizeOptions
from edgecomp.passes.dynamic_scope import (
    dynamic_matrix,
    dynamic_products,
    integer_matrix,
)
from edgecomp.passes.quantize_dynamically import IntegerMatrix, QuantizeDynamicallyPass
from edgecomp.passes.store_weights import LEAST_OPSET
from edgecomp.passes.weight_scope import require_group, weight_scope
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.steps.four_bits import LARGEST_MULTIPLE
from edgecomp.steps.quantize import Quantization
from edgecomp.steps.stored_alone import scope_options, store_alone
from edgecomp.steps.weight_rows import rounded_row


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
    scope = weight_scope(model, scope_options(options))
    refusals = {each.node: each.reason for each in scope.refusals}
    reasons = dynamic_products(model.graph)
    refusals = {name: reasons.get(name) or reason for name, reason in refusals.items()}
    group = max(0, options.group_size or 0)
    if group:
        require_group([each for each in scope.products if not reasons[each.name or ""]], group)
    weights: dict[str, IntegerMatrix] = {}
    rows = []
    for number, node in enumerate(scope.products):
        progress("store the weights", number, len(scope.products))
        reason = reasons[node.name or ""]
        if reason:
            refusals[node.name or ""] = reason
            continue
        matrix = dynamic_matrix(node)
        stored = (
            grouped_matrix(matrix, group)
            if group
            else integer_matrix(matrix, bits, per_channel=options.per_channel)
        )
        weights[node.name or ""] = stored
        back = stored.whole().astype(np.float32) * stored.scales
        multiples = 0 if stored.multiples is None else stored.multiples.nbytes
        size = -(-matrix.size * bits // 8) + stored.scales.nbytes + multiples
        rows.append(rounded_row(node.name or "", matrix, back, size))
    facts = {
        "activations": "uint8, while the model runs",
        "method": "rtn",
        "stay_float": refusals,
    }
    store = QuantizeDynamicallyPass(weights)
    return store_alone(model, options, store, rows, facts, [sample])


def grouped_matrix(matrix: AnyArray, group: int) -> IntegerMatrix:
    """4-bit weights rounded to nearest, with scales of groups that are multiples of one per output.

    Args:
        matrix: float32 [K, N].
        group: elements of K with one scale; it divides K.
    """
    form = WeightForm(bits=4, group=group, ranges="mse", multiples=LARGEST_MULTIPLE)
    stored = round_to_nearest(matrix.astype(np.float64), form)
    found = common_unit(stored.scales)
    assert found is not None  # they are short multiples of one
    unit, multiples = found
    numbers = (stored.numbers.astype(np.int8) - 8).astype(ml_dtypes.int4)
    return IntegerMatrix(numbers, unit, multiples.astype(np.float32))
