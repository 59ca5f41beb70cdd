"""Ranges of a model's values."""

import itertools

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp.calibrate.observe import collect_ranges
from edgecomp.calibrate.ranges import METHODS
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.run import run_model


@pytest.fixture
def network(rng):
    graph = Graph()
    x = graph.input("x", (1, 3, 8, 8))
    result = graph("Relu", graph("Conv", x, normal(rng, 4, 3, 3, 3)))
    return graph.model(graph("GlobalAveragePool", result))


@pytest.fixture
def samples(rng):
    return [{"x": normal(rng, 1, 3, 8, 8) * scale} for scale in (1, 3, 0.5, 2)]


def test_minmax_of_every_value(network, samples):
    found = collect_ranges(network, samples)
    everything = [{**run_model(network, feeds, "*"), **feeds} for feeds in samples]
    assert set(found) == set(everything[0])
    for name, limits in found.items():
        whole = np.concatenate([values[name] for values in everything])
        assert limits.low == pytest.approx(min(0.0, whole.min()), rel=1e-5)
        assert limits.high == pytest.approx(max(0.0, whole.max()), rel=1e-5)


@pytest.mark.parametrize("method", [*METHODS, "kl"])
def test_every_method_reads_the_samples_once(network, samples, method):
    found = collect_ranges(network, iter(samples), method=method, values=["x", "v1"])
    assert set(found) == {"x", "v1"}
    assert found["v1"].low == 0.0 < found["v1"].high


def test_little_memory_means_several_rounds_and_the_same_ranges(network, samples):
    rounds = []
    found = collect_ranges(
        network,
        samples,
        memory_bytes=1,
        progress=lambda done, total: rounds.append((done, total)),
    )
    assert found == collect_ranges(network, samples)
    assert rounds[-1] == (len(rounds), len(rounds))
    assert len(rounds) > len(samples)


def test_progress_of_a_stream_has_no_end(network, samples):
    seen = []
    collect_ranges(
        network, itertools.islice(samples, 2), progress=lambda *each: seen.append(each)
    )
    assert seen == [(1, None), (2, None)]


def test_a_nan_shows_in_the_range(rng):
    graph = Graph()
    result = graph("Log", graph.input("x", (4,)))
    samples = [{"x": np.ones(4, np.float32)}, {"x": np.full(4, -1, np.float32)}]
    for method in METHODS:
        found = collect_ranges(graph.model(result), samples, method=method)
        assert found["x"].finite
        assert not found[result].finite


def test_no_samples(network):
    with pytest.raises(EdgecompError) as caught:
        collect_ranges(network, [])
    assert caught.value.code is Code.CALIBRATION_EMPTY


def test_an_unknown_method(network, samples):
    with pytest.raises(EdgecompError, match="percentil") as caught:
        collect_ranges(network, samples, method="percentil")
    assert caught.value.hint == "did you mean 'percentile'?"
