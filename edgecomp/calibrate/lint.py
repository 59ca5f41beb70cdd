"""Signs that a calibration set is not what the model will meet."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from edgecomp.calibrate.ranges import Range
from edgecomp.calibrate.settle import Drift
from edgecomp.calibrate.statistics import InputStatistics
from edgecomp.graph.constants import AnyArray

#: Below this many numbers an input is no picture or signal: shares of it say nothing.
_LEAST_NUMBERS = 64
#: Of the samples, so many may be blank, or the same as another.
_MOST_CONSTANT = 0.1
_MOST_REPEATED = 0.1
#: Numbers at both ends, and at each of them, that show clipping. Drawings and black borders have
#: as much at one end; a single end shows it only where hardly anything else is left.
_BOTH_ENDS, _EACH_END, _ONE_END = 0.6, 0.05, 0.97
#: How much wider or narrower than the example's the numbers may be, and how far off.
_MOST_RATIO = 8.0
_MOST_OFFSET = 6.0
#: Change of a range from half of the samples to all of them.
_MOST_DRIFT = 0.4


@dataclasses.dataclass(frozen=True)
class Finding:
    """One sign.

    Attributes:
        check: name of the check.
        text: what was found, one line without a final period.
        hint: one thing to try.
    """

    check: str
    text: str
    hint: str

    def __str__(self) -> str:
        return f"{self.text}; {self.hint}"


@dataclasses.dataclass(frozen=True)
class Subject:
    """What checks look at.

    Attributes:
        requested: samples asked for.
        samples: samples observed.
        complete: whether all that the source has were read, or as many as asked for.
        repeated: samples that are the same as an earlier one.
        inputs: statistics by input.
        examples: the example inputs that the model came with, by input; may lack any.
        drifts: most changed first.
    """

    requested: int
    samples: int
    complete: bool
    repeated: int
    inputs: Mapping[str, InputStatistics]
    examples: Mapping[str, AnyArray]
    drifts: list[Drift]


def lint(subject: Subject) -> list[Finding]:
    """Everything that the checks find, in their order."""
    return [
        Finding(name, text, hint)
        for name, (check, hint) in CHECKS.items()
        for text in check(subject)
    ]


def _fewer_samples(subject: Subject) -> Iterator[str]:
    if subject.complete and subject.samples < subject.requested:
        yield f"{subject.requested} samples were asked for, {subject.samples} found"


def _constant_inputs(subject: Subject) -> Iterator[str]:
    for name, numbers in subject.inputs.items():
        if _is_mask(numbers, subject):
            continue
        if numbers.low == numbers.high and numbers.count >= _LEAST_NUMBERS:
            yield f"every number of input '{name}' is {numbers.low:g}"


def _constant_samples(subject: Subject) -> Iterator[str]:
    for name, numbers in subject.inputs.items():
        if _is_mask(numbers, subject) or numbers.low == numbers.high:
            continue
        large = numbers.count >= _LEAST_NUMBERS * numbers.samples
        if large and numbers.constant > _MOST_CONSTANT * numbers.samples:
            yield f"input '{name}' is one number throughout in {_of(numbers.constant, numbers)}"


def _repeated_samples(subject: Subject) -> Iterator[str]:
    if subject.repeated > _MOST_REPEATED * subject.samples:
        yield f"{subject.repeated} of {subject.samples} samples are the same as an earlier one"


def _saturated_inputs(subject: Subject) -> Iterator[str]:
    for name, numbers in subject.inputs.items():
        if _is_mask(numbers, subject) or numbers.low == numbers.high:
            continue
        low, high = numbers.at_low / numbers.count, numbers.at_high / numbers.count
        both = low + high > _BOTH_ENDS and min(low, high) > _EACH_END
        if numbers.count >= _LEAST_NUMBERS and (both or max(low, high) > _ONE_END):
            yield (
                f"{low:.0%} of the numbers of input '{name}' are {numbers.low:g} and {high:.0%} "
                f"are {numbers.high:g}, as if they were clipped"
            )


def _normalization(subject: Subject) -> Iterator[str]:
    for name, numbers in subject.inputs.items():
        example = subject.examples.get(name)
        if example is None or example.dtype.kind != "f" or example.size < 2:
            continue
        mean, deviation = float(np.mean(example)), float(np.std(example))
        if not (np.isfinite(deviation) and deviation > 0.0 and numbers.deviation > 0.0):
            continue  # all zeros or ones say nothing about the model
        ratio = numbers.deviation / deviation
        offset = abs(numbers.mean - mean) / max(deviation, numbers.deviation)
        if not 1 / _MOST_RATIO < ratio < _MOST_RATIO or offset > _MOST_OFFSET:
            yield (
                f"input '{name}' is {numbers.mean:.3g} ± {numbers.deviation:.3g} in the samples "
                f"and {mean:.3g} ± {deviation:.3g} in the model's example input"
            )


def _unsettled_ranges(subject: Subject) -> Iterator[str]:
    large = [drift for drift in subject.drifts if drift.share > _MOST_DRIFT]
    if large and subject.complete:
        worst = large[0]
        others = f", and {len(large) - 1} others" if len(large) > 1 else ""
        yield (
            f"ranges have not settled: '{worst.name}' is {_text(worst.before)} by half of the "
            f"samples and {_text(worst.after)} by all{others}"
        )


#: Name -> check, and what helps.
CHECKS: dict[str, tuple[Callable[[Subject], Iterator[str]], str]] = {
    "fewer-samples": (
        _fewer_samples,
        "give more, or ask for fewer with --num-samples",
    ),
    "constant-input": (_constant_inputs, "see what the calibration data gives for it"),
    "constant-samples": (_constant_samples, "leave blank samples out"),
    "repeated-samples": (_repeated_samples, "give samples that differ"),
    "saturated-input": (
        _saturated_inputs,
        "scale the data to the input's range instead of clipping it",
    ),
    "normalization": (
        _normalization,
        "normalize samples as in training (for images --mean and --std)",
    ),
    "unsettled-ranges": (
        _unsettled_ranges,
        "give more samples, in an order that mixes their kinds",
    ),
}


def _is_mask(numbers: InputStatistics, subject: Subject) -> bool:
    """Whether an input is rather a switch beside the data than data: one of several, 0 or 1.

    Integers are indices, whose ends mean nothing.
    """
    switch = len(subject.inputs) > 1 and {numbers.low, numbers.high} <= {0.0, 1.0}
    return switch or numbers.integers


def _of(count: int, numbers: InputStatistics) -> str:
    return f"{count} of {numbers.samples} samples"


def _text(limits: Range) -> str:
    return f"{limits.low:.3g} to {limits.high:.3g}"
