"""Find out on samples that are held back how the ranges of activations are chosen best.

The method ``mse`` weighs what is clipped against what is rounded by squares, as if an error of one
value cost as much as that of another. What the outputs of a model depend on is not known to it:
where few large values come from noise, as behind the first convolutions of a text reader, the
outputs come nearer to float when they are clipped; in a transformer, where single channels are
large and matter, when nothing is. So the outputs decide: first one method for the whole model, then
for one part of its layers after another, which need not agree.

Ranges are two numbers each and are made from all samples; the few methods that are tried leave
little to choose from by chance. Those that only seem better are kept out all the same: what is
changed has to take a part of the noise away, and some without the one sample that gains most.

Where a softmax is sure of its answer there is hardly any noise, so that of sixteen samples one or two
can be all that is judged by. What these prefer is chance, and can be several times as far from float on
others (docs/accuracy.md, magika). Then those that would make corrections judge as well: nothing else is
made from them here.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.ranges import Range
from edgecomp.calibrate.settle import Choice
from edgecomp.debugging.outputs import FloatOutputs
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import Scope, decide_scope
from edgecomp.progress import Progress
from edgecomp.recipe.settings import LayerSettings
from edgecomp.steps.held_back import Feed, hold_back
from edgecomp.steps.recipe import range_choices, ranges_step
from edgecomp.steps.sample_noise import Noise, is_less, sample_noise, telling
from edgecomp.steps.simulate import Simulation

#: What is tried in place of mse.
CANDIDATES: tuple[Choice, ...] = (
    ("minmax", 100.0),
    ("percentile", 99.99),
    ("percentile", 99.9),
)
#: Parts of the layers, in their order, that choose apart.
_PARTS = 4
#: Part of the noise that another method has to take away, for the whole model and for a part.
_LEAST_GAIN = 0.1
_LEAST_GAIN_OF_PART = 0.03
#: With fewer that tell, all samples that were read judge: three times the work.
_LEAST_TELLING = 4

#: Method and percentile, and the names of the nodes whose inputs have their range by it; of two
#: steps that name a reader of one value the later one decides.
RangeStep = tuple[Choice, tuple[str, ...]]
#: Of each part of the layers; None for mse.
_Plan = tuple[Choice | None, ...]


@dataclasses.dataclass(frozen=True)
class RangeTrial:
    """What was found.

    Attributes:
        steps: what is chosen otherwise, () for nothing.
        ranges: of the values that the steps change.
        before: noise of the outputs over their power, the mean over samples, with mse.
        after: the same with the steps.
        samples: that judged.
    """

    steps: tuple[RangeStep, ...] = ()
    ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    before: float = 0.0
    after: float = 0.0
    samples: int = 0

    def recipe_steps(self) -> list[dict[str, Any]]:
        """What a recipe says to have the same."""
        return [ranges_step(choice, names) for choice, names in self.steps]


def try_ranges(
    model: ir.Model,
    samples: Iterable[Feed],
    ranges: Mapping[str, Range],
    others: Mapping[Choice, Mapping[str, Range]],
    options: InsertQdqOptions,
    progress: Progress,
    *,
    reference: ir.Model,
) -> RangeTrial:
    """Try other ranges; the model stays as it is.

    Args:
        model: float.
        samples: feeds; nothing is tried with too few.
        ranges: as for ``InsertQdqPass``, by mse.
        others: the same by other methods.
        options: as for ``InsertQdqPass``.
        progress: told about it.
        reference: the float model as trained.
    """
    split = hold_back(samples)
    scope = decide_scope(model.graph, options, lambda _: "")
    parts = parts_of([block.node.name or "" for block in scope.blocks])
    if not split.held or not parts:
        return RangeTrial()
    simulation = Simulation(
        model, ranges, dataclasses.replace(options, quantize_outputs=False)
    )

    def noise_with(each: Mapping[str, Range], expected: FloatOutputs) -> Noise:
        affines = simulation.affines(each)
        return sample_noise(
            lambda feed: simulation.run(feed, affines), simulation.names, expected
        )

    judges = split.held
    expected = FloatOutputs(reference, judges)
    by_mse = noise_with(ranges, expected)
    if telling(by_mse) < _LEAST_TELLING:
        judges = (*split.held, *split.others)
        expected = FloatOutputs(reference, judges)
        by_mse = noise_with(ranges, expected)
    known: dict[tuple[tuple[str, Range], ...], Noise] = {(): by_mse}

    def noise(plan: _Plan) -> Noise:
        changed = _ranges_of(scope, _steps(plan, parts), ranges, others)
        key = tuple(sorted(changed.items(), key=lambda item: item[0]))
        if key not in known:
            known[key] = noise_with({**ranges, **changed}, expected)
        progress("try ranges", len(known), 1 + len(others) * (1 + len(parts)))
        return known[key]

    plain: _Plan = (None,) * len(parts)
    best = _best(plain, [(choice,) * len(parts) for choice in others], noise)
    for index in range(len(parts)):
        plans = [(*best[:index], choice, *best[index + 1 :]) for choice in (None, *others)]
        best = _best(best, plans, noise)
    before, after = noise(plain), noise(best)
    if not is_less(after, before, _LEAST_GAIN):
        best, after = plain, before
    steps = _steps(best, parts)
    return RangeTrial(
        steps,
        _ranges_of(scope, steps, ranges, others),
        float(before.mean()),
        float(after.mean()),
        len(judges),
    )


def _best(start: _Plan, plans: Sequence[_Plan], noise: Callable[[_Plan], Noise]) -> _Plan:
    """The plan of least noise among those that are better than where it starts, or the start."""
    before = noise(start)
    better = [plan for plan in plans if is_less(noise(plan), before, _LEAST_GAIN_OF_PART)]
    return min(better, key=lambda plan: float(noise(plan).mean()), default=start)


def parts_of(nodes: Sequence[str]) -> list[tuple[str, ...]]:
    """Names in parts of about the same number."""
    ends = np.linspace(0, len(nodes), min(_PARTS, len(nodes)) + 1).round().astype(int)
    return [tuple(nodes[a:b]) for a, b in itertools.pairwise(ends)]


def _steps(plan: _Plan, parts: Sequence[tuple[str, ...]]) -> tuple[RangeStep, ...]:
    """One for each run of parts with the same choice."""
    steps: list[RangeStep] = []
    pairs = zip(plan, parts, strict=True)
    for choice, run in itertools.groupby(pairs, key=lambda pair: pair[0]):
        if choice is not None:
            steps.append((choice, tuple(name for _, part in run for name in part)))
    return tuple(steps)


def _ranges_of(
    scope: Scope,
    steps: Sequence[RangeStep],
    ranges: Mapping[str, Range],
    others: Mapping[Choice, Mapping[str, Range]],
) -> dict[str, Range]:
    """Ranges that steps change, as a recipe with them would."""
    settings = {block.node.name or "": LayerSettings() for block in scope.blocks}
    chosen: set[Choice] = set()
    for number, (choice, names) in enumerate(steps):
        chosen.add(choice)
        settings |= {
            name: LayerSettings(
                calibration_method=choice[0],
                calibration_percentile=choice[1],
                range_step=number,
            )
            for name in names
        }
    found = {
        name: others[choice][name]
        for name, choice in range_choices(scope, settings).items()
        if choice in chosen and name in others[choice]
    }
    return {name: each for name, each in found.items() if each != ranges.get(name)}
