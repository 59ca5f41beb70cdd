"""Figures of layers that whole models correct."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.budget.noise import NoiseModel, first_guess


def test_first_guess():
    assert first_guess(alone=2.0, without=6.0, whole=10.0) == pytest.approx(3.0)
    assert first_guess(alone=2.0, without=11.0, whole=10.0) == 2.0


def test_sums_that_were_measured_come_out():
    names = [f"l{i}" for i in range(6)]
    true = {(n, "w8a8"): 0.1 * (i + 1) for i, n in enumerate(names)}
    wrong = {key: noise * (2.0, 0.5)[i % 2] for i, (key, noise) in enumerate(true.items())}
    model = NoiseModel(wrong)
    rng = np.random.default_rng(0)
    for _ in range(20):
        some = {n: "w8a8" if rng.random() < 0.6 else "fp32" for n in names}
        model.add(some, sum(true.get(key, 0.0) for key in some.items()))
        whole = sum(true.get(key, 0.0) for key in some.items())
        assert not whole or model.predict(some) == pytest.approx(whole, rel=0.05)
    assert model.fitted == pytest.approx(true, rel=0.2)


@given(st.lists(st.floats(1e-12, 1e3), min_size=1, max_size=8), st.floats(1e-12, 1e3))
def test_one_sum(noises, measured):
    model = NoiseModel({(str(i), "w8a8"): noise for i, noise in enumerate(noises)})
    chosen = {str(i): "w8a8" for i in range(len(noises))}
    predicted = model.predict(chosen)
    model.add(chosen, measured)
    after = model.predict(chosen)
    assert min(predicted, measured) * 0.9 <= after <= max(predicted, measured) * 1.1
    assert model.predict(dict.fromkeys(chosen, "fp32")) == 0.0


def test_what_says_nothing_is_left_out():
    model = NoiseModel({("a", "w8a8"): 1.0, ("b", "w8a8"): 0.0})
    for chosen, noise in (({"a": "fp32"}, 1.0), ({"a": "w8a8"}, np.inf), ({"a": "w8a8"}, 0.0)):
        model.add(chosen, noise)
    assert model.fitted == model.prior
    assert model.prior["b", "w8a8"] > 0.0
