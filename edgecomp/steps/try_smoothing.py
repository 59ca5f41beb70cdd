"""Find out on samples that are held back whether scales should move out of normalisations.

What a normalisation makes in a transformer has channels that are several times as large as most, which
decide the scale of all. ``smooth_activations`` lets the weights of the products behind take them. By
its own measure, the squared error of each product, that is never worse; but outputs do not depend on
all products alike. So the outputs decide, as about ranges and biases, where products gain enough for
that to be worth a look: both models get ranges of the same samples, and others say which of them is
nearer to float.

Only normalisations, as in the paper: with all channels that can move, a text reader of convolutions
came 1.2 dB nearer to float with one calibration set and 1.7 dB less near with another, and read worse
with both (docs/quantization-corrections.md).
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.observe import collect_ranges
from edgecomp.calibrate.product_inputs import observe_inputs
from edgecomp.debugging.outputs import FloatOutputs
from edgecomp.graph.run import Runner
from edgecomp.options import QuantizeOptions
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_scope import values_to_observe
from edgecomp.passes.smooth_activations import (
    SmoothActivationsPass,
    products_behind_normalisations,
)
from edgecomp.passes.split_normalisations import (
    JoinNormalisationsPass,
    SplitNormalisationsPass,
)
from edgecomp.progress import Progress
from edgecomp.recipe.recipe import Recipe
from edgecomp.steps.corrections import SEARCH_ROWS
from edgecomp.steps.held_back import Feed, decides_by_itself, hold_back
from edgecomp.steps.recipe import LayerChoices, smoothing_step
from edgecomp.steps.sample_noise import Noise, is_surely_less, sample_noise

#: Part of the products' errors that has to go before outputs are looked at.
_LEAST_GAIN_OF_PRODUCTS = 0.2
#: Part of the outputs' noise that has to go: on GPUs a row of factors is a kernel.
_LEAST_GAIN = 0.1


@dataclasses.dataclass(frozen=True)
class SmoothingTrial:
    """What was found.

    Attributes:
        products: names of those whose inputs are to be smoothed, in order; none where it does not
            pay.
        before: noise of the outputs over their power, the mean over samples, without.
        after: the same with scales moved.
        samples: that judged.
    """

    products: tuple[str, ...] = ()
    before: float = 0.0
    after: float = 0.0
    samples: int = 0

    def layers(self, given: LayerChoices) -> LayerChoices:
        """What is done to the layers, with it."""
        if not self.products:
            return given
        return dataclasses.replace(given, smoothed={None: frozenset(self.products)})

    def recipe_steps(self) -> list[dict[str, Any]]:
        """What a recipe says to have the same."""
        return [smoothing_step(self.products)] if self.products else []

    @property
    def facts(self) -> dict[str, Any]:
        """For the report; nothing where nothing was found."""
        if not self.products:
            return {}
        return {
            "smoothing_chosen": {
                "products": len(self.products),
                "noise_without": self.before,
                "noise": self.after,
                "held_back_samples": self.samples,
            }
        }


def worth_smoothing(
    model: ir.Model,
    samples: Iterable[Feed],
    layers: LayerChoices,
    options: QuantizeOptions,
    recipe: Recipe,
    progress: Progress,
) -> SmoothingTrial:
    """Whether the best strength of each layer pays, though nobody asked; the model stays as it is.

    Args:
        model: float.
        samples: feeds; nothing is tried with too few.
        layers: what is quantized, without smoothing.
        options: nothing is tried where they say whether to smooth, or move scales otherwise.
        recipe: nor where it has steps.
        progress: told about it.
    """
    is_asked = options.smooth_quant is not None or bool(layers.equalized)
    if is_asked or not decides_by_itself(options, recipe):
        return SmoothingTrial()
    split = hold_back(samples)
    if not split.held:
        return SmoothingTrial()
    progress("try smoothing")
    moved = model.clone()
    products = _smooth(moved, split.others, options)
    if not products:
        return SmoothingTrial()
    expected = FloatOutputs(model, split.held)
    before, after = (
        _noise(each, split.others, layers, options, expected) for each in (model, moved)
    )
    return SmoothingTrial(
        products if is_surely_less(after, before, _LEAST_GAIN) else (),
        float(before.mean()),
        float(after.mean()),
        len(split.held),
    )


def _smooth(
    model: ir.Model, samples: Sequence[Feed], options: QuantizeOptions
) -> tuple[str, ...]:
    """Move scales in place; the products' names, none where they gain too little."""
    SplitNormalisationsPass()(model)
    products = products_behind_normalisations(model.graph)
    names = tuple(node.name or "" for node in products)
    inputs = observe_inputs(model, samples, products, rows=SEARCH_ROWS, seed=options.seed)
    search = SmoothActivationsPass(inputs, None, names)
    search(model)
    JoinNormalisationsPass()(model)
    least = (1.0 - _LEAST_GAIN_OF_PRODUCTS) * search.error_before
    return names if search.error < least else ()


def _noise(
    model: ir.Model,
    samples: Sequence[Feed],
    layers: LayerChoices,
    options: QuantizeOptions,
    expected: FloatOutputs,
) -> Noise:
    """Of the samples held back, with ranges of the others."""
    qdq = dataclasses.replace(layers.qdq, quantize_outputs=False)
    ranges = collect_ranges(
        model,
        samples,
        method=options.calibration_method,
        percentile=options.calibration_percentile,
        values=values_to_observe(model.graph, qdq),
        choices=layers.ranges,
    )
    made = model.clone()
    InsertQdqPass(ranges, qdq)(made)
    runner = Runner(made)
    return sample_noise(runner, runner.names, expected)
