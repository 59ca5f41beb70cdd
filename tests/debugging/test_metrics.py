"""The figures, against numpy in float64."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecomp.debugging.metrics import Similarity, decibels, noise_of


def by_hand(expected, found):
    """SQNR, cosine and divergence of whole arrays."""
    a, b = (
        np.concatenate([x.ravel() for x in s]).astype(np.float64) for s in (expected, found)
    )
    signal, noise = (a**2).sum(), ((a - b) ** 2).sum()
    cosine = (a * b).sum() / math.sqrt(signal * (b**2).sum())
    reach = 2.0 ** math.ceil(math.log2(np.abs(a).max()))
    edges = np.linspace(-reach, reach, 129)
    inside = np.clip(b, -reach, np.nextafter(reach, 0))
    p, q = (np.histogram(np.clip(x, -reach, reach), edges)[0] for x in (a, inside))
    p, q = p / a.size, (q / b.size + 1e-6) / (1 + 128e-6)
    used = p > 0
    return 10 * math.log10(signal / noise), cosine, (p[used] * np.log(p[used] / q[used])).sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([1e-3, 0.1, 3.0]))
def test_against_float64(seed, count, noise):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 40, rng.integers(1, 4)))
    scale = 10.0 ** rng.integers(-3, 4)
    expected = [(rng.standard_normal(shape) * scale).astype(np.float32) for _ in range(count)]
    found = [
        (x + rng.standard_normal(shape) * noise * scale).astype(np.float32) for x in expected
    ]
    similarity = Similarity()
    for one, other in zip(expected, found, strict=True):
        similarity.add(one, other)
    sqnr, cosine, divergence = by_hand(expected, found)
    assert similarity.sqnr_db == pytest.approx(sqnr, rel=1e-6, abs=1e-6)
    assert similarity.cosine == pytest.approx(cosine, rel=1e-9)
    assert similarity.divergence == pytest.approx(divergence, rel=1e-6, abs=1e-9)


def test_zeros_count_in_the_divergence():
    one = np.array([0, 0, 0.5, -0.9], np.float32)
    similarity = Similarity()
    similarity.add(one, np.array([0, 0.5, 0.5, -0.9], np.float32))
    assert similarity.divergence == pytest.approx(
        0.5 * math.log(0.5 / 0.25) + 0.25 * math.log(0.25 / 0.5), abs=1e-3
    )


@pytest.mark.parametrize(
    ("expected", "found", "sqnr", "cosine"),
    [
        ([1, 2], [1, 2], math.inf, 1.0),
        ([0, 0], [0, 0], math.inf, 1.0),
        ([0, 0], [1, 0], -math.inf, 0.0),
        ([1, 0], [0, 0], 0.0, 0.0),
        ([1, 0], [0, 1], -10 * math.log10(2), 0.0),
    ],
)
def test_edges(expected, found, sqnr, cosine):
    similarity = Similarity()
    similarity.add(np.array(expected, np.float32), np.array(found, np.float32))
    assert similarity.sqnr_db == pytest.approx(sqnr)
    assert similarity.cosine == pytest.approx(cosine)


def test_what_is_not_finite_is_as_bad_as_can_be():
    similarity = Similarity()
    similarity.add(np.ones(3, np.float32), np.array([1, np.nan, 1], np.float32))
    assert similarity.sqnr_db == -math.inf
    assert math.isnan(similarity.cosine)
    assert math.isnan(similarity.divergence)


def test_decibels():
    assert decibels(noise_of(23.5)) == pytest.approx(23.5)
