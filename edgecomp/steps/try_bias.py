"""Find out on samples that are held back how many products should have their biases corrected.

``correct_bias`` takes the mean error of every product out of its bias, one after the other. Where
all positions of a value matter alike, outputs come several dB nearer to float. But a mean may be made
by few positions, or by some that the outputs do not depend on, and then shifts the others: outputs
can get worse by 10 dB though every mean is right. No product knows which of its positions matter, so
that the outputs decide: of the corrections of the first products, as many are kept as bring them
nearest to float on samples that the corrections were not made from.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.ranges import Range
from edgecomp.debugging.metrics import finite
from edgecomp.debugging.outputs import FloatOutputs, output_error
from edgecomp.passes.add_bias import add_bias
from edgecomp.passes.correct_bias import Means, correct_bias
from edgecomp.passes.correct_weight_errors import correct_weight_errors
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_scope import InsertQdqOptions
from edgecomp.progress import Progress
from edgecomp.steps.held_back import Feed, hold_back
from edgecomp.steps.recipe import bias_step

#: Shares of the products that are tried.
_SHARES = (0.25, 0.5, 0.75, 1.0)
#: Corrections have to take this part of the noise away: chance corrects nothing.
_LEAST_GAIN = 0.2
#: The same for those of what rounded weights cause, which have nothing to be led astray by.
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

    def noise(added: Mapping[str, Means]) -> float:
        made = model.clone()
        nodes = {node.name: node for node in made.graph}
        for name, shift in added.items():
            add_bias(nodes[name], shift)
        InsertQdqPass(ranges, options)(made)
        return output_error(made, expected).noise_to_signal

    counts = dict.fromkeys([0, *(max(1, round(share * count)) for share in _SHARES)])
    found = {
        corrected: noise({n: shifts[n] for n in names[:corrected]}) for corrected in counts
    }
    best = min(found, key=lambda corrected: found[corrected])
    if not found[best] <= (1.0 - _LEAST_GAIN) * found[0]:
        best = 0
    weights: dict[str, Means] = {}
    correct_weight_errors(
        model.clone(), split.others, ranges, options, shifts=weights, reference=reference
    )
    by_weights = noise(weights)
    if by_weights < found[best] and by_weights <= (1.0 - _LEAST_GAIN_BY_WEIGHTS) * found[0]:
        return Trial(frozenset(weights), found, len(split.held), True, by_weights)
    return Trial(frozenset(names[:best]), found, len(split.held), False, by_weights)
