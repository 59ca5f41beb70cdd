"""AdaRound: learn which weights are rounded up and which down.

    minimize ||X W - X Q||^2 over Q whose every number is one of the two beside W

Rounding to nearest is best for each weight alone; what a layer computes depends on what the
errors of its weights add up to. The share ``h`` by which a weight goes up is learned, as a
rectified sigmoid of a free variable ``v``, from where it is nearest to the trained weight:

    h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1)        q = floor(w / s) + h(v)
    loss = error + strength * sum(1 - |2 h - 1|^beta)

``beta`` falls from 20 to 2, which drives every ``h`` to 0 or 1 in the end (Nagel, Amjad, van
Baalen, Louizos, Blankevoort, "Up or down? Adaptive rounding for post-training quantization",
ICML 2020, section 3.3). The error is that of the layer alone, on inputs of the float model:
``X^T X`` is all that counts of them, so that memory does not grow with the samples. Where a
column of the result is no better than by rounding to nearest, it is rounded to nearest.

Every step is Adam's on the whole ``X^T X``: nothing is drawn at random.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

Real = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

_STRETCH_HIGH, _STRETCH_LOW = 1.1, -0.1
_MOMENTUM, _SQUARES, _TINY = 0.9, 0.999, 1e-8
#: Steps from a number within which a weight is that number.
_SAME = 1e-3
#: Weights that are learned together: a step holds seven arrays of them.
_BLOCK_WEIGHTS = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaRoundSettings:
    """What the method leaves open.

    Attributes:
        steps: of Adam.
        rate: of learning.
        strength: of the term that drives shares to 0 and 1, for errors in units of a step of the
            grid at a mean input.
        warm_up: part of the steps before that term counts.
        betas: exponent of that term at its start and at the end.
    """

    steps: int = 600
    rate: float = 2e-2
    strength: float = 3.0
    warm_up: float = 0.2
    betas: tuple[float, float] = (20.0, 2.0)


def adaround(
    weight: Real,
    moments: Real,
    scales: npt.ArrayLike,
    zeros: npt.ArrayLike,
    limits: tuple[int, int],
    settings: AdaRoundSettings | None = None,
) -> Numbers:
    """Integers for a matrix, ``w ~ (q - zero) * scale``.

    Args:
        weight: finite [K, N], the real weights.
        moments: ``X^T X`` [K, K] of the layer's inputs, or a multiple.
        scales: positive, broadcasting over [K, N].
        zeros: zero points, broadcasting over [K, N].
        limits: least and greatest number.
        settings: how it is learned.

    Returns:
        int64 [K, N].
    """
    settings = settings or AdaRoundSettings()
    steps = weight / np.asarray(scales, np.float64) + np.asarray(zeros, np.float64)
    real_scales = np.broadcast_to(np.asarray(scales, np.float64), weight.shape)
    nearest = np.clip(np.rint(steps), *limits)
    mean = float(np.diag(moments).mean())
    if mean <= 0:
        return nearest.astype(np.int64)
    normal = moments / mean
    columns = max(1, _BLOCK_WEIGHTS // len(weight))
    result = nearest.copy()
    for first in range(0, weight.shape[1], columns):
        part = slice(first, first + columns)
        # A step of a column is the unit of its errors; groups of a column differ in scale.
        unit = real_scales[:, part].mean(axis=0)
        relative = real_scales[:, part] / np.where(unit > 0, unit, 1.0)
        learned = _Learned(steps[:, part], relative, normal, limits, settings).run()
        better = _error(learned, steps[:, part], relative, normal) < _error(
            nearest[:, part], steps[:, part], relative, normal
        )
        result[:, part] = np.where(better, learned, nearest[:, part])
    return result.astype(np.int64)


def _error(numbers: Real, steps: Real, relative: Real, moments: Real) -> Real:
    """Squared error of each column of the result."""
    difference = (numbers - steps) * relative
    error: Real = np.einsum("kn,kn->n", difference, moments @ difference)
    return error


class _Learned:
    """Shares of some columns on their way; float32."""

    def __init__(
        self,
        steps: Real,
        relative: Real,
        moments: Real,
        limits: tuple[int, int],
        settings: AdaRoundSettings,
    ) -> None:
        self.settings, self.limits = settings, limits
        self.floor = np.floor(steps)
        self.part = (steps - self.floor).astype(np.float32)
        self.relative = relative.astype(np.float32)
        self.moments = moments.astype(np.float32)
        start = np.clip((self.part - _STRETCH_LOW) / _SPAN, 1e-4, 1 - 1e-4)
        self.free: Single = np.log(start / (1 - start)).astype(np.float32)

    def run(self) -> Real:
        """Numbers that the shares lead to."""
        first, second = np.zeros_like(self.free), np.zeros_like(self.free)
        for step in range(1, self.settings.steps + 1):
            gradient = self._gradient(step)
            first += (1 - _MOMENTUM) * (gradient - first)
            second += (1 - _SQUARES) * (gradient * gradient - second)
            mean = first / (1 - _MOMENTUM**step)
            root = np.sqrt(second / (1 - _SQUARES**step)) + _TINY
            self.free -= self.settings.rate * mean / root
        up = _share(_sigmoid(self.free)) >= 0.5
        # What is a number already stays it, so that the largest weights keep their scale.
        up = np.where(np.abs(self.part - np.rint(self.part)) < _SAME, self.part > 0.5, up)
        numbers: Real = np.clip(self.floor + up, *self.limits)
        return numbers

    def _gradient(self, step: int) -> Single:
        """Of the loss by the free variables."""
        sigmoid = _sigmoid(self.free)
        share = _share(sigmoid)
        slope = np.where((share > 0) & (share < 1), _SPAN * sigmoid * (1 - sigmoid), 0)
        error = (share - self.part) * self.relative
        gradient: Single = (2 * (self.moments @ error) * self.relative).astype(np.float32)
        progress = step / self.settings.steps
        if progress > self.settings.warm_up:
            left = (1 - progress) / (1 - self.settings.warm_up)
            start, end = self.settings.betas
            beta = end + (start - end) * left
            centred = 2 * share - 1
            pull = beta * np.abs(centred) ** (beta - 1) * np.sign(centred)
            gradient -= np.float32(2 * self.settings.strength) * pull.astype(np.float32)
        return np.asarray(gradient * slope, np.float32)


_SPAN = _STRETCH_HIGH - _STRETCH_LOW


def _sigmoid(free: Single) -> Single:
    result: Single = (1 / (1 + np.exp(-free))).astype(np.float32)
    return result


def _share(sigmoid: Single) -> Single:
    result: Single = np.clip(sigmoid * np.float32(_SPAN) + np.float32(_STRETCH_LOW), 0, 1)
    return result
