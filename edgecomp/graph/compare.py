"""How far two arrays are apart, in the terms of docs/numerics.md."""

import numpy as np

from edgecomp.graph.constants import AnyArray

#: Float models against a reference, as a part of the output's range.
MODEL_TOLERANCE = 1e-4


def relative_difference(actual: AnyArray, expected: AnyArray) -> float:
    """Largest absolute difference over the range of ``expected``.

    Returns:
        0.0 for equal arrays; inf where shapes, dtypes, or the places of inf and nan differ, and
        where integers or booleans differ at all.
    """
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return float("inf")
    if actual.size == 0:
        return 0.0
    if expected.dtype.kind not in "fV" or "int" in expected.dtype.name:
        return 0.0 if np.array_equal(actual, expected) else float("inf")
    one, other = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(other)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    one, other = one[finite], other[finite]
    if not np.isfinite(one).all():
        return float("inf")
    extent = float(other.max() - other.min()) or float(np.abs(other).max()) or 1.0
    return float(np.abs(one - other).max()) / extent
