"""One calibration, many recipes: the quantized models that debugging compares."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.histogram import Histogram
from edgecomp.calibrate.observe import functions_of
from edgecomp.calibrate.ranges import Range, range_of
from edgecomp.calibrate.settle import Choice
from edgecomp.debugging.outputs import FloatOutputs, OutputError, output_error
from edgecomp.options import QuantizeOptions
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_options import InsertQdqOptions, ValueProducts
from edgecomp.passes.quantization_scope import Scope, values_to_observe
from edgecomp.plan.values import Array
from edgecomp.progress import Progress, silent
from edgecomp.recipe.read import recipe_of
from edgecomp.recipe.recipe import Recipe
from edgecomp.steps import four_bits
from edgecomp.steps.beside import Known, store_beside
from edgecomp.steps.biases import Calibrated, Shifts, correct_biases, worth_correcting
from edgecomp.steps.quantize import chooses_ranges, insert_known
from edgecomp.steps.recipe import LayerChoices, choose_for_layers
from edgecomp.steps.round_weights import round_weights
from edgecomp.steps.try_ranges import CANDIDATES, try_ranges
from edgecomp.steps.try_smoothing import SmoothingTrial

Steps = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Quantized:
    """A model under one recipe.

    Attributes:
        model: with Quantize and Dequantize nodes.
        corrected: the float model whose weights and biases it has.
        scope: what is computed in integers.
        ranges: of its stored values, with how each was chosen.
    """

    model: ir.Model
    corrected: ir.Model
    scope: Scope
    ranges: Mapping[str, tuple[Range, Choice]]

    @property
    def ranges_alone(self) -> dict[str, Range]:
        """Of its stored values."""
        return {name: limits for name, (limits, _) in self.ranges.items()}


class Trials:
    """Quantize one model again and again, as a build with the same recipe would.

    Args:
        model: float, after the float passes.
        options: flags.
        recipe: steps that there are.
        histograms: of all values that may be stored, over the calibration samples.
        calibration: the samples, for biases that are corrected and weights whose rounding is learned.
        reference: what the outputs should be.
        floats: whether layers that no step names stay float.
        value_products: which products of two values are quantized.
    """

    def __init__(
        self,
        model: ir.Model,
        options: QuantizeOptions,
        recipe: Recipe,
        histograms: Mapping[str, Histogram],
        calibration: Iterable[Mapping[str, Array]],
        reference: FloatOutputs,
        *,
        floats: bool,
        value_products: ValueProducts,
    ) -> None:
        self._model = model
        self._options = options
        self._recipe = recipe
        self._histograms = histograms
        self._functions = functions_of(model, histograms)
        self._calibration = calibration
        self._reference = reference
        self._floats = floats
        self._value_products = value_products
        self._ranges: dict[tuple[str, Choice], Range] = {}
        self._rounded: dict[tuple[str, bool, int], Array] = {}
        self._beside: Known = {}
        self._four_bits: four_bits.Known = {}
        self._shifts: dict[str, Shifts] = {}
        self._errors: dict[tuple[str, int | None, bool], OutputError] = {}

    @property
    def model(self) -> ir.Model:
        """The float model."""
        return self._model

    @property
    def recipe(self) -> Recipe:
        """The steps that all trials have."""
        return self._recipe

    def begin_as_a_build(self, smoothing: SmoothingTrial, progress: Progress) -> None:
        """Let all trials have the ranges and biases that a build chooses without being asked.

        Args:
            smoothing: what a build moves, as the model has it already.
            progress: told about it.
        """
        given = self._recipe
        self._add(smoothing.recipe_steps())
        if chooses_ranges(self._options, given):
            self._choose_ranges(progress)
        first = self.quantized()
        ranges = first.ranges_alone
        subject = Calibrated(
            first.corrected, self._model, self._calibration, ranges, self.choices().qdq
        )
        found = worth_correcting(subject, self._options, given, progress)
        self._add(found.recipe_steps(self._model.graph))

    def _choose_ranges(self, progress: Progress) -> None:
        first = self.quantized()
        others = {
            choice: {name: self._range(name, choice) for name in first.ranges}
            for choice in CANDIDATES
        }
        tried = try_ranges(
            self._model,
            self._calibration,
            first.ranges_alone,
            others,
            self.choices().qdq,
            progress,
            reference=self._model,
        )
        self._add(tried.recipe_steps())

    def _add(self, steps: Steps) -> None:
        self._recipe = Recipe((*self._recipe.steps, *recipe_of(list(steps)).steps))

    def quantized(self, steps: Steps = (), *, quick: bool = False) -> Quantized:
        """The model with further steps behind those of the recipe.

        Args:
            steps: further ones.
            quick: correct biases by what was found for the first model that was corrected so, though
                other layers are quantized now.
        """
        layers = self.choices(steps)
        chosen = self._methods_of(layers)
        ranges = {name: self._range(name, choice) for name, choice in chosen.items()}
        corrected, qdq = self._with_weights(layers)
        known = self._shifts if quick else {}
        subject = Calibrated(corrected, self._model, self._calibration, ranges, qdq)
        correct_biases(subject, layers, silent, known)
        self._shifts = {**known, **self._shifts}
        model = corrected.clone()
        stored = store_beside(
            self._model, self._calibration, layers.beside, layers.to_nearest, self._beside
        )
        insert_known(model, ranges, qdq, stored)
        scope = InsertQdqPass(ranges, qdq).scope_of(corrected.graph)
        how = {name: (ranges[name], choice) for name, choice in chosen.items()}
        return Quantized(model, corrected, scope, how)

    def _methods_of(self, layers: LayerChoices) -> dict[str, Choice]:
        """How the range of each value is chosen that these layers need."""
        plain = (self._options.calibration_method, self._options.calibration_percentile)
        return {
            name: layers.ranges.get(name, plain)
            for name in values_to_observe(self._model.graph, layers.qdq)
            if name in self._histograms
        }

    def _with_weights(self, layers: LayerChoices) -> tuple[ir.Model, InsertQdqOptions]:
        """The float model with the weights of layers whose rounding is chosen.

        It is the model itself where nothing is changed in it, now or in its biases later.
        """
        qdq = layers.qdq
        biases = layers.corrected | layers.weights_corrected
        if not (biases or layers.rounded or qdq.four_bits):
            return self._model, qdq
        model = self._model.clone()
        if layers.rounded:
            round_weights(
                model,
                self._calibration,
                qdq,
                only=layers.rounded,
                seed=self._options.seed,
                known=self._rounded,
            )
        if qdq.four_bits:
            qdq, _ = four_bits.round_four_bits(
                model,
                self._model,
                self._calibration,
                qdq,
                layers,
                self._options,
                silent,
                self._four_bits,
            )
        return model, qdq

    def choices(self, steps: Steps = ()) -> LayerChoices:
        """What is done to the layers."""
        recipe = Recipe((*self._recipe.steps, *recipe_of(list(steps)).steps))
        return choose_for_layers(
            self._model.graph,
            self._options,
            recipe,
            floats=self._floats,
            value_products=self._value_products,
        )

    def error(
        self, steps: Steps = (), most: int | None = None, *, quick: bool = False
    ) -> OutputError:
        """How far the outputs are from float.

        Args:
            steps: further ones.
            most: samples to look at.
            quick: see ``quantized``.
        """
        key = (json.dumps(list(steps)), most, quick)
        if key not in self._errors:
            model = self.quantized(steps, quick=quick).model
            self._errors[key] = output_error(model, self._reference, most)
        return self._errors[key]

    def noise(
        self, steps: Steps = (), most: int | None = None, *, quick: bool = False
    ) -> float:
        """Noise to signal of the outputs; arguments as of ``error``."""
        return self.error(steps, most, quick=quick).noise_to_signal

    def _range(self, name: str, choice: Choice) -> Range:
        if (name, choice) not in self._ranges:
            self._ranges[name, choice] = range_of(
                self._histograms[name], *choice, self._functions.get(name)
            )
        return self._ranges[name, choice]
