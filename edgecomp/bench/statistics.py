"""Summaries of repeated timings, and when a ratio of two programs means something.

A mean hides a noisy machine, and two programs timed one after the other see different moments
of it. So single programs are given by percentiles, and two are compared round by round: each
round runs both, gives one ratio of medians, and the spread over rounds is the answer's spread.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

#: From fewer rounds an interval would be a guess.
MINIMUM_ROUNDS = 5
_RESAMPLES = 2000
_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Summary:
    """Percentiles of one program's runs, in nanoseconds.

    Attributes:
        runs: how many.
        minimum_ns, p25_ns, p50_ns, p90_ns, p99_ns, maximum_ns: linear interpolation between
            runs.
        spread: distance between the quartiles divided by the median.
    """

    runs: int
    minimum_ns: float
    p25_ns: float
    p50_ns: float
    p90_ns: float
    p99_ns: float
    maximum_ns: float
    spread: float


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How many times faster A is than B: ``time of B / time of A``.

    Attributes:
        value: median of the rounds' ratios.
        low, high: 95 % interval of that median.
        rounds: pairs measured.
        inconclusive: the interval holds 1, or there were too few rounds: neither is faster.
    """

    value: float
    low: float
    high: float
    rounds: int
    inconclusive: bool


def summarize(times_ns: Sequence[float]) -> Summary:
    """Percentiles of at least one time."""
    if not len(times_ns):
        raise ValueError("no times to summarize")
    times = np.asarray(times_ns, np.float64)
    low, p25, p50, p75, p90, p99, high = np.percentile(times, [0, 25, 50, 75, 90, 99, 100])
    return Summary(
        runs=len(times),
        minimum_ns=float(low),
        p25_ns=float(p25),
        p50_ns=float(p50),
        p90_ns=float(p90),
        p99_ns=float(p99),
        maximum_ns=float(high),
        spread=float((p75 - p25) / p50) if p50 else 0.0,
    )


def paired_ratio(
    rounds_a: Sequence[Sequence[float]], rounds_b: Sequence[Sequence[float]]
) -> Ratio:
    """Compare two programs that were timed in turns.

    Args:
        rounds_a: times of A, one list per round.
        rounds_b: times of B in the same rounds.

    Returns:
        The median over rounds of ``median(B) / median(A)``; its interval is the bootstrap over
        rounds (Efron 1979, percentile method) with a fixed seed, so that equal times give
        equal text.
    """
    if len(rounds_a) != len(rounds_b) or not rounds_a:
        raise ValueError("both programs need the same number of rounds, at least one")
    ratios = np.array(
        [np.median(b) / np.median(a) for a, b in zip(rounds_a, rounds_b, strict=True)]
    )
    generator = np.random.default_rng(0)
    picks = generator.integers(0, len(ratios), (_RESAMPLES, len(ratios)))
    medians = np.median(ratios[picks], axis=1)
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.percentile(medians, [tail, 100 - tail])
    few = len(ratios) < MINIMUM_ROUNDS
    return Ratio(
        value=float(np.median(ratios)),
        low=float(low),
        high=float(high),
        rounds=len(ratios),
        inconclusive=bool(few or low <= 1 <= high),
    )
