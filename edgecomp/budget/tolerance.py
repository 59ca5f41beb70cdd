"""How much noise of the outputs a metric bears, from the models that were measured.

The drop of a metric grows with the noise, in a way that only measuring tells: the noise that is
allowed next lies between the most that held and the least that did not, where the drop grows like
the root of the noise power (the error's size) until more is known.
"""

import dataclasses
import math
from collections.abc import Sequence

#: Nearer than this to each other, both ends are one.
_CLOSE = 1.25
#: Parts of the distance that is left, on a scale of logarithms, in which the next one lies.
_MARGIN = 0.15
#: Of a guess with nothing that held below it.
_FURTHEST = 64.0
#: Aim below the limit: a guess that holds ends the search earlier.
_SAFETY = 0.85


@dataclasses.dataclass(frozen=True)
class Point:
    """A model that was measured.

    Attributes:
        noise: predicted.
        drop: of the metric.
    """

    noise: float
    drop: float


def next_noise(points: Sequence[Point], most: float) -> float | None:
    """The noise to allow next, None where nothing is left to learn.

    Args:
        points: measured models; at least one did not hold.
        most: drop that is allowed.
    """
    held = [p.noise for p in points if p.drop <= most]
    low = max(held, default=0.0)
    failed = [p for p in points if p.drop > most and p.noise > low]
    if not failed:
        return None
    nearest = min(failed, key=lambda p: p.noise)
    high = nearest.noise
    guess = high / 4.0
    if most > 0.0:
        guess = high * (_SAFETY * most / nearest.drop) ** 2
    if low > 0.0:
        if high / low < _CLOSE:
            return None
        distance = math.log(high / low)
        place = math.log(guess / low) / distance if guess > 0.0 else 0.0
        return low * math.exp(distance * min(max(place, _MARGIN), 1.0 - _MARGIN))
    return min(max(guess, high / _FURTHEST), high * _SAFETY)
