"""Candidates of a search under budgets: built and measured."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.budget.metric import Measured, ModelRun
from edgecomp.budget.problem import FLOAT, INTEGER
from edgecomp.budget.result import Candidate, Step
from edgecomp.debugging.outputs import FloatOutputs, output_error
from edgecomp.device.load import HOST
from edgecomp.graph.run import Runner
from edgecomp.graph.shapes import static_shape
from edgecomp.options import BudgetOptions
from edgecomp.passes.layer_prices import total_seconds
from edgecomp.progress import Progress
from edgecomp.steps.budget_prices import Pricing
from edgecomp.steps.budget_time import measured_seconds
from edgecomp.steps.debug_trials import Trials


def model_run(model: ir.Model, *, fused: bool = False) -> ModelRun:
    """A model for a metric's function, computed by onnxruntime.

    Args:
        model: float or quantized.
        fused: let onnxruntime rewrite it, which is several times as fast and rounds otherwise; else
            each operator is computed as the file says.
    """
    inputs = {}
    for value in model.graph.inputs:
        assert value.dtype is not None
        inputs[value.name or ""] = (static_shape(value) or (), value.dtype.numpy())
    runner = Runner(model, optimize=fused)
    return ModelRun(runner, inputs, runner.names)


def weight_bytes(model: ir.Model) -> int:
    """Of all constants as the model stores them."""
    return sum(
        value.const_value.nbytes
        for value in model.graph.initializers.values()
        if value.const_value is not None
    )


@dataclasses.dataclass
class Measures:
    """Measures candidates, each once.

    Attributes:
        trials: make the candidates.
        reference: samples with float's outputs.
        metric: of a model that is described in words; None where none was given.
        better: 1 where higher is better, else -1.
        pricing: on the target.
        options: flags.
        progress: told about every candidate.
        float_metric: of the float model.
        candidates: so far.
    """

    trials: Trials
    reference: FloatOutputs
    metric: Callable[[ModelRun, str], Measured] | None
    better: float
    pricing: Pricing
    options: BudgetOptions
    progress: Progress
    float_metric: float | None = None
    candidates: list[Candidate] = dataclasses.field(default_factory=list)
    _known: dict[str, Candidate] = dataclasses.field(default_factory=dict)
    _measured: dict[str, Measured] = dataclasses.field(default_factory=dict)

    def of(
        self,
        change: str,
        steps: Sequence[Step],
        chosen: Mapping[str, str],
        predicted: float | None = None,
    ) -> Candidate:
        """Build a candidate and measure it.

        Args:
            change: what it has, in words.
            steps: of a recipe, behind those that there are.
            chosen: precision of each group of layers.
            predicted: noise.
        """
        key = repr(tuple(steps))
        if key in self._known:
            return self._known[key]
        self.progress("measure candidates", len(self.candidates))
        model = self.trials.quantized(steps).model
        value, drop = None, None
        if self.metric is not None and self.float_metric is not None:
            self._measured[key] = self.metric(model_run(model), change)
            value = self._measured[key].value
            drop = self.better * (self.float_metric - value)
        found = Candidate(
            change,
            tuple(steps),
            dict(sorted(Counter(chosen.values()).items())),
            output_error(model, self.reference).noise_to_signal,
            predicted,
            weight_bytes(model),
            value,
            drop,
            *self._seconds(model),
        )
        self._known[key] = found
        self.candidates.append(found)
        return found

    def noise(self, steps: Sequence[Step]) -> float:
        """Of the outputs alone."""
        return self.trials.noise(steps)

    def quick_noise(self, steps: Sequence[Step], samples: int) -> float:
        """The same of the first samples, with biases as the first model had them corrected."""
        return self.trials.error(steps, samples, quick=True).noise_to_signal

    def scores(self, candidate: Candidate) -> npt.NDArray[np.float64] | None:
        """Of each sample, by the metric of a candidate that was measured; a higher one is better."""
        return self._upward(self._measured[repr(candidate.steps)])

    def quick_scores(self, change: str, model: ir.Model) -> npt.NDArray[np.float64] | None:
        """The same of a model that is only compared with others: onnxruntime may rewrite it."""
        assert self.metric is not None
        return self._upward(self.metric(model_run(model, fused=True), change))

    def _upward(self, measured: Measured) -> npt.NDArray[np.float64] | None:
        return None if measured.scores is None else self.better * measured.scores

    @property
    def runs_here(self) -> bool:
        """Whether times are measured rather than modelled."""
        return self.pricing.target is not None and self.pricing.target.name == HOST

    def _seconds(self, model: ir.Model) -> tuple[float | None, bool]:
        target = self.pricing.target
        if target is None:
            return None, False
        if self.runs_here and self.options.max_ms is not None:
            sample = next(iter(self.reference.feeds))
            return measured_seconds(model, target, self.options, sample), True
        prices = {"it": self.pricing.prices(model)}
        seconds, _ = total_seconds(prices)
        return seconds["it"], False


def all_in(precision: str, names: Sequence[str]) -> dict[str, str]:
    """One precision for all."""
    return dict.fromkeys(names, precision)


def words(chosen: Mapping[str, str]) -> str:
    """An assignment in words."""
    count = Counter(chosen.values())
    others = sorted(set(count) - {FLOAT, INTEGER})
    rest = "".join(f", {count[precision]} in {precision}" for precision in others)
    return f"{count[INTEGER]} layers in 8 bits, {count[FLOAT]} in float{rest}"
