"""Which of two models is nearer to float, by samples."""

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp.debugging.outputs import FloatOutputs
from edgecomp.graph.run import Runner
from edgecomp.steps.sample_noise import is_less, is_surely_less, sample_noise, telling

BEFORE = np.full(16, 0.1)


def test_of_every_sample_with_a_signal(rng):
    graph = Graph()
    model = graph.model(graph("MatMul", graph.input("x", (1, 4)), normal(rng, 4, 3)))
    feeds = [{"x": normal(rng, 1, 4)} for _ in range(3)]
    feeds[1]["x"][:] = 0.0
    exact = Runner(model)

    def run(feed):
        return {name: 1.1 * array for name, array in exact(feed).items()}

    found = sample_noise(run, exact.names, FloatOutputs(model, feeds))
    np.testing.assert_allclose(found, [0.01, 0.01], rtol=1e-4)


def test_as_much_less_as_asked_for():
    assert is_less(0.8 * BEFORE, BEFORE, 0.1)
    assert not is_less(0.8 * BEFORE, BEFORE, 0.3)
    assert not is_less(np.full(16, np.nan), BEFORE, 0.1)


def test_how_many_samples_tell():
    assert telling(BEFORE) == pytest.approx(16)
    assert telling(np.array([1.0, 1.0, *np.full(14, 1e-9)])) == pytest.approx(2)
    assert telling(np.zeros(16)) == 16
    assert telling(np.array([np.inf, 1.0])) == 2


def test_one_sample_does_not_decide():
    found = BEFORE.copy()
    found[1:] += 0.001
    found[0] = 0.0
    assert not is_less(found, BEFORE, 0.05)


def test_what_differs_by_chance_is_not_sure():
    """Columns that are read otherwise: a few samples gain much, as many lose."""
    found = BEFORE.copy()
    found[:6] -= 0.09
    found[6:10] += 0.09
    assert is_less(found, BEFORE, 0.1)
    assert not is_surely_less(found, BEFORE, 0.1)
    found[6:10] = BEFORE[6:10]
    assert is_surely_less(found, BEFORE, 0.1)


@pytest.mark.parametrize("less", [is_less, is_surely_less])
def test_the_same_is_not_less(less):
    assert not less(BEFORE, BEFORE, 0.05)
