"""Weights in parts: the parts add up, and no accumulator of one can leave int32."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.graph.weight_parts import weight_parts


@given(
    greatest=st.sampled_from([1, 7, 127, 32512, 32767]),
    depth=st.integers(1, 3000),
    bias=st.integers(0, 2**44),
    greatest_x=st.sampled_from([128, 255, 32768]),
    seed=st.integers(0, 99),
)
def test_parts(greatest, depth, bias, greatest_x, seed):
    rng = np.random.default_rng(seed)
    weight = rng.choice([-greatest, greatest, greatest // 3], (depth, 2)).astype(np.int16)
    biases = np.array([bias, -bias // 2])
    parts = weight_parts(weight, biases, 1, greatest_x)
    if parts is None:
        assert greatest == 1 or bias > 2**32 // greatest  # few digits hold no large bias
        return
    places = [parts.base**p for p in range(len(parts.weights))]
    assert (sum(p * w.astype(np.int64) for p, w in zip(places, parts.weights, strict=True)) == weight).all()  # fmt: skip
    assert (sum(p * b.astype(np.int64) for p, b in zip(places, parts.biases, strict=True)) == biases).all()  # fmt: skip
    for part, start in zip(parts.weights, parts.biases, strict=True):
        reach = greatest_x * np.abs(part.astype(np.int64)).sum(axis=0) + np.abs(start)
        assert reach.max() < 2**31


@pytest.mark.parametrize(("depth", "count"), [(516, 1), (517, 2), (8192, 3)])
def test_as_many_parts_as_have_to_be(depth, count):
    weight = np.full((depth, 1), 127, np.int8)
    parts = weight_parts(weight, np.zeros(1, np.int64), 1, 1 << 15)
    assert len(parts.weights) == count


def test_what_float64_does_not_hold():
    assert weight_parts(np.ones((1, 1)), np.array([2**53]), 1, 255) is None
