"""A layer whose inputs correlate."""

import pytest
from helpers.correlated import correlated


@pytest.fixture
def problem(rng):
    """Inputs, weights [K, N] and ``X^T X``."""
    x = correlated(rng, 500, 96)
    return x, rng.standard_normal((96, 17)), x.T @ x
