"""Find the layers that a quantized model loses its accuracy in."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.histogram import Histogram
from edgecomp.calibrate.observe import collect_histograms
from edgecomp.debugging.distribution import distribution_of, distribution_of_weights
from edgecomp.debugging.layers import Layer, layers_of
from edgecomp.debugging.measure import LayerFigures, measure_layers
from edgecomp.debugging.metrics import decibels
from edgecomp.debugging.outputs import FloatOutputs
from edgecomp.debugging.result import DebugReport, Difference, LayerReport, Search
from edgecomp.debugging.search import Subject, default_goal, effects, search
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import constant_array
from edgecomp.graph.qdq import is_quantized
from edgecomp.options import DebugOptions
from edgecomp.passes.choose_precision import quantized_values
from edgecomp.passes.quantization_options import InsertQdqOptions, ValueProducts, check_options
from edgecomp.passes.quantization_scope import decide_scope
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.recipe.read import recipe_of
from edgecomp.recipe.recipe import Recipe
from edgecomp.steps.beside import operators_of
from edgecomp.steps.calibrate import open_samples
from edgecomp.steps.corrections import move_scales
from edgecomp.steps.debug_trials import Quantized, Trials
from edgecomp.steps.prepare import float_options, prepare
from edgecomp.steps.recipe import LayerChoices, choose_for_layers, whole_recipe, with_recipe
from edgecomp.steps.source import errors_about, name_of
from edgecomp.steps.try_smoothing import worth_smoothing
from edgecomp.steps.value_products import multiplied_values

logger = logging.getLogger(__name__)

#: What a layer may be in the place of float, cheapest first: in words, and as recipes name it.
_NARROWER = (
    ("activations quantized while the model runs", "w8a8-dynamic"),
    ("its weights alone in 8 bits", "w8a16"),
    ("its weights alone as floats of 8 bits", "fp8"),
    ("its weights alone as floats of 16 bits", "fp16"),
)


def debug(
    source: Any,
    options: DebugOptions,
    progress: Progress,
    *,
    args: Sequence[Any] | None = None,
    dataset: Any = None,
    target: Target | None = None,
) -> DebugReport:
    """Compare a model with its quantized form, layer by layer.

    Args:
        source: float model as given to ``api.build``.
        options: how it is quantized, and what is searched.
        progress: told about every step.
        args: example inputs of a torch module.
        dataset: samples, in place of ``options.calibration_data``.
        target: device that it would be built for.

    Raises:
        EdgecompError: what ``prepare`` raises; MODEL_INVALID for a quantized model;
            OPERATOR_UNSUPPORTED where no layer has an integer form; CALIBRATION_EMPTY,
            CALIBRATION_INVALID, RECIPE_INVALID, USAGE.
    """
    if options.apply is not None and options.apply.exists():
        options = dataclasses.replace(options, apply=None, recipe=options.apply)
    _, recipe = with_recipe(options)
    data = options.calibration_data if dataset is None else dataset
    if data is None:
        raise EdgecompError(
            Code.USAGE,
            "debugging needs calibration data",
            hint="give the images, the .npy or .npz file or the script that it is built with",
        )
    reading = float_options(options)
    model = prepare(source, reading, progress, args=args, target=target).model
    _require_float(model)
    value_products = multiplied_values(options, target)
    chosen = _require_layers(model, options, recipe, value_products=value_products)
    with errors_about(data, only=(Code.CALIBRATION_EMPTY, Code.CALIBRATION_INVALID)):
        calibration = open_samples(model, options, data).feeds
        smoothing = worth_smoothing(model, calibration, chosen, options, recipe, progress)
        move_scales(model, calibration, smoothing.layers(chosen), options, progress)
        histograms = collect_histograms(
            model,
            calibration,
            _may_be_stored(model, options),
            progress=lambda done, total: progress("calibrate", done, total or 0),
        )
        progress("run the float model")
        fewer = dataclasses.replace(options, num_samples=options.samples)
        reference = FloatOutputs(model, open_samples(model, fewer, data).feeds)
    trials = Trials(
        model,
        options,
        recipe,
        histograms,
        calibration,
        reference,
        floats=False,
        value_products=value_products,
    )
    trials.begin_as_a_build(smoothing, progress)
    return _report(
        model, options, trials.recipe, trials, histograms, reference, progress, name_of(source)
    )


def _report(
    model: ir.Model,
    options: DebugOptions,
    recipe: Recipe,
    trials: Trials,
    histograms: Mapping[str, Histogram],
    reference: FloatOutputs,
    progress: Progress,
    name: str,
) -> DebugReport:
    quantized = trials.quantized()
    layers = layers_of(quantized.scope)
    figures = measure_layers(
        model,
        quantized.model,
        layers,
        reference.feeds,
        weights_of=quantized.corrected,
        progress=lambda done, total: progress("compare layers", done, total),
    )
    error = trials.error()
    output_db = decibels(error.noise_to_signal)
    found: Search | None = None
    effect: Mapping[str, float] = {}
    if options.bisect:
        subject = _subject(layers, figures, quantized, trials, options)
        effect = effects(subject, trials.noise, progress)
        goal = options.restore if options.restore is not None else default_goal(output_db)
        found = search(subject, effect, trials.noise, goal, progress)
    reports = [
        _layer_report(place, layer, figures[layer.name], quantized, histograms, effect)
        for place, layer in enumerate(layers)
    ]
    steps = recipe_of(list(found.steps)).steps if found is not None else ()
    whole = whole_recipe(options, Recipe((*recipe.steps, *steps)))
    return DebugReport(
        model=name,
        samples=sum(1 for _ in reference.feeds),
        layers=sorted(reports, key=lambda report: report.alone.sqnr_db),
        outputs={name: Difference.of(each) for name, each in error.by_output.items()},
        output_db=output_db,
        search=found,
        recipe=whole.as_list(),
        top=options.top,
    )


def _require_float(model: ir.Model) -> None:
    if is_quantized(model):
        raise EdgecompError(
            Code.MODEL_INVALID,
            "the model is quantized already: there is no float model to compare it with",
            hint="give the float model that it was made of, and its recipe with --recipe",
        )


def _require_layers(
    model: ir.Model, options: DebugOptions, recipe: Recipe, *, value_products: ValueProducts
) -> LayerChoices:
    """What is done to the layers; refuses a model, or a recipe, that leaves nothing to compare."""
    possible = decide_scope(model.graph, InsertQdqOptions(), lambda _: "")
    if not possible.blocks:
        reasons = [f"{r.node}: {r.reason}" for r in possible.refusals]
        raise EdgecompError(
            Code.OPERATOR_UNSUPPORTED,
            "no layer of the model can be quantized",
            hint=reasons[0] if reasons else "layers with constant weights can be",
        )
    chosen = choose_for_layers(model.graph, options, recipe, value_products=value_products)
    check_options(model, chosen.qdq)
    if not decide_scope(model.graph, chosen.qdq, lambda _: "").blocks:
        raise EdgecompError(
            Code.USAGE,
            "every layer of the model stays float",
            path=str(options.recipe or ""),
            hint="leave out some of what excludes layers",
        )
    return chosen


def _may_be_stored(model: ir.Model, options: DebugOptions) -> list[str]:
    """Names of all values that some recipe with the same flags may store."""
    qdq = InsertQdqOptions(op_types_to_quantize=options.op_types_to_quantize)
    scope = decide_scope(model.graph, qdq, lambda _: "")
    return [value.name or "" for value in quantized_values(scope)]


def _subject(
    layers: Sequence[Layer],
    figures: Mapping[str, LayerFigures],
    quantized: Quantized,
    trials: Trials,
    options: DebugOptions,
) -> Subject:
    choices = trials.choices()
    products = [layer.name for layer in layers if layer.weight]
    exceptions = choices.qdq.per_channel_except
    return Subject(
        layers,
        {name: found.alone.noise_to_signal for name, found in figures.items()},
        {layer.name: _method(layer, quantized) for layer in layers},
        frozenset(n for n in products if options.per_channel is (n in exceptions)),
        corrected=choices.corrected >= set(products),
        narrower=_narrower(trials.model, products),
        whole=not (choices.qdq.stay_float or options.nodes_to_exclude),
    )


def _narrower(model: ir.Model, products: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Of each product what it can be in the place of float."""
    scopes = {precision: operators_of(model.graph, precision) for _, precision in _NARROWER}
    return {
        name: [each for each in _NARROWER if scopes[each[1]].get(name) == ""]
        for name in products
    }


def _method(layer: Layer, quantized: Quantized) -> str:
    """How the range of what a layer reads was chosen; "" where it follows another's."""
    names = [name for name in layer.inputs if name in quantized.ranges]
    return quantized.ranges[names[0]][1][0] if names else ""


def _layer_report(
    place: int,
    layer: Layer,
    figures: LayerFigures,
    quantized: Quantized,
    histograms: Mapping[str, Histogram],
    effect: Mapping[str, float],
) -> LayerReport:
    read = {name: histograms[name] for name in layer.inputs if name in histograms}
    ranges = quantized.ranges
    weights = _weights(quantized.corrected, layer)
    return LayerReport(
        place,
        layer,
        Difference.of(figures.alone, divergence=True),
        Difference.of(figures.accumulated, divergence=True),
        Difference.of(figures.inputs),
        None if figures.weights is None else Difference.of(figures.weights),
        None if weights is None else distribution_of_weights(weights),
        {
            name: distribution_of(each, ranges[name][0] if name in ranges else None)
            for name, each in read.items()
        },
        {
            name: ranges[name][1][0] if name in ranges else "that of its source"
            for name in read
        },
        decibels(effect[layer.name]) if layer.name in effect else None,
    )


def _weights(model: ir.Model, layer: Layer) -> Array | None:
    value = model.graph.initializers.get(layer.weight) if layer.weight else None
    return constant_array(value)
