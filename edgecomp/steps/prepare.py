"""Source to portable model: load, float passes, quantization."""

import copy
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import edgecomp.onnx_ir_import  # noqa: F401

# isort: split
import numpy as np
import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.frontend.bound_spec import parse_bound_specs
from edgecomp.frontend.constant_spec import parse_constant_specs
from edgecomp.frontend.input_spec import parse_input_specs
from edgecomp.frontend.load import load_model
from edgecomp.graph.narrow_weights import has_narrow_weights
from edgecomp.graph.qdq import is_quantized, rounds_to_integers
from edgecomp.graph.run import random_feeds
from edgecomp.lower.ports import require_ports
from edgecomp.options import DYNAMIC_BITS, WEIGHT_BITS, WEIGHT_TYPES, QuantizeOptions
from edgecomp.passes.fold_low_rank import FactoredLayer, FoldLowRankPass
from edgecomp.passes.pipeline import (
    PassReport,
    float_passes,
    quantized_passes,
    run_passes,
)
from edgecomp.passes.widen_halves import WidenHalvesPass, half_type
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.schedules.cost import Table
from edgecomp.schedules.cpu.product_cost import product_cost
from edgecomp.schedules.tuned import table_for
from edgecomp.steps.places import uses_gpu
from edgecomp.steps.recipe import with_recipe

# What quantizes is imported where it is used: a model that stays float needs none of it, and its
# build as a whole takes little longer than these imports.
if TYPE_CHECKING:
    from edgecomp.recipe.recipe import Recipe
    from edgecomp.steps.gain import Gain
    from edgecomp.steps.quantize import Quantization

logger = logging.getLogger(__name__)

Options = TypeVar("Options", bound=QuantizeOptions)

#: Channels that stripping keeps a multiple of where no target says how many it computes at once.
_CHANNEL_MULTIPLE = 8
#: What models in 16 bits are on a target with a GPU.
_HALF_PRECISIONS = {ir.DataType.FLOAT16: "fp16", ir.DataType.BFLOAT16: "bf16"}


@dataclasses.dataclass
class Prepared:
    """A portable model and what was found on the way to it.

    Attributes:
        model: float or QDQ, static shapes.
        samples: some inputs it was calibrated on, for golden vectors.
        facts: for the manifest and the report.
        quantization: how it was quantized, None where it was not.
        gain: what that gains on a target, None where there is none.
    """

    model: ir.Model
    samples: list[dict[str, Array]]
    facts: dict[str, Any]
    quantization: "Quantization | None" = None
    gain: "Gain | None" = None


def float_options(options: Options) -> Options:
    """With what ``prepare`` takes the float model: all of how it is read and optimized."""
    changed = copy.copy(options)
    # Not checked again: what is for quantized models alone may be given.
    for name, value in {"precision": "fp32", "recipe": None}.items():
        object.__setattr__(changed, name, value)
    return changed


def prepare(
    source: Any,
    options: QuantizeOptions,
    progress: Progress,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    dataset: Any = None,
    target: Target | None = None,
    sizes: Mapping[str, int] | None = None,
    largest: Prepared | None = None,
) -> Prepared:
    """Make the portable model.

    Args:
        source: the model as given to ``api.build``.
        options: inputs, precision, calibration and passes.
        progress: told about every step.
        args: example inputs of a torch module.
        kwargs: keyword example inputs of a torch module.
        dataset: samples, in place of ``options.calibration_data``.
        target: what the model is for, where that is known already.
        sizes: of bounded and counted dimensions, by the name of their symbol; the largest where
            None.
        largest: with ``sizes``: the model at the largest ones, which is quantized alike.

    Raises:
        EdgecompError: anything that is wrong with the model or the samples.
    """
    floats = options.precision == "fp32"
    options, recipe = with_recipe(options)
    model = _read(source, options, progress, args, kwargs, sizes)
    options = _with_gpu_floats(model, options, target)
    feeds = random_feeds(model, seed=options.seed)
    if is_quantized(model) or has_narrow_weights(model):
        return _as_given(model, options, feeds)
    progress("optimize the graph")
    reports = _optimize(model, options, feeds, target)
    facts = {"precision": options.precision, **_pass_facts(reports)}
    if options.precision == "fp32":
        # Passes find tables that a model writes as sums: which rows there are is known now.
        return Prepared(model, [random_feeds(model, seed=options.seed)], facts)
    if largest is not None:
        return _repeated(model, facts, feeds, largest)
    from edgecomp.steps.gain import Gain, float_form, stored_form

    table, plain = None, None
    if target is not None:
        table = table_for(target, getattr(options, "cost_table", ""))
        plain = float_form(model, target, options, table)
    found = _quantize(model, options, progress, feeds, dataset, target, table, recipe, floats)
    facts |= found.facts
    _warn_where_nothing_is(model, found)
    gain = None
    if plain is not None and target is not None:
        on_gpu = uses_gpu(target, options)
        stored = stored_form(model, target, options, table)
        what = options.precision if options.recipe is None else "the recipe"
        gain = Gain(what, target.name, on_gpu, plain, stored)
        facts["gain"] = gain.facts()
    facts["passes"] += _storing_passes(model, found)
    return Prepared(model, found.samples, facts, found, gain)


def _read(
    source: Any,
    options: QuantizeOptions,
    progress: Progress,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    sizes: Mapping[str, int] | None,
) -> ir.Model:
    progress("read the model")
    model = load_model(
        source,
        args=args,
        kwargs=kwargs,
        inputs=parse_input_specs(options.input),
        constants=parse_constant_specs(options.constant),
        opset=options.opset,
        sizes=sizes,
        bounds=parse_bound_specs(options.bound),
    )
    require_ports(model)
    return model


def _as_given(model: ir.Model, options: QuantizeOptions, feeds: dict[str, Array]) -> Prepared:
    """A quantized model: its numbers are a contract, nothing may be folded across its edges."""
    if options.precision != "fp32":
        logger.warning("the model is quantized already: it is taken as it is")
    reports = run_passes(
        model,
        quantized_passes(),
        dump_dir=options.dump_passes,
        verify_feeds=feeds if options.verify_passes else None,
    )
    return Prepared(model, [feeds], {"precision": "as given", **_pass_facts(reports)})


def _repeated(
    model: ir.Model, facts: dict[str, Any], feeds: Mapping[str, Array], largest: Prepared
) -> Prepared:
    """A model at other sizes, quantized as it was at the largest."""
    from edgecomp.steps.quantize import repeat_quantization

    if largest.quantization is not None:
        repeat_quantization(model, largest.quantization)
    return Prepared(model, [_cut(sample, feeds) for sample in largest.samples], facts)


def _warn_where_nothing_is(model: ir.Model, found: "Quantization") -> None:
    """Whoever asks for a precision should hear that no layer has it; ``auto`` says so itself."""
    stored = found.facts.get("weights") or rounds_to_integers(model)
    if stored or found.precision == "auto":
        return
    reasons = found.facts["quantization"]["stay_float"]
    first = next((f": '{node}': {why}" for node, why in reasons.items()), "")
    logger.warning("nothing of the model is stored as %s says%s", found.precision, first)


def _storing_passes(model: ir.Model, found: "Quantization") -> list[str]:
    """Names of the passes that stored fewer bits."""
    from edgecomp.steps.beside import beside_passes

    if found.storing is not None:
        return [type(found.storing).__name__]
    if not is_quantized(model):
        return []
    beside = beside_passes(found.beside)
    return ["InsertQdqPass", *(type(each).__name__ for each in beside)]


def _with_gpu_floats(model: ir.Model, options: Options, target: Target | None) -> Options:
    """A model in 16 bits is computed by a GPU as ``--precision fp16`` or ``bf16`` says."""
    dtype = half_type(model) if uses_gpu(target, options) else None
    if dtype is None or options.precision != "fp32":
        return options
    from edgecomp.steps.dynamic import symbols_of

    if symbols_of(model):
        return options  # the processor's
    run_passes(model, [WidenHalvesPass()], dump_dir=None)
    return dataclasses.replace(options, precision=_HALF_PRECISIONS[dtype])


def _quantize(
    model: ir.Model,
    options: QuantizeOptions,
    progress: Progress,
    feeds: Mapping[str, Array],
    dataset: Any,
    target: Target | None,
    table: Table | None,
    recipe: "Recipe | None",
    floats: bool,
) -> "Quantization":
    """In the way of the precision."""
    if options.precision in WEIGHT_TYPES:
        from edgecomp.steps.narrow_weights import narrow_weights

        return narrow_weights(model, options, progress, feeds)
    if options.precision in DYNAMIC_BITS:
        from edgecomp.steps.quantize_dynamically import quantize_dynamically

        return quantize_dynamically(model, options, progress, feeds)
    if options.precision in WEIGHT_BITS:
        from edgecomp.steps.quantize_weights import quantize_weights

        return quantize_weights(model, options, progress, dataset)
    from edgecomp.steps.quantize import insert_quantization

    return insert_quantization(
        model, options, progress, dataset, target, table, recipe=recipe, floats=floats
    )


def _cut(sample: Mapping[str, Array], like: Mapping[str, Array]) -> dict[str, Array]:
    """A sample of the largest sizes at others; where those are larger it repeats itself."""
    return {
        name: np.pad(
            array[tuple(slice(0, n) for n in like[name].shape)],
            [(0, max(0, n - m)) for n, m in zip(like[name].shape, array.shape, strict=True)],
            mode="wrap",
        )
        for name, array in sample.items()
    }


def _optimize(
    model: ir.Model,
    options: QuantizeOptions,
    feeds: Mapping[str, Array],
    target: Target | None,
) -> list[PassReport]:
    passes = float_passes(
        low_rank=_low_rank(target),
        strip=options.strip_pruned,
        channel_multiple=target.lanes(32) if target else _CHANNEL_MULTIPLE,
    )
    return run_passes(
        model,
        passes,
        dump_dir=options.dump_passes,
        verify_feeds=feeds if options.verify_passes else None,
    )


def _pass_facts(reports: Sequence[PassReport]) -> dict[str, Any]:
    return {
        "passes": [report.name for report in reports if report.modified],
        "pass_reports": [
            {
                "name": report.name,
                "applied": report.applied,
                "refused": [str(refusal) for refusal in report.refusals],
                "notes": list(report.notes),
            }
            for report in reports
            if report.applied or report.refusals or report.notes
        ],
    }


def _low_rank(target: Target | None) -> FoldLowRankPass:
    """The pass that folds low-rank pairs, by the target's modelled cost where there is one."""
    if target is None:
        return FoldLowRankPass()

    def cost(layer: FactoredLayer) -> tuple[float, float]:
        first = product_cost(layer.first_rows or layer.rows, layer.inputs, layer.rank, target)
        second = product_cost(layer.rows, layer.rank * layer.window, layer.outputs, target)
        one = product_cost(layer.rows, layer.inputs * layer.window, layer.outputs, target)
        return first + second, one

    return FoldLowRankPass(cost)
