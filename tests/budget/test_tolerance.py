"""The next noise lies where it teaches something, and the search ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.budget.tolerance import Point, next_noise


def test_the_drop_grows_like_the_root():
    found = next_noise([Point(1.0, 0.04)], 0.01)
    assert 0.02 < found < 0.0625
    assert next_noise([Point(1.0, 0.01)], 0.01) is None


def test_nothing_allowed():
    assert 0.0 < next_noise([Point(1.0, 0.5)], 0.0) < 1.0


@given(
    st.floats(1e-6, 1.0),
    st.floats(0.3, 3.0),
    st.floats(0.0, 0.5),
)
def test_it_ends_near_the_most_that_holds(limit, power, most):
    """Of any metric that falls steadily, with the limit anywhere below what was measured."""

    def drop(noise):
        return most * (noise / limit) ** power if most else max(0.0, noise - limit)

    points = [Point(2.0, drop(2.0))]
    for _ in range(60):
        allowed = next_noise(points, most)
        if allowed is None:
            break
        assert 0.0 < allowed < max(p.noise for p in points)
        points.append(Point(allowed, drop(allowed)))
    else:
        pytest.fail("no end")
    held = [p.noise for p in points if p.drop <= most]
    failed = [p.noise for p in points if p.drop > most]
    assert max(held) <= limit * (1 + 1e-9)
    assert min(failed) / max(held) < 1.25


def test_chance_does_not_break_it():
    points = [Point(1.0, 0.2), Point(0.1, 0.3), Point(0.5, 0.01)]
    assert 0.5 < next_noise(points, 0.1) < 1.0
