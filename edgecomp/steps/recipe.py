"""From flags and a recipe to what the passes take."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.settle import Choice
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.match import clip_bounds, is_operator
from edgecomp.options import (
    DYNAMIC_BITS,
    SEARCHED,
    SIXTEEN_BITS,
    WEIGHT_BITS,
    WEIGHT_TYPES,
    QuantizeOptions,
)
from edgecomp.passes.quantization_options import InsertQdqOptions, ValueProducts
from edgecomp.passes.quantization_scope import Scope, decide_scope, value_depths
from edgecomp.recipe.read import read_recipe, recipe_of
from edgecomp.recipe.recipe import Recipe, Step
from edgecomp.recipe.resolve import settings_of
from edgecomp.recipe.settings import LayerSettings

#: Key of a quantized model's metadata that holds the recipe it was made by, as JSON.
RECIPE_PROPERTY = "edgecomp.recipe"
#: Bits that ``InsertQdqOptions`` has by the names of nodes.
_WIDE = 16
#: Methods that weigh what clipping loses against the steps of 256 numbers.
_OF_EIGHT_BITS = ("mse", "entropy")
#: Methods that are chosen because they clip.
_CLIPPING = ("percentile", "ema")
#: Precisions without calibrated ranges (``steps.beside``).
BESIDE = (*WEIGHT_BITS, *WEIGHT_TYPES, *DYNAMIC_BITS)
_OTHERS = "the recipe quantizes other layers"


@dataclasses.dataclass(frozen=True)
class LayerChoices:
    """What is done to the layers of one model.

    Attributes:
        qdq: for ``InsertQdqPass``.
        ranges: values whose range is chosen otherwise than the flags say.
        corrected: nodes whose biases are corrected.
        weights_corrected: nodes whose biases are corrected by the rounding of their weights.
        equalized: nodes between which scales move.
        smoothed: nodes whose inputs are smoothed, by strength; None where it is searched.
        rounded: nodes whose weights' rounding is learned.
        groups: inputs of a product with 4-bit weights that share a scale, where not all do.
        to_nearest: nodes whose weights of few bits are rounded to nearest, not by GPTQ.
        beside: operators that static integers are not for -> precision of ``steps.beside``.
    """

    qdq: InsertQdqOptions
    ranges: Mapping[str, Choice]
    corrected: frozenset[str]
    equalized: frozenset[str]
    smoothed: Mapping[float | None, frozenset[str]]
    rounded: frozenset[str]
    groups: Mapping[str, int] = dataclasses.field(default_factory=dict)
    beside: Mapping[str, str] = dataclasses.field(default_factory=dict)
    weights_corrected: frozenset[str] = frozenset()
    to_nearest: frozenset[str] = frozenset()


def with_recipe(options: QuantizeOptions) -> tuple[QuantizeOptions, Recipe]:
    """The options with the precision that their recipe gives the model; and the recipe.

    Raises:
        EdgecompError: FILE_MISSING or RECIPE_INVALID; USAGE for a precision without layers.
    """
    if options.recipe is None:
        return options, Recipe()
    if options.precision in BESIDE:
        raise EdgecompError(
            Code.USAGE,
            f"--recipe: a model of precision {options.precision} has no settings by layer",
            hint="leave --recipe out, or give --precision w8a8",
        )
    recipe = read_recipe(options.recipe)
    if options.precision != "fp32":
        return options, recipe
    if not any(_quantizes(step) for step in recipe.steps):
        raise EdgecompError(
            Code.RECIPE_INVALID,
            "no step of the recipe quantizes anything",
            path=str(options.recipe),
            hint="begin with '- pass: quantize', or add --precision w8a8",
        )
    return dataclasses.replace(options, precision="w8a8"), recipe


def whole_recipe(
    options: QuantizeOptions,
    recipe: Recipe,
    *,
    floats: bool = False,
    found: Sequence[Mapping[str, Any]] = (),
) -> Recipe:
    """The recipe with the flags in front: it alone repeats what was done.

    Args:
        options: the flags.
        recipe: the steps behind them.
        floats: whether the model is float before the steps of the recipe.
        found: steps behind them, for what nobody asked for and turned out to be better.
    """
    types, excluded = options.op_types_to_quantize, options.nodes_to_exclude
    named = options.precision in ("w4a8", *SIXTEEN_BITS)
    integer = options.precision if named else "w8a8"
    whole: dict[str, Any] = {
        "precision": "fp32" if floats or types else integer,
        "calibration_method": options.calibration_method,
        "per_channel": options.per_channel,
    }
    if options.calibration_method == "percentile":
        whole["calibration_percentile"] = options.calibration_percentile
    if integer == "w4a8" and options.group_size:
        whole["group_size"] = options.group_size
    if options.method:
        whole["method"] = options.method
    steps: list[dict[str, Any]] = [{"pass": "quantize", "args": whole}]
    if types:
        steps.append({"pass": "quantize", "targets": types, "args": {"precision": integer}})
    if excluded:
        steps.append({"pass": "float", "targets": excluded})
    if options.bias_correction:
        steps.append({"pass": "bias_correction"})
    if options.equalize:
        steps.append({"pass": "equalize"})
    if options.smoothing:
        alpha = strength_of(options.smoothing)
        steps.append(
            {"pass": "smooth_quant", "args": {} if alpha is None else {"alpha": alpha}}
        )
    if options.weight_rounding != "nearest":
        steps.append({"pass": "weight_rounding", "args": {"method": options.weight_rounding}})
    return Recipe((*recipe_of(steps).steps, *recipe.steps, *recipe_of(list(found)).steps))


def ranges_step(choice: Choice, names: Sequence[str]) -> dict[str, Any]:
    """The step that gives what layers read ranges by another method."""
    method, percentile = choice
    arguments: dict[str, Any] = {"calibration_method": method}
    if method == "percentile":
        arguments["calibration_percentile"] = percentile
    return {"pass": "quantize", "targets": list(names), "args": arguments}


def bias_step(names: Sequence[str], *, by_weights: bool) -> dict[str, Any]:
    """The step that corrects the biases of products.

    Args:
        names: of the products.
        by_weights: of what the rounding of their weights causes, else of their mean error.
    """
    step: dict[str, Any] = {"pass": "bias_correction", "targets": list(names)}
    return step | ({"args": {"of": "weights"}} if by_weights else {})


def smoothing_step(names: Sequence[str]) -> dict[str, Any]:
    """The step that smooths what products read, each with the strength that suits it best."""
    return {"pass": "smooth_quant", "targets": list(names)}


def strength_of(smoothing: str) -> float | None:
    """The strength that is asked for, None where it is searched."""
    return None if smoothing == SEARCHED else float(smoothing)


def choose_for_layers(
    graph: ir.Graph,
    options: QuantizeOptions,
    recipe: Recipe,
    *,
    floats: bool = False,
    value_products: ValueProducts = ValueProducts.EACH,
) -> LayerChoices:
    """Resolve flags and recipe against a model.

    Args:
        graph: float, after the float passes.
        options: the flags; they hold where the recipe says nothing.
        recipe: steps.
        floats: whether nodes that no step names stay float.
        value_products: which products of two values are quantized (steps/value_products.py).

    Raises:
        EdgecompError: RECIPE_INVALID, or USAGE where a flag names no node, or where GPTQ is asked for
            on made-up inputs.
    """
    base = LayerSettings(
        precision="fp32" if floats else options.precision,
        calibration_method=options.calibration_method,
        calibration_percentile=options.calibration_percentile,
        per_channel=options.per_channel,
        bias_correction=bool(options.bias_correction),
        equalize=options.equalize,
        smooth_quant=options.smoothing,
        weight_rounding=options.weight_rounding,
        group_size=options.group_size or 0,
        method=options.method or ("rtn" if options.data_free else "gptq"),
    )
    settings = settings_of(graph, recipe, base)
    if options.data_free:
        _require_no_learning(settings)
    beside = _beside(graph, settings)
    qdq = InsertQdqOptions(
        nodes_to_exclude=options.nodes_to_exclude,
        op_types_to_quantize=options.op_types_to_quantize,
        value_products=value_products,
        value_depths=value_depths(graph),
        per_channel=options.per_channel,
        per_channel_except=frozenset(
            name for name, s in settings.items() if s.per_channel is not options.per_channel
        ),
        four_bits=frozenset(n for n, s in settings.items() if s.precision == "w4a8"),
        wide_weights=frozenset(n for n, s in settings.items() if _bits(s)[0] == _WIDE),
        wide_activations=frozenset(n for n, s in settings.items() if _bits(s)[1] == _WIDE),
        headroom=1.0 if options.calibration_method in _CLIPPING else InsertQdqOptions.headroom,
        stay_float={
            node.name or "": settings[node.name or ""].reason or _OTHERS
            for node in ir.traversal.RecursiveGraphIterator(graph)
            if _stays(node, settings)
        },
    )
    plain = (options.calibration_method, options.calibration_percentile)
    scope = decide_scope(graph, qdq, lambda _: "")
    ranges = range_choices(scope, settings)
    smoothed: dict[float | None, set[str]] = {}
    for name, own in settings.items():
        if own.smooth_quant:
            smoothed.setdefault(strength_of(own.smooth_quant), set()).add(name)
    return LayerChoices(
        qdq,
        {name: choice for name, choice in ranges.items() if choice != plain},
        corrected=frozenset(name for name, s in settings.items() if s.bias_correction),
        equalized=frozenset(name for name, s in settings.items() if s.equalize),
        smoothed={strength: frozenset(names) for strength, names in smoothed.items()},
        rounded=frozenset(n for n, s in settings.items() if s.weight_rounding != "nearest"),
        groups={
            n: s.group_size
            for n, s in settings.items()
            if s.precision == "w4a8" and s.group_size > 0
        },
        beside=beside,
        weights_corrected=frozenset(n for n, s in settings.items() if s.weight_correction),
        to_nearest=frozenset(n for n, s in settings.items() if s.method == "rtn"),
    )


def _require_no_learning(settings: Mapping[str, LayerSettings]) -> None:
    """Without calibration data GPTQ is only what somebody asked for."""
    for name, own in settings.items():
        if own.method == "gptq" and own.precision in ("w4a8", *WEIGHT_BITS):
            raise EdgecompError(
                Code.USAGE,
                "method gptq: it rounds for the inputs of a layer, and made-up ones say little",
                node=name,
                hint="give calibration data, or leave --data-free or the method out",
            )


def _beside(graph: ir.Graph, settings: dict[str, LayerSettings]) -> dict[str, str]:
    """Operators that static integers are not for; all that is named with them is float."""
    found = {}
    named = {name: s.precision for name, s in settings.items() if s.precision in BESIDE}
    if not named:
        return {}
    # It imports what rounds weights, which few models need.
    from edgecomp.steps.beside import operators_of

    scopes = {precision: operators_of(graph, precision) for precision in {*named.values()}}
    for name, precision in named.items():
        reason = scopes[precision].get(name, "it has no weights that could be stored alone")
        if not reason:
            found[name] = precision
            reason = f"it has another precision: {precision}"
        settings[name] = dataclasses.replace(settings[name], precision="fp32", reason=reason)
    return found


def _bits(own: LayerSettings) -> tuple[int, int]:
    """Of weights and of activations."""
    return SIXTEEN_BITS.get(own.precision, (8, 8))


def _quantizes(step: Step) -> bool:
    made = step.kind.apply(LayerSettings(precision="fp32"), step.arguments, 0)
    return made.precision != "fp32"


def _stays(node: ir.Node, settings: Mapping[str, LayerSettings]) -> bool:
    """Whether a node stays float; what a product computes with itself follows the product."""
    own = settings[node.name or ""]
    if own.precision != "fp32":
        return False
    return bool(own.reason) or not (node.op_type == "Add" or clip_bounds(node) is not None)


def range_choices(scope: Scope, settings: Mapping[str, LayerSettings]) -> dict[str, Choice]:
    """Method and percentile of every stored value, by the layers that read it.

    Of several readers the one whose method a later step chose decides. Where an operator that
    only moves values lies between, its input has the range. What a softmax makes is never clipped:
    the weights of a sum that add up to less than 1 make all of it smaller.
    """
    makers = {value: block for block in scope.blocks for value in block.outputs}
    decided: dict[str, LayerSettings] = {}

    def decide(value: ir.Value, own: LayerSettings) -> None:
        maker = makers.get(value)
        if maker is not None and maker.shares_scale:
            for each in maker.input_values:
                decide(each, own)
            return
        if is_operator(value.producer(), "Softmax"):
            own = dataclasses.replace(own, calibration_method="minmax")
        known = decided.get(value.name or "")
        if known is None or _rank(own) > _rank(known):
            decided[value.name or ""] = own

    for block in scope.blocks:
        for value in block.input_values:
            decide(value, settings[block.node.name or ""])
    return {name: (_method(own), own.calibration_percentile) for name, own in decided.items()}


def _rank(own: LayerSettings) -> tuple[int, int]:
    """Of two layers that read a value the one of the greater rank decides about its range."""
    return _bits(own)[1], own.range_step


def _method(own: LayerSettings) -> str:
    """How the range of what a layer reads is chosen: 65536 numbers need no clipping."""
    if _bits(own)[1] == _WIDE and own.calibration_method in _OF_EIGHT_BITS:
        return "minmax"
    return own.calibration_method
