"""Find out on samples that are held back how many products should have their biases corrected.

``correct_bias`` takes the mean error of every product out of its bias, one after the other. Where
all positions of a value matter alike, outputs come several dB nearer to float. But a mean may be made
by few positions, or by some that the outputs do not depend on, and then shifts the others: outputs
can get worse by 10 dB though every mean is right. No product knows which of its positions matter, so
that the outputs decide: of the corrections of the first products, as many are kept as bring them
nearest to float on samples that the corrections were not made from.

Means hang on the samples, of which only so many are in memory at a time: those that a build makes of
all of them can be worse than those that were tried. So these are judged as well before they are kept,
and have to be better than those of rounded weights alone.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.ranges import Range
from edgecomp.debugging.metrics import finite
from edgecomp.debugging.outputs import FloatOutputs
from edgecomp.graph.run import Runner
from edgecomp.passes.add_bias import add_bias
from edgecomp.passes.correct_bias import Means, correct_bias
from edgecomp.passes.correct_weight_errors import correct_weight_errors
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.progress import Progress
from edgecomp.steps.held_back import Feed, hold_back
from edgecomp.steps.recipe import bias_step
from edgecomp.steps.sample_noise import Noise, is_less, is_surely_less, sample_noise

#: Shares of the products that are tried.
_SHARES = (0.25, 0.5, 0.75, 1.0)
#: Corrections have to take this part of the noise away: chance corrects nothing.
_LEAST_GAIN = 0.2
#: And this part of what corrections of what rounded weights cause leave. Those have nothing to be
#: led astray by: they are known without samples but for the means of what products read, and are
#: kept unless samples surely speak against them.
_LEAST_GAIN_BY_WEIGHTS = 0.05


@dataclasses.dataclass(frozen=True)
class Trial:
    """What was found.

    Attributes:
        products: whose biases are to be corrected.
        noise: of the outputs over their power, with so many of the products corrected.
        samples: that were held back.
        by_weights: whether of what the rounding of weights causes alone, of all products.
        noise_by_weights: with that.
    """

    products: frozenset[str] = frozenset()
    noise: Mapping[int, float] = dataclasses.field(default_factory=dict)
    samples: int = 0
    by_weights: bool = False
    noise_by_weights: float = math.inf

    @property
    def facts(self) -> dict[str, Any]:
        """For the report; nothing where nothing was found."""
        if not self.products:
            return {}
        noise = self.noise_by_weights
        if not self.by_weights:
            noise = self.noise[len(self.products)]
        return {
            "biases_chosen": {
                "by": "rounded weights" if self.by_weights else "mean errors",
                "products": len(self.products),
                "noise_without": finite(self.noise[0]),
                "noise": noise,
                "held_back_samples": self.samples,
            }
        }

    def recipe_steps(self, graph: ir.Graph) -> list[dict[str, Any]]:
        """What a recipe says to have the same, for a graph with the products."""
        names = [node.name or "" for node in graph if node.name in self.products]
        return [bias_step(names, by_weights=self.by_weights)] if names else []


def try_bias(
    model: ir.Model,
    samples: Iterable[Feed],
    ranges: Mapping[str, Range],
    options: InsertQdqOptions,
    progress: Progress,
    *,
    reference: ir.Model,
) -> Trial:
    """Try corrections of biases; the model stays as it is.

    Args:
        model: float, its weights rounded where their rounding was learned.
        samples: feeds; nothing is tried with too few.
        ranges: as for ``InsertQdqPass``.
        options: as for ``InsertQdqPass``.
        progress: told about it.
        reference: the float model as trained.
    """
    split = hold_back(samples)
    if not split.held:
        return Trial()
    shifts: dict[str, Means] = {}
    count = correct_bias(
        model.clone(),
        split.others,
        ranges,
        options,
        progress=lambda done, total: progress("try corrections of biases", done, total),
        shifts=shifts,
        reference=reference,
    )
    if not count:
        return Trial()
    expected = FloatOutputs(reference, split.held)
    names = list(shifts)

    def noise(added: Mapping[str, Means]) -> Noise:
        made = model.clone()
        nodes = {node.name: node for node in made.graph}
        for name, shift in added.items():
            add_bias(nodes[name], shift)
        InsertQdqPass(ranges, options)(made)
        runner = Runner(made)
        return sample_noise(runner, runner.names, expected)

    def as_built(products: Collection[str]) -> dict[str, Means]:
        """What a build corrects, from all samples."""
        made: dict[str, Means] = {}
        correct_bias(
            model.clone(),
            samples,
            ranges,
            options,
            shifts=made,
            only=products,
            reference=reference,
        )
        return made

    counts = dict.fromkeys([0, *(max(1, round(share * count)) for share in _SHARES)])
    found = {
        corrected: noise({n: shifts[n] for n in names[:corrected]}) for corrected in counts
    }
    means = {corrected: float(each.mean()) for corrected, each in found.items()}
    weights: dict[str, Means] = {}
    correct_weight_errors(
        model.clone(), split.others, ranges, options, shifts=weights, reference=reference
    )
    of_weights = noise(weights)
    by_weights = float(of_weights.mean())
    use_weights = not is_surely_less(found[0], of_weights, 0.0)
    control = of_weights if use_weights else found[0]
    best = min(found, key=lambda corrected: means[corrected])
    kept = frozenset(names[:best])
    if (
        is_surely_less(found[best], found[0], _LEAST_GAIN)
        and is_surely_less(found[best], control, _LEAST_GAIN_BY_WEIGHTS)
        and is_less(noise(as_built(kept)), control, _LEAST_GAIN_BY_WEIGHTS)
    ):
        return Trial(kept, means, len(split.held), False, by_weights)
    kept = frozenset(weights) if use_weights else frozenset()
    return Trial(kept, means, len(split.held), use_weights, by_weights)
