"""What a search under budgets tried and ended with: for programs and for people."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgecomp.debugging.metrics import decibels, finite

Step = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is allowed; None where nothing is said.

    Attributes:
        drop: of the metric, in its own units.
        bytes: of the weights as stored.
        seconds: of one inference.
    """

    drop: float | None = None
    bytes: int | None = None
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model that was built and measured.

    Attributes:
        change: what it has, in words.
        steps: of a recipe, behind those that there were.
        precisions: of layers -> how many have it.
        noise: of the outputs, relative to their signal, measured.
        predicted: the same as it was predicted, None where it was not.
        bytes: of the weights as stored.
        metric: None without a metric.
        drop: what the metric lost; negative where it gained.
        seconds: of one inference, None where nothing is known of the target.
        measured: whether the seconds were measured rather than modelled.
    """

    change: str
    steps: Sequence[Step]
    precisions: Mapping[str, int]
    noise: float
    predicted: float | None
    bytes: int
    metric: float | None = None
    drop: float | None = None
    seconds: float | None = None
    measured: bool = False

    def holds(self, limits: Limits) -> bool:
        """Whether it is within all limits."""
        pairs = (
            (self.drop, limits.drop),
            (self.bytes, limits.bytes),
            (self.seconds, limits.seconds),
        )
        return all(
            most is None or (found is not None and found <= most) for found, most in pairs
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        facts: dict[str, Any] = {
            "change": self.change,
            "precisions": dict(self.precisions),
            "output_db": finite(decibels(self.noise)),
            "weight_bytes": self.bytes,
        }
        if self.predicted is not None:
            facts["predicted_db"] = finite(decibels(self.predicted))
        if self.metric is not None:
            facts |= {"metric": self.metric, "drop": self.drop}
        if self.seconds is not None:
            facts["ms"] = round(self.seconds * 1e3, 6)
            facts["ms_is"] = "measured" if self.measured else "modelled"
        return facts


@dataclasses.dataclass(frozen=True)
class RangesByMetric:
    """What the metric says about ranges.

    Attributes:
        tried: what was tried, in words -> what a sample's score gains by it, the mean.
        best: of these, in words; "" where all lose.
        gain: the mean over all samples, each by what the half chose that it is not in.
        error: standard error of that mean.
        samples: with scores.
        taken: whether the gain is sure.
    """

    tried: Mapping[str, float]
    best: str
    gain: float
    error: float
    samples: int
    taken: bool

    def line(self) -> str:
        """For people."""
        if not self.best:
            return f"ranges by the metric: none of {len(self.tried)} others is better"
        return (
            f"ranges by the metric: {self.best}: a score gains {self.gain:.4g} ± "
            f"{self.error:.2g}, the mean of {self.samples} samples: "
            + ("taken" if self.taken else "not sure, left out")
        )


@dataclasses.dataclass(frozen=True)
class BudgetReport:
    """All of it.

    Attributes:
        limits: that were given.
        float_metric: of the float model, None without a metric.
        candidates: in the order in which they were measured.
        chosen: index of the one that is built.
        recipe: whole, flags included.
        objective: what was minimised, in words.
        ranges: what the metric says about them, where it was asked.
    """

    limits: Limits
    float_metric: float | None
    candidates: Sequence[Candidate]
    chosen: int
    recipe: Sequence[Step]
    objective: str
    ranges: RangesByMetric | None = None

    @property
    def best(self) -> Candidate:
        """The one that is built."""
        return self.candidates[self.chosen]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        limits = {
            "max_drop": self.limits.drop,
            "max_bytes": self.limits.bytes,
            "max_ms": None if self.limits.seconds is None else self.limits.seconds * 1e3,
        }
        return {
            "limits": {name: most for name, most in limits.items() if most is not None},
            "objective": self.objective,
            **({} if self.float_metric is None else {"float_metric": self.float_metric}),
            **(
                {}
                if self.ranges is None
                else {"ranges_by_metric": dataclasses.asdict(self.ranges)}
            ),
            "chosen": self.best.as_dict(),
            "tried": [candidate.as_dict() for candidate in self.candidates],
        }

    def lines(self) -> list[str]:
        """For people."""
        head = [] if self.float_metric is None else [f"metric of float: {self.float_metric:g}"]
        return [
            *head,
            *([] if self.ranges is None else [self.ranges.line()]),
            *(
                f"{'->' if i == self.chosen else '  '} {describe(candidate)}"
                for i, candidate in enumerate(self.candidates)
            ),
        ]


def describe(candidate: Candidate) -> str:
    """A candidate in one line."""
    parts = [f"{candidate.change}:"]
    if candidate.metric is not None:
        parts.append(f"metric {candidate.metric:g} (drop {candidate.drop:.4g}),")
    parts.append(f"outputs {_db_text(candidate.noise)},")
    parts.append(f"weights {candidate.bytes} bytes")
    if candidate.seconds is not None:
        how = "measured" if candidate.measured else "modelled"
        parts.append(f", {candidate.seconds * 1e3:.4g} ms {how}")
    return " ".join(parts).replace(" ,", ",")


def _db_text(noise: float) -> str:
    db = decibels(noise)
    return f"{db:.1f} dB" if math.isfinite(db) else ("exact" if db > 0 else "no signal")
