"""From flags and a recipe to what the passes take."""

import dataclasses
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from edgecomp.calibrate.settle import Choice
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.match import clip_bounds
from edgecomp.options import QuantizeOptions
from edgecomp.passes.quantization_scope import InsertQdqOptions, Scope, decide_scope
from edgecomp.recipe.passes import LAYER_PRECISIONS, QuantizeArguments, pass_named
from edgecomp.recipe.read import read_recipe
from edgecomp.recipe.recipe import Recipe, Step
from edgecomp.recipe.resolve import settings_of
from edgecomp.recipe.settings import LayerSettings

#: Key of a quantized model's metadata that holds the recipe it was made by, as JSON.
RECIPE_PROPERTY = "edgecomp.recipe"
_OTHERS = "the recipe quantizes other layers"


@dataclasses.dataclass(frozen=True)
class LayerChoices:
    """What is done to the layers of one model.

    Attributes:
        qdq: for ``InsertQdqPass``.
        ranges: values whose range is chosen otherwise than the flags say.
        corrected: nodes whose biases are corrected.
    """

    qdq: InsertQdqOptions
    ranges: Mapping[str, Choice]
    corrected: frozenset[str]


def with_recipe(options: QuantizeOptions) -> tuple[QuantizeOptions, Recipe]:
    """The options with the precision that their recipe gives the model; and the recipe.

    Raises:
        EdgecompError: FILE_MISSING or RECIPE_INVALID; USAGE for a precision without layers.
    """
    if options.recipe is None:
        return options, Recipe()
    if options.precision not in (*LAYER_PRECISIONS, "auto"):
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
    chosen: Sequence[str] = (),
) -> Recipe:
    """The recipe with the flags in front: it alone repeats what was done.

    Args:
        options: the flags.
        recipe: the steps behind them.
        floats: whether the model is float before the steps of the recipe.
        chosen: names of nodes that ``auto`` leaves float behind them.
    """
    quantize, stay = pass_named("quantize"), pass_named("float")
    correct = pass_named("bias_correction")
    assert quantize is not None
    assert stay is not None
    assert correct is not None
    percentile = options.calibration_percentile
    arguments = QuantizeArguments(
        precision="fp32" if floats or options.op_types_to_quantize else "w8a8",
        calibration_method=options.calibration_method,
        calibration_percentile=percentile
        if options.calibration_method == "percentile"
        else None,
        per_channel=options.per_channel,
    )
    steps = [Step(quantize, arguments)]
    if options.op_types_to_quantize:
        only = QuantizeArguments(precision="w8a8")
        steps.append(Step(quantize, only, options.op_types_to_quantize))
    if options.nodes_to_exclude:
        steps.append(Step(stay, stay.arguments(), options.nodes_to_exclude))
    if options.bias_correction:
        steps.append(Step(correct, correct.arguments()))
    last = [Step(stay, stay.arguments(), tuple(chosen))] if chosen else []
    return Recipe((*steps, *recipe.steps, *last))


def choose_for_layers(
    graph: ir.Graph, options: QuantizeOptions, recipe: Recipe, *, floats: bool = False
) -> LayerChoices:
    """Resolve flags and recipe against a model.

    Args:
        graph: float, after the float passes.
        options: the flags; they hold where the recipe says nothing.
        recipe: steps.
        floats: whether nodes that no step names stay float.

    Raises:
        EdgecompError: RECIPE_INVALID, or USAGE where a flag names no node.
    """
    base = LayerSettings(
        precision="fp32" if floats else options.precision,
        calibration_method=options.calibration_method,
        calibration_percentile=options.calibration_percentile,
        per_channel=options.per_channel,
        bias_correction=options.bias_correction,
    )
    settings = settings_of(graph, recipe, base)
    qdq = InsertQdqOptions(
        nodes_to_exclude=options.nodes_to_exclude,
        op_types_to_quantize=options.op_types_to_quantize,
        per_channel=options.per_channel,
        per_channel_except=frozenset(
            name for name, s in settings.items() if s.per_channel is not options.per_channel
        ),
        stay_float={
            node.name or "": settings[node.name or ""].reason or _OTHERS
            for node in ir.traversal.RecursiveGraphIterator(graph)
            if _stays(node, settings)
        },
    )
    plain = (options.calibration_method, options.calibration_percentile)
    scope = decide_scope(graph, qdq, lambda _: "")
    ranges = _range_choices(scope, settings)
    return LayerChoices(
        qdq,
        {name: choice for name, choice in ranges.items() if choice != plain},
        frozenset(name for name, s in settings.items() if s.bias_correction),
    )


def _quantizes(step: Step) -> bool:
    made = step.kind.apply(LayerSettings(precision="fp32"), step.arguments, 0)
    return made.precision != "fp32"


def _stays(node: ir.Node, settings: Mapping[str, LayerSettings]) -> bool:
    """Whether a node stays float; what a product computes with itself follows the product."""
    own = settings[node.name or ""]
    if own.precision != "fp32":
        return False
    return bool(own.reason) or not (node.op_type == "Add" or clip_bounds(node) is not None)


def _range_choices(scope: Scope, settings: Mapping[str, LayerSettings]) -> dict[str, Choice]:
    """Method and percentile of every stored value, by the layers that read it.

    Of several readers the one whose method a later step chose decides. Where an operator that
    only moves values lies between, its input has the range.
    """
    makers = {value: block for block in scope.blocks for value in block.outputs}
    decided: dict[str, LayerSettings] = {}

    def decide(value: ir.Value, own: LayerSettings) -> None:
        maker = makers.get(value)
        if maker is not None and maker.shares_scale:
            for each in maker.input_values:
                decide(each, own)
            return
        known = decided.get(value.name or "")
        if known is None or own.range_step > known.range_step:
            decided[value.name or ""] = own

    for block in scope.blocks:
        for value in block.input_values:
            decide(value, settings[block.node.name or ""])
    return {
        name: (own.calibration_method, own.calibration_percentile)
        for name, own in decided.items()
    }
