"""Quantize under budgets: build candidates, measure them, repair until the limits hold.

1. All layers in 8 bits, by the flags. Where that holds it is the answer.
2. Settings that keep all layers in 8 bits: ranges by another method, biases that are corrected,
   weights whose rounding is learned. What takes noise from the outputs is measured with the metric.
3. Layers with more bits: every layer's noise is measured alone and as its share of the whole, its
   time and bytes are priced, and the cheapest assignment within a noise is solved for
   (``budget.assignment``). The metric of each candidate says which noise to allow next
   (``budget.tolerance``), its noise corrects the figures of the layers (``budget.noise``).

With ``--ranges-by-metric`` the metric chooses ranges before the second step
(``steps.ranges_by_metric``), with or without limits.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.budget.metric import Measured, Metric, ModelRun
from edgecomp.budget.problem import FLOAT, Groups, groups_by_target, groups_of
from edgecomp.budget.result import BudgetReport, Limits
from edgecomp.calibrate.histogram import Histogram
from edgecomp.calibrate.observe import collect_histograms
from edgecomp.calibrate.ranges import METHODS
from edgecomp.calibrate.readers import CalibrationSet
from edgecomp.debugging.layers import layers_of
from edgecomp.debugging.outputs import FloatOutputs
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.qdq import is_quantized
from edgecomp.graph.shapes import static_shape
from edgecomp.lower.price import price_conversions
from edgecomp.options import BudgetOptions, QuantizeOptions
from edgecomp.passes.choose_precision import price_layers, quantized_values
from edgecomp.passes.quantization_options import InsertQdqOptions, check_options
from edgecomp.passes.quantization_scope import decide_scope, values_to_observe
from edgecomp.plan.prices import Price
from edgecomp.progress import Progress
from edgecomp.recipe.read import recipe_of
from edgecomp.recipe.recipe import Recipe
from edgecomp.steps.budget_ladder import offer_ladder
from edgecomp.steps.budget_measure import Measures, model_run
from edgecomp.steps.budget_prices import Pricing
from edgecomp.steps.budget_search import Search
from edgecomp.steps.calibrate import calibrate, open_samples
from edgecomp.steps.corrections import move_scales
from edgecomp.steps.debug_trials import Quantized, Trials
from edgecomp.steps.prepare import float_options, prepare
from edgecomp.steps.ranges_by_metric import scores_of
from edgecomp.steps.recipe import LayerChoices, choose_for_layers, whole_recipe, with_recipe
from edgecomp.steps.source import errors_about
from edgecomp.steps.try_smoothing import SmoothingTrial, worth_smoothing
from edgecomp.steps.value_products import multiplied_values

logger = logging.getLogger(__name__)

#: Errors that are about the calibration data, not about the model.
_ABOUT_SAMPLES = (Code.CALIBRATION_EMPTY, Code.CALIBRATION_INVALID, Code.CALIBRATION_DOUBTFUL)
#: Samples that the noise of candidates is measured on.
_SAMPLES = 16


def search_budget(
    source: Any,
    options: BudgetOptions,
    progress: Progress,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    dataset: Any = None,
    target: Target | None = None,
) -> BudgetReport:
    """Choose settings and precisions of layers under limits.

    Args:
        source: float model as given to ``api.build``.
        options: limits, metric, and how the model is quantized.
        progress: told about every step.
        args: example inputs of a torch module.
        kwargs: keyword example inputs of a torch module.
        dataset: samples, in place of ``options.calibration_data``.
        target: device that it is for; its kernels decide which layers go together, and prices.

    Raises:
        EdgecompError: ACCURACY_GATE, LATENCY_GATE, POLICY_GATE where nothing is within the limits;
            METRIC_INVALID; what ``prepare`` raises; CALIBRATION_EMPTY, CALIBRATION_INVALID,
            RECIPE_INVALID, USAGE.
    """
    data = options.calibration_data if dataset is None else dataset
    if data is None:
        raise EdgecompError(
            Code.USAGE,
            "budgets need calibration data",
            hint="give a folder of typical images, an .npy or .npz file or a script",
        )
    asked, recipe = with_recipe(options)
    reading = float_options(options)
    model = prepare(source, reading, progress, args=args, kwargs=kwargs, target=target).model
    _require_float(model)
    floats = options.precision == FLOAT
    value_products = multiplied_values(asked, target)
    choices = choose_for_layers(
        model.graph, asked, recipe, floats=floats, value_products=value_products
    )
    with errors_about(data, only=_ABOUT_SAMPLES):
        read = _read(model, options, asked, recipe, choices, data, progress)
    trials = Trials(
        model,
        asked,
        recipe,
        read.histograms,
        read.samples,
        read.reference,
        floats=floats,
        value_products=value_products,
    )
    trials.begin_as_a_build(read.smoothing, progress)
    pricing = Pricing.of(target, options)
    groups = _offered(trials, pricing, options)
    measures = Measures(
        trials,
        read.reference,
        read.metric,
        1.0 if options.metric_direction == "higher-better" else -1.0,
        pricing,
        options,
        progress,
        read.float_metric,
    )
    limits = _limits(options, read.float_metric)
    search = Search(measures, limits, groups, options)
    chosen = search.run()
    steps = Recipe((*trials.recipe.steps, *recipe_of(list(chosen.steps)).steps))
    return BudgetReport(
        limits,
        read.float_metric,
        tuple(measures.candidates),
        measures.candidates.index(chosen),
        whole_recipe(asked, steps, floats=floats).as_list(),
        search.objective_words,
        search.ranges,
    )


@dataclasses.dataclass(frozen=True)
class _Read:
    """What the samples say about the float model.

    Attributes:
        samples: of the calibration.
        histograms: of all values that some recipe may store.
        reference: a few samples with float's outputs.
        metric: of a model that is described in words; None where none was given.
        float_metric: of the float model.
        smoothing: what was moved in it though nobody asked.
    """

    samples: CalibrationSet
    histograms: Mapping[str, Histogram]
    reference: FloatOutputs
    metric: Callable[[ModelRun, str], Measured] | None
    float_metric: float | None
    smoothing: SmoothingTrial


def _read(
    model: ir.Model,
    options: BudgetOptions,
    asked: QuantizeOptions,
    recipe: Recipe,
    choices: LayerChoices,
    data: Any,
    progress: Progress,
) -> _Read:
    """Look at the samples; scales move in the model where that is asked for or pays.

    Args:
        model: float.
        options: as they were given.
        asked: with the precision of the recipe.
        recipe: steps that there are.
        choices: what is done to the layers.
        data: of the calibration.
        progress: told about every step.
    """
    given = Metric(options.metric) if options.metric else None
    check_options(model, choices.qdq)
    _require_histograms(asked, choices)
    # What is to be said about the samples is said before anything is searched with them.
    values = values_to_observe(model.graph, choices.qdq)
    opened = open_samples(model, asked, data)
    samples = calibrate(model, asked, opened, values, progress, choices.ranges).samples
    metric, float_metric = None, None
    if given is not None:
        metric = functools.partial(_with_samples, given, samples)
        progress("measure the float model")
        found = metric(model_run(model))
        float_metric = found.value
        if options.ranges_by_metric:
            scores_of(found.scores, options.metric)
    smoothing = worth_smoothing(model, samples, choices, asked, recipe, progress)
    move_scales(model, samples, smoothing.layers(choices), asked, progress)
    histograms = collect_histograms(
        model,
        samples,
        _may_be_stored(model),
        progress=lambda done, total: progress("calibrate", done, total or 0),
    )
    few = dataclasses.replace(asked, num_samples=min(_SAMPLES, samples.used or _SAMPLES))
    reference = FloatOutputs(model, open_samples(model, few, data).feeds)
    return _Read(samples, histograms, reference, metric, float_metric, smoothing)


def _with_samples(
    metric: Metric, samples: CalibrationSet, run: ModelRun, what: str = "the float model"
) -> Measured:
    return metric(run, samples, what)


def _limits(options: BudgetOptions, float_metric: float | None) -> Limits:
    drop = None
    if float_metric is not None and options.max_drop:
        drop = options.allowed_drop(float_metric)
    seconds = None if options.max_ms is None else options.max_ms * 1e-3
    return Limits(drop, options.max_bytes, seconds)


def _offered(trials: Trials, pricing: Pricing, options: BudgetOptions) -> Groups:
    """The layers that are decided together, with what each precision costs them.

    Raises:
        EdgecompError: USAGE where there are none.
    """
    first = trials.quantized()
    if not first.scope.blocks:
        raise EdgecompError(
            Code.USAGE,
            "no layer of the model can be quantized, so that there is nothing to choose",
            hint="'edgecomp check' lists its operators; leave the budgets out",
        )
    plain = pricing.prices(trials.model)
    groups = _groups(first, plain, pricing)
    if not options.has_limits:
        return groups
    counted = options.max_bytes is not None
    return offer_ladder(trials, first, groups, plain, pricing, bytes_count=counted)


def _require_float(model: ir.Model) -> None:
    if is_quantized(model):
        raise EdgecompError(
            Code.MODEL_INVALID,
            "the model is quantized already: nothing is left to choose",
            hint="give the float model that it was made of, or leave the budgets out",
        )


def _require_histograms(options: QuantizeOptions, choices: LayerChoices) -> None:
    """Every candidate takes its ranges from the same histograms."""
    used = {options.calibration_method, *(method for method, _ in choices.ranges.values())}
    other = sorted(used - set(METHODS))
    if other:
        raise EdgecompError(
            Code.USAGE,
            f"with a budget ranges are not chosen by {other[0]}, which needs the samples again "
            "for each candidate",
            path=str(options.recipe or ""),
            hint=f"give one of {', '.join(METHODS)}, or none",
        )


def _may_be_stored(model: ir.Model) -> list[str]:
    """Names of all values that some recipe may store."""
    scope = decide_scope(model.graph, InsertQdqOptions(), lambda _: "")
    return [value.name or "" for value in quantized_values(scope)]


def _groups(first: Quantized, plain: Sequence[Price], pricing: Pricing) -> Groups:
    """What is decided together, with prices of the target where there is one.

    Args:
        first: all that can be in 8 bits.
        plain: prices of the float model.
        pricing: on the target.
    """
    if pricing.target is None:
        layers = layers_of(first.scope)
        return groups_of(first.scope, {layer.name: layer.multiply_adds for layer in layers})
    values = quantized_values(first.scope)
    shapes = {v.name or "": static_shape(v) or () for v in values}
    inputs = {v.name or "" for v in values if v.is_graph_input()}
    priced = price_layers(
        first.scope,
        plain,
        pricing.prices(first.model),
        price_conversions(shapes, inputs, pricing.target),
    )
    return groups_by_target(priced)
