"""Biases of a quantized model: those that were asked for, and those that pay by themselves."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping

import onnx_ir as ir

from edgecomp.calibrate.ranges import Range
from edgecomp.options import QuantizeOptions
from edgecomp.passes.add_bias import add_bias
from edgecomp.passes.correct_bias import Means, correct_bias
from edgecomp.passes.correct_weight_errors import can_correct, correct_weight_errors
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import decide_scope
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.recipe.recipe import Recipe
from edgecomp.steps.held_back import decides_by_itself
from edgecomp.steps.recipe import LayerChoices
from edgecomp.steps.try_bias import Trial, try_bias

#: What was added to the biases of products, by the nodes' names.
Shifts = dict[str, Means]

_BY_WEIGHTS, _BY_MEANS = "weights", "means"


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """A float model before its biases are corrected.

    Attributes:
        model: after all that changes its weights; its biases are changed in place.
        trained: as it was before.
        samples: of the calibration.
        ranges: of values, by name.
        qdq: what is quantized.
    """

    model: ir.Model
    trained: ir.Model
    samples: Iterable[Mapping[str, Array]]
    ranges: Mapping[str, Range]
    qdq: InsertQdqOptions


def worth_correcting(
    given: Calibrated, options: QuantizeOptions, recipe: Recipe, progress: Progress
) -> Trial:
    """Products whose biases are corrected though nobody asked; none where a recipe decides."""
    if options.bias_correction is not None or not decides_by_itself(options, recipe):
        return Trial()
    return try_bias(
        given.model, given.samples, given.ranges, given.qdq, progress, reference=given.trained
    )


def with_found(layers: LayerChoices, found: Trial) -> LayerChoices:
    """What was asked for, and what pays."""
    kind = "weights_corrected" if found.by_weights else "corrected"
    return dataclasses.replace(layers, **{kind: getattr(layers, kind) | found.products})


def correct_biases(
    given: Calibrated,
    layers: LayerChoices,
    progress: Progress,
    known: dict[str, Shifts] | None = None,
) -> Shifts:
    """Correct them in place.

    Args:
        given: the model.
        layers: which products, and by what.
        progress: told how far it is.
        known: shifts of all products by each kind of correction, as they were found with other
            layers in integers: those are repeated. Receives the others.

    Returns:
        What was added.
    """
    known = {} if known is None else known
    if given.trained is given.model and layers.weights_corrected and layers.corrected:
        # The second kind looks at the float model, which the first must not have changed.
        given = dataclasses.replace(given, trained=given.model.clone())
    added: Shifts = {}
    for kind, names in (
        (_BY_WEIGHTS, layers.weights_corrected),
        (_BY_MEANS, layers.corrected),
    ):
        if names and kind in known:
            added |= _repeat(given, kind, names, known[kind])
        elif names:
            known[kind] = _correct(given, kind, names, progress)
            added |= known[kind]
    return added


def _correct(
    given: Calibrated, kind: str, names: Collection[str], progress: Progress
) -> Shifts:
    shifts: Shifts = {}
    if kind == _BY_WEIGHTS:
        correct_weight_errors(
            given.model,
            given.samples,
            given.ranges,
            given.qdq,
            shifts=shifts,
            only=names,
            reference=given.trained,
        )
        return shifts
    correct_bias(
        given.model,
        given.samples,
        given.ranges,
        given.qdq,
        progress=lambda done, total: progress("correct biases", done, total),
        shifts=shifts,
        only=names,
        reference=given.trained,
    )
    return shifts


def _repeat(given: Calibrated, kind: str, names: Collection[str], known: Shifts) -> Shifts:
    """Those of the products that are in integers."""
    scope = decide_scope(given.model.graph, given.qdq, lambda _: "")
    nodes = {
        block.node.name or "": block.node
        for block in scope.blocks
        if kind == _BY_MEANS or can_correct(block, given.qdq)
    }
    shifts = {name: known[name] for name in nodes if name in names and name in known}
    for name, shift in shifts.items():
        add_bias(nodes[name], shift)
    return shifts
