"""Calibration and the insertion of Quantize and Dequantize nodes."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.ranges import Range
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.opset import convert_opset
from edgecomp.options import WEIGHTS_PROPERTY, QuantizeOptions
from edgecomp.passes.add_bias import add_bias
from edgecomp.passes.choose_precision import quantized_values
from edgecomp.passes.correct_bias import Means
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.pipeline import run_passes
from edgecomp.passes.quantization_scope import (
    RECURRENT,
    InsertQdqOptions,
    check_options,
    decide_scope,
    values_to_observe,
)
from edgecomp.passes.quantize_recurrent_weights import QuantizeRecurrentWeightsPass
from edgecomp.passes.store_weights import LEAST_OPSET
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.recipe.recipe import Recipe
from edgecomp.schedules.cost import Table
from edgecomp.schedules.cpu import winograd
from edgecomp.steps.beside import Stored, beside_passes, store_beside
from edgecomp.steps.biases import correct_biases, worth_correcting
from edgecomp.steps.calibrate import Calibration, Samples, calibrate, open_samples
from edgecomp.steps.choose_precision import choose_layers
from edgecomp.steps.corrections import (
    Constants,
    changed_constants,
    constants_of,
    learn_rounding,
    move_scales,
    repeat_constants,
)
from edgecomp.steps.four_bits import round_four_bits
from edgecomp.steps.held_back import decides_by_itself
from edgecomp.steps.recipe import (
    RECIPE_PROPERTY,
    LayerChoices,
    choose_for_layers,
    whole_recipe,
)
from edgecomp.steps.source import errors_about
from edgecomp.steps.try_ranges import CANDIDATES, RangeTrial, try_ranges

logger = logging.getLogger(__name__)

#: Where a model that ``auto`` chose for keeps the decision, as JSON.
CHOICE_PROPERTY = "edgecomp.precision_choice"
#: Where a model has what calibration found, in the process only.
CALIBRATION_META = "edgecomp.calibration"
#: Errors that are about the calibration data, not about the model.
_ABOUT_SAMPLES = (Code.CALIBRATION_EMPTY, Code.CALIBRATION_INVALID, Code.CALIBRATION_DOUBTFUL)
#: Samples whose outputs are kept in the bundle for ``verify``.
GOLDEN_SAMPLES = 2


@dataclasses.dataclass(frozen=True)
class Quantization:
    """What calibration found and decided.

    Attributes:
        samples: for golden vectors.
        facts: for the manifest and the report: ``quantization``, and with ``auto`` those of the
            choice.
        precision: as asked for.
        ranges: of values, by name.
        options: what is quantized.
        shifts: of biases, by the node's name.
        storing: what stored the weights, where nothing else is quantized.
        beside: what layers of other precisions store.
        constants: that corrections changed before, by the node's name and the input.
    """

    samples: list[dict[str, Array]]
    facts: dict[str, Any]
    precision: str
    ranges: Mapping[str, Range]
    options: InsertQdqOptions
    shifts: Mapping[str, Means]
    storing: ir.passes.InPlacePass | None = None
    beside: Stored = dataclasses.field(default_factory=dict)
    constants: Constants = dataclasses.field(default_factory=dict)


def insert_quantization(
    model: ir.Model,
    options: QuantizeOptions,
    progress: Progress,
    dataset: Any,
    target: Target | None = None,
    table: Table | None = None,
    *,
    recipe: Recipe | None = None,
    floats: bool = False,
) -> Quantization:
    """Calibrate a float model and quantize it in place, or with ``auto`` where it pays.

    Args:
        model: after the float passes.
        options: how.
        progress: told about every step.
        dataset: samples, in place of ``options.calibration_data``.
        target: device that the precision ``auto`` chooses for.
        table: measured times of layers on it.
        recipe: what is done to which layer.
        floats: whether layers that no step of it names stay float.

    Raises:
        EdgecompError: USAGE, CALIBRATION_EMPTY, CALIBRATION_INVALID, CALIBRATION_DOUBTFUL,
            RECIPE_INVALID.
    """
    recipe = recipe or Recipe()
    source = options.calibration_data if dataset is None else dataset
    layers = choose_for_layers(model.graph, options, recipe, floats=floats)
    _require_data(source, options, layers)
    qdq = layers.qdq
    check_options(model, qdq)
    rows: list[dict[str, Any]] = []
    beside: Stored = {}
    with errors_about(source, only=_ABOUT_SAMPLES):
        samples = open_samples(model, options, source)
        before = constants_of(model)
        corrections = move_scales(model, samples.feeds, layers, options, progress)
        calibration, tried = _calibrated(model, options, samples, layers, recipe, progress)
        ranges = {**calibration.ranges, **tried.ranges}
        choice = None
        if options.precision == "auto" and target is not None:
            progress("choose the precision of each layer")
            without = () if getattr(options, "winograd", True) else (winograd.NAME,)
            choice = choose_layers(model, ranges, qdq, target, table=table, without=without)
            qdq = choice.options
            # Ranges of more values would widen those that share a scale with them.
            observed = values_to_observe(model.graph, qdq)
            ranges = {name: ranges[name] for name in observed if name in ranges}
        given = calibration.samples
        trained = model.clone() if layers.rounded or layers.qdq.four_bits else model
        corrections |= learn_rounding(model, given, qdq, layers.rounded, options, progress)
        if layers.qdq.four_bits:
            rounded = (layers.rounded, layers.groups)
            qdq, rows = round_four_bits(
                model, trained, given, qdq, *rounded, options, progress
            )
        constants = changed_constants(model, before)
        if layers.beside:
            progress("store weights of other precisions")
            beside = store_beside(trained, given, layers.beside)
        found = worth_correcting(model, trained, given, ranges, qdq, options, recipe, progress)
        corrected, shifts = correct_biases(
            model, trained, given, ranges, qdq, layers, found, progress
        )
    progress("insert quantization")
    refusals = _insert(model, ranges, qdq, options.precision, beside)
    steps = whole_recipe(
        options,
        recipe,
        floats=floats,
        chosen=_left_float(model, options, layers.qdq, qdq),
        ranges=tried.steps,
        corrected=[node.name or "" for node in model.graph if node.name in found.products],
        by_weights=found.by_weights,
    ).as_list()
    facts: dict[str, Any] = {
        "quantization": {
            "precision": options.precision,
            "calibration_method": options.calibration_method,
            **calibration.facts,
            **_told(tried),
            "corrected_biases": corrected,
            "stay_float": dict(sorted(refusals.items())),
            "recipe": steps,
            **corrections,
        },
        **({"weights": rows} if rows else {}),
    }
    if choice is not None and target is not None:
        facts["quantization"]["result"] = choice.result
        facts |= choice.facts
        model.metadata_props[CHOICE_PROPERTY] = json.dumps(choice.facts, sort_keys=True)
        if choice.result == "float":
            logger.warning(
                "the whole model stays float: int8 is not faster on %s", target.name
            )
    model.metadata_props[RECIPE_PROPERTY] = json.dumps(steps)
    if rows:
        model.metadata_props[WEIGHTS_PROPERTY] = json.dumps(rows, sort_keys=True)
    model.meta[CALIBRATION_META] = calibration.facts
    return Quantization(
        calibration.samples.first[:GOLDEN_SAMPLES],
        facts,
        options.precision,
        ranges,
        qdq,
        shifts,
        beside=beside,
        constants=constants,
    )


def _require_data(source: Any, options: QuantizeOptions, layers: LayerChoices) -> None:
    if source is None and not options.data_free:
        raise EdgecompError(
            Code.USAGE,
            f"precision {options.precision} needs calibration data",
            hint="give a folder of typical images, an .npy or .npz file or a script",
        )
    if options.data_free and (layers.equalized or layers.smoothed):
        raise EdgecompError(
            Code.RECIPE_INVALID,
            "--data-free: not together with equalize and smooth_quant",
            path=str(options.recipe),
            hint="leave those steps out, or give calibration data",
        )


def _calibrated(
    model: ir.Model,
    options: QuantizeOptions,
    samples: Samples,
    layers: LayerChoices,
    recipe: Recipe,
    progress: Progress,
) -> tuple[Calibration, RangeTrial]:
    """Ranges of values, and those that samples which are held back prefer to them."""
    values = _values(model.graph, layers.qdq, options)
    others = CANDIDATES if chooses_ranges(options, recipe) else ()
    found = calibrate(model, options, samples, values, progress, layers.ranges, others)
    if not others:
        return found, RangeTrial()
    ranges = found.ranges
    return found, try_ranges(
        model, found.samples, ranges, found.others, layers.qdq, progress, reference=model
    )


def chooses_ranges(options: QuantizeOptions, recipe: Recipe) -> bool:
    """Whether a build tries other ranges by itself."""
    return (
        options.range_trials
        and options.calibration_method == "mse"
        and decides_by_itself(options, recipe)
    )


def _told(tried: RangeTrial) -> dict[str, Any]:
    """Of the ranges, for the report."""
    if not tried.steps:
        return {}
    return {
        "ranges_chosen": {
            "steps": [
                {"method": method, "percentile": percentile, "layers": len(names)}
                for (method, percentile), names in tried.steps
            ],
            "noise_by_mse": tried.before,
            "noise": tried.after,
            "held_back_samples": tried.samples,
        }
    }


def _left_float(
    model: ir.Model,
    options: QuantizeOptions,
    asked: InsertQdqOptions,
    found: InsertQdqOptions,
) -> list[str]:
    """Names of the nodes that ``auto`` left float, recurrent nets among them."""
    if options.precision != "auto":
        return []
    nets = [node.name or "" for node in model.graph if node.op_type in RECURRENT]
    return [name for name in (*found.stay_float, *nets) if name not in asked.stay_float]


def repeat_quantization(model: ir.Model, known: Quantization) -> None:
    """Quantize a model as the same one was at other sizes of its dynamic dimensions."""
    if known.storing is not None:
        run_passes(model, [known.storing], dump_dir=None)
        return
    repeat_constants(model, known.constants)
    nodes = {node.name: node for node in model.graph}
    for name, shift in known.shifts.items():
        add_bias(nodes[name], shift)
    _insert(model, known.ranges, known.options, known.precision, known.beside)


def _insert(
    model: ir.Model,
    ranges: Mapping[str, Range],
    options: InsertQdqOptions,
    precision: str,
    beside: Stored,
) -> dict[str, str]:
    """Quantize by known ranges and weights; returns the nodes that stay float, and why."""
    typed = options.four_bits or options.wide_weights or options.wide_activations or beside
    if typed and model.opset_imports.get("", 0) < LEAST_OPSET:
        convert_opset(model, LEAST_OPSET)
    insert = InsertQdqPass(ranges, options)
    passes: list[ir.passes.InPlacePass] = [insert]
    if precision != "auto":  # no price says yet when weights alone pay
        passes.append(QuantizeRecurrentWeightsPass(options))
    passes += beside_passes(beside)
    run_passes(model, passes)
    return insert.refusals


def _values(graph: ir.Graph, qdq: InsertQdqOptions, options: QuantizeOptions) -> list[str]:
    """Names of the values whose ranges are needed: with ``auto`` any that may be stored."""
    if options.precision != "auto":
        return values_to_observe(graph, qdq)
    return [v.name or "" for v in quantized_values(decide_scope(graph, qdq, lambda _: ""))]
