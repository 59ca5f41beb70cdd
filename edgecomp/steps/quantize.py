"""Calibration and the insertion of Quantize and Dequantize nodes."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.ranges import Range
from edgecomp.calibrate.readers import CalibrationSet
from edgecomp.debugging.metrics import finite
from edgecomp.debugging.search import float_step
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.opset import convert_opset
from edgecomp.options import WEIGHTS_PROPERTY, QuantizeOptions
from edgecomp.passes.add_bias import add_bias
from edgecomp.passes.choose_precision import quantized_values
from edgecomp.passes.correct_bias import Means
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.pipeline import run_passes
from edgecomp.passes.quantization_options import RECURRENT, InsertQdqOptions, check_options
from edgecomp.passes.quantization_scope import decide_scope, values_to_observe
from edgecomp.passes.quantize_recurrent_weights import QuantizeRecurrentWeightsPass
from edgecomp.passes.store_weights import LEAST_OPSET
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.recipe.recipe import Recipe
from edgecomp.schedules.cost import Table
from edgecomp.steps.beside import Stored, beside_passes, store_beside
from edgecomp.steps.biases import Calibrated, correct_biases, with_found, worth_correcting
from edgecomp.steps.calibrate import Calibration, Samples, calibrate, open_samples
from edgecomp.steps.choose_precision import PrecisionChoice, choose_layers
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
from edgecomp.steps.try_smoothing import worth_smoothing
from edgecomp.steps.value_products import multiplied_values
from edgecomp.steps.weight_rows import without_groups
from edgecomp.steps.without import left_out

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
        smoothed: names of the nodes whose inputs were smoothed, by strength.
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
    smoothed: tuple[frozenset[str], ...] = ()


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
    layers = choose_for_layers(
        model.graph,
        options,
        recipe,
        floats=floats,
        value_products=multiplied_values(options, target),
    )
    _require_data(source, options, layers)
    check_options(model, layers.qdq)
    with errors_about(source, only=_ABOUT_SAMPLES):
        samples = open_samples(model, options, source)
        smoothing = worth_smoothing(model, samples.feeds, layers, options, recipe, progress)
        layers = smoothing.layers(layers)
        before = constants_of(model)
        moved = move_scales(model, samples.feeds, layers, options, progress)
        calibration, tried = _calibrated(model, options, samples, layers, recipe, progress)
        ranges = {**calibration.ranges, **tried.ranges}
        qdq, choice = layers.qdq, None
        if options.precision == "auto" and target is not None:
            choice, ranges = _choose(model, ranges, qdq, options, progress, target, table)
            qdq = choice.options
        weights = _round(model, calibration.samples, qdq, layers, options, progress)
        constants = changed_constants(model, before)
        given = Calibrated(model, weights.trained, calibration.samples, ranges, weights.qdq)
        found = worth_correcting(given, options, recipe, progress)
        shifts = correct_biases(given, with_found(layers, found), progress)
    progress("insert quantization")
    recurrent = options.precision != "auto"  # no price says yet when weights alone pay
    inserted = insert_known(model, ranges, weights.qdq, weights.beside, recurrent=recurrent)
    _warn_without_groups(inserted.ungrouped)
    steps = [
        *float_step(_left_float(model, options, layers.qdq, qdq)),
        *smoothing.recipe_steps(),
        *tried.recipe_steps(),
        *found.recipe_steps(model.graph),
    ]
    facts: dict[str, Any] = {
        "precision": options.precision,
        "calibration_method": options.calibration_method,
        **calibration.facts,
        **smoothing.facts,
        **_told(tried),
        **found.facts,
        "corrected_biases": len(shifts),
        "stay_float": dict(sorted(inserted.stay_float.items())),
        **({"one_scale_per_output": inserted.ungrouped} if inserted.ungrouped else {}),
        "recipe": whole_recipe(options, recipe, floats=floats, found=steps).as_list(),
        **moved,
        **weights.facts,
    }
    model.metadata_props[RECIPE_PROPERTY] = json.dumps(facts["recipe"])
    model.meta[CALIBRATION_META] = calibration.facts
    return Quantization(
        calibration.samples.first[:GOLDEN_SAMPLES],
        _with_choice(model, {"quantization": facts}, choice, target)
        | weights.tell(model, inserted.ungrouped),
        options.precision,
        ranges,
        weights.qdq,
        shifts,
        beside=weights.beside,
        constants=constants,
        smoothed=tuple(layers.smoothed.values()),
    )


def _choose(
    model: ir.Model,
    ranges: Mapping[str, Range],
    qdq: InsertQdqOptions,
    options: QuantizeOptions,
    progress: Progress,
    target: Target,
    table: Table | None,
) -> tuple[PrecisionChoice, dict[str, Range]]:
    """What ``auto`` leaves float on a target, and the ranges that are left."""
    progress("choose the precision of each layer")
    choice = choose_layers(model, ranges, qdq, target, table=table, without=left_out(options))
    # Ranges of more values would widen those that share a scale with them.
    observed = values_to_observe(model.graph, choice.options)
    return choice, {name: ranges[name] for name in observed if name in ranges}


def _with_choice(
    model: ir.Model,
    facts: dict[str, Any],
    choice: PrecisionChoice | None,
    target: Target | None,
) -> dict[str, Any]:
    """The facts with those of what ``auto`` chose; the model keeps these too."""
    if choice is None or target is None:
        return facts
    facts["quantization"]["result"] = choice.result
    model.metadata_props[CHOICE_PROPERTY] = json.dumps(choice.facts, sort_keys=True)
    if choice.result == "float":
        logger.warning("the whole model stays float: int8 is not faster on %s", target.name)
    return facts | choice.facts


@dataclasses.dataclass(frozen=True)
class _Weights:
    """Weights whose stored numbers are chosen before ranges come in.

    Attributes:
        trained: the model as it was before.
        qdq: what is quantized, with the 4-bit weights that have scales of groups.
        beside: what layers of other precisions store.
        facts: for the report, of learned rounding.
        rows: the same, of each layer with 4-bit weights.
    """

    trained: ir.Model
    qdq: InsertQdqOptions
    beside: Stored
    facts: dict[str, Any]
    rows: list[dict[str, Any]]

    def tell(self, model: ir.Model, ungrouped: Mapping[str, str]) -> dict[str, Any]:
        """The rows for the report; the quantized model keeps them too.

        Args:
            model: gets them.
            ungrouped: layers that are stored without their groups, and why.
        """
        if not self.rows:
            return {}
        rows = [
            without_groups(row, ungrouped[row["node"]]) if row["node"] in ungrouped else row
            for row in self.rows
        ]
        model.metadata_props[WEIGHTS_PROPERTY] = json.dumps(rows, sort_keys=True)
        return {"weights": rows}


def _round(
    model: ir.Model,
    samples: CalibrationSet,
    qdq: InsertQdqOptions,
    layers: LayerChoices,
    options: QuantizeOptions,
    progress: Progress,
) -> _Weights:
    """Round weights in place where more than the nearest number is asked for."""
    trained = model.clone() if layers.rounded or layers.qdq.four_bits else model
    facts = learn_rounding(model, samples, qdq, layers.rounded, options, progress)
    rows: list[dict[str, Any]] = []
    if layers.qdq.four_bits:
        qdq, rows = round_four_bits(model, trained, samples, qdq, layers, options, progress)
    beside: Stored = {}
    if layers.beside:
        progress("store weights of other precisions")
        beside = store_beside(trained, samples, layers.beside, layers.to_nearest)
    return _Weights(trained, qdq, beside, facts, rows)


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
            "noise_by_mse": finite(tried.before),
            "noise": tried.after,
            "samples": tried.samples,
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


def _warn_without_groups(ungrouped: Mapping[str, str]) -> None:
    """Whoever asks for groups should hear which layers have none."""
    if ungrouped:
        name, reason = next(iter(ungrouped.items()))
        others = f"; {len(ungrouped) - 1} others like it" if len(ungrouped) > 1 else ""
        logger.warning(
            "'%s' has one scale per output, not one per group: %s%s", name, reason, others
        )


def repeat_quantization(model: ir.Model, known: Quantization) -> None:
    """Quantize a model as the same one was at other sizes of its dynamic dimensions."""
    if known.storing is not None:
        run_passes(model, [known.storing], dump_dir=None)
        return
    repeat_constants(model, known.constants, known.smoothed)
    nodes = {node.name: node for node in model.graph}
    for name, shift in known.shifts.items():
        add_bias(nodes[name], shift)
    recurrent = known.precision != "auto"
    insert_known(model, known.ranges, known.options, known.beside, recurrent=recurrent)


@dataclasses.dataclass(frozen=True)
class Inserted:
    """What was not stored as asked for.

    Attributes:
        stay_float: node name -> why it is float.
        ungrouped: node name -> why its weights have one scale per output, not one per group.
    """

    stay_float: dict[str, str]
    ungrouped: dict[str, str]


def insert_known(
    model: ir.Model,
    ranges: Mapping[str, Range],
    options: InsertQdqOptions,
    beside: Stored,
    *,
    recurrent: bool = True,
) -> Inserted:
    """Quantize by known ranges and weights.

    Args:
        model: float, its weights and biases as they are to be stored; changed in place.
        ranges: of values, by name.
        options: what is computed in integers.
        beside: what layers of other precisions store.
        recurrent: whether weights of recurrent nets are stored in 8 bits.
    """
    typed = options.four_bits or options.wide_weights or options.wide_activations or beside
    if typed and model.opset_imports.get("", 0) < LEAST_OPSET:
        convert_opset(model, LEAST_OPSET)
    insert = InsertQdqPass(ranges, options)
    passes: list[ir.passes.InPlacePass] = [insert]
    if recurrent:
        passes.append(QuantizeRecurrentWeightsPass(options))
    passes += beside_passes(beside)
    run_passes(model, passes)
    return Inserted(insert.refusals, insert.ungrouped)


def _values(graph: ir.Graph, qdq: InsertQdqOptions, options: QuantizeOptions) -> list[str]:
    """Names of the values whose ranges are needed: with ``auto`` any that may be stored."""
    if options.precision != "auto":
        return values_to_observe(graph, qdq)
    return [v.name or "" for v in quantized_values(decide_scope(graph, qdq, lambda _: ""))]
