"""Which layers to widen, and which other settings help: by measuring the outputs."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edgecomp.calibrate.ranges import METHODS
from edgecomp.debugging.bisect import smallest_set
from edgecomp.debugging.layers import Layer, share_of_multiply_adds
from edgecomp.debugging.metrics import decibels, noise_of
from edgecomp.debugging.result import Search, Trial
from edgecomp.progress import Progress

Step = dict[str, Any]


class Measure(Protocol):
    """Noise to signal of the outputs with further steps of a recipe."""

    def __call__(
        self, steps: Sequence[Step], most: int | None = None, *, quick: bool = False
    ) -> float:
        """Over so many samples or all; ``quick`` corrects no bias anew."""


#: Layers whose effect on the outputs is measured one by one, and samples for that.
MOST_CANDIDATES, FEW_SAMPLES = 32, 4
#: Layers that other settings are tried for.
MOST_TRIED = 8
#: A setting is kept where it takes at least this part of the noise away.
_LEAST_GAIN = 0.03
#: The goal where none is given: this much better, up to what is good enough for most tasks.
_BETTER_DB, _GOOD_DB = 10.0, 40.0
#: What floating point leaves of a goal.
_SLACK = 1e-9


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is searched.

    Attributes:
        layers: of the model, in execution order.
        noise_alone: name -> noise to signal of its results when it is quantized alone.
        methods: name -> how the ranges of what it reads are chosen.
        per_tensor: names of layers whose weights have one scale.
        corrected: whether all biases are corrected already.
        narrower: name -> precisions that it could have in the place of float, in words and as
            recipes name them, cheapest first.
        whole: whether a step for all nodes changes nothing but their method, since none was
            left float.
    """

    layers: Sequence[Layer]
    noise_alone: Mapping[str, float]
    methods: Mapping[str, str]
    per_tensor: frozenset[str]
    corrected: bool
    whole: bool
    narrower: Mapping[str, Sequence[tuple[str, str]]] = dataclasses.field(default_factory=dict)


def default_goal(output_db: float) -> float:
    """SQNR that the outputs shall have where nobody says."""
    return min(output_db + _BETTER_DB, _GOOD_DB)


def float_step(names: Sequence[str]) -> list[Step]:
    """The step that leaves layers float."""
    return [{"pass": "float", "targets": list(names)}] if names else []


def effects(subject: Subject, measure: Measure, progress: Progress) -> dict[str, float]:
    """Noise of the outputs with one layer left float, for the layers of most noise alone."""
    worst = sorted(subject.layers, key=lambda layer: -subject.noise_alone[layer.name])
    found = {}
    for index, layer in enumerate(worst[:MOST_CANDIDATES]):
        progress("widen one layer", index, min(len(worst), MOST_CANDIDATES))
        found[layer.name] = measure(float_step([layer.name]), FEW_SAMPLES, quick=True)
    return found


def search(
    subject: Subject,
    effect: Mapping[str, float],
    measure: Measure,
    goal_db: float,
    progress: Progress,
) -> Search:
    """Search the smallest set of layers to widen, then other settings that make it smaller.

    Args:
        subject: the layers.
        effect: noise of the outputs with one layer left float, see ``effects``.
        measure: of the outputs.
        goal_db: SQNR that they shall have.
        progress: told about every trial.
    """
    goal = noise_of(goal_db) * (1.0 + _SLACK)
    asked = 0

    def restoring(settings: Sequence[Step], order: Sequence[str]) -> list[str] | None:
        def restored(names: frozenset[str], *, quick: bool = True) -> bool:
            nonlocal asked
            asked += 1
            progress("bisect", asked)
            kept = [name for name in order if name in names]
            return measure([*settings, *float_step(kept)], quick=quick) <= goal

        found = smallest_set(order, restored)
        if found is not None and restored(frozenset(found), quick=False):
            return found
        return smallest_set(order, functools.partial(restored, quick=False))

    order = _order(subject, effect)
    found = restoring((), order)
    widened = found or []
    restored = measure(float_step(widened), None)
    settings, trials = _other_settings(
        subject, widened or order[:MOST_TRIED] if found != [] else [], measure, progress
    )
    rest: list[str] | None = widened
    if settings:
        rest = restoring(settings, [*widened, *(n for n in order if n not in widened)])
    settings = _still_needed(settings, rest or [], measure, goal)
    narrow = _narrower(subject, settings, rest or [], measure, goal, progress)
    wide = [name for name in rest or [] if name not in narrow]
    steps = [*settings, *float_step(wide), *(trial.step for trial in narrow.values())]
    trials = [
        dataclasses.replace(trial, kept=any(trial.step is step for step in settings))
        for trial in trials
    ] + [
        Trial(n, "stays float", decibels(effect.get(n, math.nan)), float_step([n])[0], True)
        for n in wide
    ]
    trials += narrow.values()
    return Search(
        goal_db,
        None if found is None else tuple(found),
        decibels(restored),
        share_of_multiply_adds(widened, subject.layers),
        tuple(trials),
        tuple(dict(step) for step in steps),
        decibels(measure(steps, None)),
        share_of_multiply_adds(wide, subject.layers),
    )


def _order(subject: Subject, effect: Mapping[str, float]) -> list[str]:
    """Layers by what widening each does to the outputs; then those that were not tried."""
    names = sorted(effect, key=lambda name: effect[name])
    others = sorted(
        (layer.name for layer in subject.layers if layer.name not in effect),
        key=lambda name: -subject.noise_alone[name],
    )
    return [*names, *others]


def _other_settings(
    subject: Subject, names: Sequence[str], measure: Measure, progress: Progress
) -> tuple[list[Step], list[Trial]]:
    """Settings that keep the layers in 8 bits and measure better, one layer after the other."""
    steps: list[Step] = []
    trials: list[Trial] = []
    if not names:
        return steps, trials
    best = measure(steps, quick=True)
    groups = ["*"] if subject.whole else []
    groups += names[:MOST_TRIED]
    groups += [] if subject.corrected else [""]
    for index, name in enumerate(groups):
        progress("try other settings", index, len(groups))
        tried = []
        for change, step in _alternatives(subject, name, steps):
            noise = measure([*steps, step], quick=bool(name))
            tried.append((noise, step))
            trials.append(Trial(name, change, decibels(noise), step))
        if not tried:
            continue
        noise, step = min(tried, key=lambda each: each[0])
        if noise <= best * (1.0 - _LEAST_GAIN):
            best = noise
            steps.append(step)
    return steps, trials


def _narrower(
    subject: Subject,
    settings: Sequence[Step],
    wide: Sequence[str],
    measure: Measure,
    goal: float,
    progress: Progress,
) -> dict[str, Trial]:
    """Layers that need not be float: their cheapest precision with which the goal still holds."""

    def noise(narrow: Mapping[str, Trial], *, quick: bool = True) -> float:
        left = float_step([name for name in wide if name not in narrow])
        return measure([*settings, *left, *(t.step for t in narrow.values())], quick=quick)

    found: dict[str, Trial] = {}
    most = max(goal, noise({}) * (1.0 + _SLACK))
    for index, name in enumerate(wide[:MOST_TRIED]):
        progress("try narrower forms", index, min(len(wide), MOST_TRIED))
        for change, precision in subject.narrower.get(name, ()):
            step: Step = {
                "pass": "quantize", "targets": [name], "args": {"precision": precision}
            }  # fmt: skip
            trial = Trial(name, change, 0.0, step, True)
            reached = noise({**found, name: trial})
            if reached <= most:
                found[name] = dataclasses.replace(trial, output_db=decibels(reached))
                break
    if found and noise(found, quick=False) > max(goal, noise({}, quick=False)):
        return {}
    return found


def _still_needed(
    settings: list[Step], widened: Sequence[str], measure: Measure, goal: float
) -> list[Step]:
    """Settings without those of layers that became float, where these change nothing."""
    kept = [step for step in settings if not set(step.get("targets", ())) & set(widened)]
    noises = [measure([*each, *float_step(widened)], None) for each in (kept, settings)]
    return kept if noises[0] <= max(goal, noises[1]) else settings


def _alternatives(
    subject: Subject, name: str, steps: Sequence[Step]
) -> list[tuple[str, Step]]:
    """Each other setting, in words and as a step.

    Args:
        subject: the layers.
        name: of a layer; ``*`` for the ranges of all layers, "" for their biases.
        steps: that are kept so far.
    """
    if not name:
        return [("bias correction", {"pass": "bias_correction"})]
    everywhere = [s["args"]["calibration_method"] for s in steps if "targets" not in s]
    used = {*subject.methods.values()} - {""} if name == "*" else {subject.methods.get(name)}
    if everywhere:
        used = {everywhere[-1]}
    targets = {} if name == "*" else {"targets": [name]}

    def step(**arguments: Any) -> Step:
        return {"pass": "quantize", **targets, "args": arguments}

    what = "all ranges" if name == "*" else "ranges of what it reads"
    found = [
        (f"{what} by {method}", step(calibration_method=method))
        for method in METHODS
        if used != {method}
    ]
    if name in subject.per_tensor:
        found.append(("a scale per channel of its weights", step(per_channel=True)))
    return found
