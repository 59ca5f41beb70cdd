"""Biases of a quantized model: those that were asked for, and those that pay by themselves."""

from collections.abc import Iterable, Mapping

import onnx_ir as ir

from edgecomp.calibrate.ranges import Range
from edgecomp.options import QuantizeOptions
from edgecomp.passes.correct_bias import Means, correct_bias
from edgecomp.passes.correct_weight_errors import correct_weight_errors
from edgecomp.passes.quantization_scope import InsertQdqOptions
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.recipe.recipe import Recipe
from edgecomp.steps.held_back import decides_by_itself
from edgecomp.steps.recipe import LayerChoices
from edgecomp.steps.try_bias import Trial, try_bias


def worth_correcting(
    model: ir.Model,
    trained: ir.Model,
    samples: Iterable[Mapping[str, Array]],
    ranges: Mapping[str, Range],
    qdq: InsertQdqOptions,
    options: QuantizeOptions,
    recipe: Recipe,
    progress: Progress,
) -> Trial:
    """Products whose biases are corrected though nobody asked; none where a recipe decides."""
    if options.bias_correction is not None or not decides_by_itself(options, recipe):
        return Trial()
    return try_bias(model, samples, ranges, qdq, progress, reference=trained)


def correct_biases(
    model: ir.Model,
    trained: ir.Model,
    samples: Iterable[Mapping[str, Array]],
    ranges: Mapping[str, Range],
    qdq: InsertQdqOptions,
    layers: LayerChoices,
    found: Trial,
    progress: Progress,
) -> tuple[int, dict[str, Means]]:
    """Correct them in place.

    Args:
        model: float, after all that changes its weights.
        trained: as it was before.
        samples: of the calibration.
        ranges: of values, by name.
        qdq: what is quantized.
        layers: what was asked for.
        found: what pays.
        progress: told how far it is.

    Returns:
        How many were corrected, and by what, by the node's name.
    """
    shifts: dict[str, Means] = {}
    corrected = 0
    by_weights = layers.weights_corrected | (found.products if found.by_weights else set())
    by_means = layers.corrected | (set() if found.by_weights else found.products)
    if by_weights:
        corrected += correct_weight_errors(
            model, samples, ranges, qdq, shifts=shifts, only=by_weights, reference=trained
        )
    if by_means:
        corrected += correct_bias(
            model,
            samples,
            ranges,
            qdq,
            progress=lambda done, total: progress("correct biases", done, total),
            shifts=shifts,
            only=by_means,
            reference=trained,
        )
    return corrected, shifts
