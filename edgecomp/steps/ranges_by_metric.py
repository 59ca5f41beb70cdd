"""Choose how the ranges of activations are chosen by the user's metric, on samples with labels.

``try_ranges`` brings the outputs near to float. A metric can prefer others to these: a reader of
text in which half of the lines are pale reads more of them right when an image's ends are clipped,
better than float does, and nothing that knows float alone can find that.

Every candidate is a run of the metric, which may take minutes, so that they are few: each method, for
all layers and for the first part of them alone, where the data come in. Each half of the samples
chooses one, and the other half, which had no part in that, says what it gains. Only where that is sure
of both together is a candidate taken: the best of all samples. The runs that choose are as onnxruntime
is fastest; those that decide are as the file says.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecomp.budget.result import Candidate, RangesByMetric
from edgecomp.calibrate.settle import Choice
from edgecomp.errors import Code, EdgecompError
from edgecomp.steps.budget_measure import Measures
from edgecomp.steps.recipe import ranges_step
from edgecomp.steps.sample_noise import is_surely_less
from edgecomp.steps.try_ranges import CANDIDATES, parts_of

_CHOICES: tuple[Choice, ...] = (("mse", 100.0), *CANDIDATES)
#: Fewer samples with scores cannot tell: half of them choose, half decide.
LEAST_SCORES = 100

Scores = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class _Tried:
    """Steps of a candidate, and what the score of each sample gains by it."""

    steps: Sequence[Mapping[str, Any]]
    gains: Scores


def choose_ranges(
    measures: Measures, first: Candidate, precisions: Mapping[str, str]
) -> tuple[Candidate, RangesByMetric]:
    """Try other ranges.

    Args:
        measures: builds and measures candidates.
        first: with the ranges that a build chooses.
        precisions: of each group of layers, for the candidate that is taken.

    Returns:
        A candidate that is surely better, else the first one; and what was found.

    Raises:
        EdgecompError: METRIC_INVALID.
    """
    metric = measures.options.metric
    before = scores_of(measures.scores(first), metric)
    quick = _try_quickly(measures, first, len(before))

    def exact(change: str) -> tuple[Candidate, Scores]:
        found = measures.of(change, quick[change].steps, precisions)
        return found, scores_of(measures.scores(found), metric, len(before))

    after = before.copy()
    for choosing, deciding in ((0, 1), (1, 0)):
        gains_of_half = {change: each.gains[choosing::2] for change, each in quick.items()}
        if chosen := _best(gains_of_half):
            after[deciding::2] = exact(chosen)[1][deciding::2]
    best = _best({change: each.gains for change, each in quick.items()})
    taken = bool(best) and is_surely_less(-after, -before, 0.0)
    gains = after - before
    result = RangesByMetric(
        tried={change: float(each.gains.mean()) for change, each in quick.items()},
        best=best,
        gain=float(gains.mean()),
        error=float(gains.std(ddof=1) / np.sqrt(len(gains))),
        samples=len(gains),
        taken=taken,
    )
    return exact(best)[0] if taken else first, result


def _try_quickly(measures: Measures, first: Candidate, count: int) -> dict[str, _Tried]:
    """Those whose ranges differ, in words; ``count`` scores are what each has to have."""
    metric = measures.options.metric
    start = measures.trials.quantized(first.steps)
    control = scores_of(measures.quick_scores(first.change, start.model), metric, count)
    known = [start.ranges_alone]
    tried: dict[str, _Tried] = {}
    for change, step in _candidates([block.node.name or "" for block in start.scope.blocks]):
        steps = (*first.steps, step)
        made = measures.trials.quantized(steps, quick=True)
        if made.ranges_alone in known:
            continue
        known.append(made.ranges_alone)
        measures.progress("try ranges by the metric", len(tried))
        scores = scores_of(measures.quick_scores(change, made.model), metric, count)
        tried[change] = _Tried(steps, scores - control)
    return tried


def _best(gains: Mapping[str, Scores]) -> str:
    """The name of the greatest mean, "" where none is a gain."""
    name = max(gains, key=lambda name: gains[name].mean(), default="")
    return name if name and gains[name].mean() > 0.0 else ""


def _candidates(names: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What is tried, in words and as a step."""
    for where, layers in (
        ("", names),
        (" of what the first quarter of the layers reads", parts_of(names)[0]),
    ):
        for method, percentile in _CHOICES:
            share = f" {percentile:g}" if method == "percentile" else ""
            yield (
                f"ranges{where} by {method}{share}",
                ranges_step((method, percentile), layers),
            )


def scores_of(scores: Scores | None, metric: str, count: int | None = None) -> Scores:
    """The scores, where they can tell.

    Args:
        scores: as the metric returned them.
        metric: as it was given, for the message.
        count: how many there were of another model.

    Raises:
        EdgecompError: METRIC_INVALID where there are none, too few, or not as many as before.
    """
    if scores is None or len(scores) < LEAST_SCORES:
        found = "none" if scores is None else str(len(scores))
        cause = f"ranges are chosen by scores of {LEAST_SCORES} samples at least, not {found}"
    elif count is not None and len(scores) != count:
        cause = f"the metric gave {len(scores)} scores where it had given {count} before"
    else:
        return scores
    raise EdgecompError(
        Code.METRIC_INVALID,
        f"--ranges-by-metric: {cause}",
        path=metric.rpartition(":")[0],
        hint="return (number, scores), with one finite number for each sample (docs/budgets.md)",
    )
