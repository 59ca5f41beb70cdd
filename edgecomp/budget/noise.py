"""What each layer's precision adds to the noise of the outputs, corrected by what was measured.

Noise powers of layers add up where their errors are independent. Two measurements begin with: the
noise with this layer alone in few bits, and what the noise of the whole falls by when this layer is
left float. Every whole model that is measured afterwards says what the sum of its layers should
have been: the figures move as little as they have to, in parts of themselves, to agree with it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

#: How much a layer's own figure weighs beside one measured model.
_TRUST = 0.05
#: A layer's figure is at least this part of the largest: nothing is free of noise.
_LEAST = 1e-4

Key = tuple[str, str]


def first_guess(alone: float, without: float, whole: float) -> float:
    """Noise of a layer from both measurements.

    Args:
        alone: of the outputs when only this layer is in few bits.
        without: of the outputs when all but this layer are.
        whole: of the outputs when all are.
    """
    share = whole - without
    if share <= 0.0:  # errors that cancel: the layer is not better than alone for that
        return alone
    return 0.5 * (alone + share)


@dataclasses.dataclass
class NoiseModel:
    """Noise by layer and precision.

    Attributes:
        prior: as measured layer by layer.
        fitted: with what whole models said.
    """

    prior: dict[Key, float]

    def __post_init__(self) -> None:
        least = _LEAST * max(self.prior.values(), default=0.0)
        self.prior = {key: max(noise, least) for key, noise in self.prior.items()}
        self.fitted = dict(self.prior)
        self._seen: list[tuple[frozenset[Key], float]] = []

    def predict(self, chosen: Mapping[str, str]) -> float:
        """Noise of the outputs of an assignment; layers without a figure add none."""
        return sum(self.fitted.get(key, 0.0) for key in chosen.items())

    def add(self, chosen: Mapping[str, str], measured: float) -> None:
        """Take in the noise that an assignment was measured to have."""
        keys = frozenset(key for key in chosen.items() if key in self.prior)
        if not keys or not np.isfinite(measured) or measured <= 0.0:
            return
        self._seen.append((keys, measured))
        self._fit()

    def _fit(self) -> None:
        """Factors near 1 for which every measured sum comes out, in the least squares sense."""
        from scipy.optimize import lsq_linear

        keys = list(self.prior)
        rows, wanted = [], []
        for chosen, measured in self._seen:
            rows.append([self.prior[k] / measured if k in chosen else 0.0 for k in keys])
            wanted.append(1.0)
        near = np.sqrt(_TRUST / len(keys)) * np.eye(len(keys))
        matrix = np.vstack([np.array(rows), near])
        right = np.concatenate([wanted, near.sum(1)])
        solved: Any = lsq_linear(matrix, right, bounds=(1e-3, np.inf))
        self.fitted = {
            k: self.prior[k] * float(f) for k, f in zip(keys, solved.x, strict=True)
        }
