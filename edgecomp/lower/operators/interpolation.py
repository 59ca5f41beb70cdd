"""One-dimensional interpolation as a matrix: each result is a weighted sum of source elements.

Formulas: ONNX operator Resize, attributes mode, antialias, cubic_coeff_a and exclude_outside.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Filter:
    """How neighbours of a position are weighed.

    Attributes:
        cubic: cubic instead of linear.
        antialias: widen the filter where the result is smaller than the source.
        cubic_a: parameter of the cubic.
        exclude_outside: neighbours outside do not count, instead of repeating the edge.
    """

    cubic: bool = False
    antialias: bool = False
    cubic_a: float = -0.75
    exclude_outside: bool = False


def interpolation_matrix(
    positions: Positions, size: int, scale: float, form: Filter
) -> npt.NDArray[Any]:
    """float32 [size, results].

    Args:
        positions: of the results, in source elements.
        size: source elements.
        scale: results per source element.
        form: the filter.
    """
    stretch = min(scale, 1.0) if form.antialias else 1.0
    reach = 2 if form.cubic else 1
    first = math.floor(-reach / stretch) + 1
    offsets = np.arange(first, 2 - first if form.antialias else reach + 1)
    # An element at the position itself is the right one of the middle pair.
    low = np.ceil(positions) - 1
    distances = (offsets - (positions - low)[:, None]) * stretch
    weights = _cubic(distances, form.cubic_a) if form.cubic else _linear(distances)
    sources = (low[:, None] + offsets).astype(np.int64)
    if form.exclude_outside:
        weights = np.where((sources >= 0) & (sources < size), weights, 0.0)
    if form.exclude_outside or form.antialias:
        weights = weights / weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((size, len(positions)))
    columns = np.broadcast_to(np.arange(len(positions))[:, None], sources.shape)
    np.add.at(matrix, (np.clip(sources, 0, size - 1), columns), weights)
    return matrix.astype(np.float32)


def _linear(distances: Positions) -> Positions:
    return np.clip(1.0 - np.abs(distances), 0.0, 1.0)


def _cubic(distances: Positions, a: float) -> Positions:
    x = np.abs(distances)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
