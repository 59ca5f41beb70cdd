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
def gated(rng):
    """Conv, Swish in two operators, Conv, Gelu."""
    graph = Graph(20)
    x = graph("Conv", graph.input("x", (1, 3, 8, 8)), normal(rng, 4, 3, 3, 3) / 2)
    y = graph("Mul", x, graph("Sigmoid", x))
    return graph.model(graph("Gelu", graph("Conv", y, normal(rng, 4, 4, 3, 3) / 5)))


@pytest.fixture
def samples(rng):
    return [{"x": normal(rng, 1, 3, 8, 8) * scale} for scale in (1, 3, 0.5, 2)]


def test_minmax_of_every_value(network, samples):
    found = collect_ranges(network, samples)
    everything = [{**run_model(network, feeds, "*"), **feeds} for feeds in samples]
    assert set(found) == set(everything[0])
    (read_by_relu,) = (n.inputs[0].name for n in network.graph if n.op_type == "Relu")
    for name, limits in found.items():
        whole = np.concatenate([values[name] for values in everything])
        if name == read_by_relu:
            assert limits.low == 0.0
            assert limits.high == pytest.approx(whole.max(), rel=1 / 256)
            continue
        assert limits.low == pytest.approx(min(0.0, whole.min()), rel=1e-5)
        assert limits.high == pytest.approx(max(0.0, whole.max()), rel=1e-5)


@pytest.mark.parametrize("method", [*METHODS, "kl"])
def test_every_method_reads_the_samples_once(network, samples, method):
    found = collect_ranges(network, iter(samples), method=method, values=["x", "v1"])
    assert set(found) == {"x", "v1"}
    assert found["v1"].low == 0.0 < found["v1"].high


@pytest.mark.parametrize("method", ["minmax", "ema", "percentile", "mse"])
def test_of_an_argument_what_changes_the_result_counts(gated, samples, method):
    found = collect_ranges(gated, samples, method=method, percentile=100.0)
    everything = [run_model(gated, feeds, "*") for feeds in samples]
    for operator in ("Sigmoid", "Gelu"):
        (name,) = (n.inputs[0].name for n in gated.graph if n.op_type == operator)
        whole = np.concatenate([values[name] for values in everything])
        assert 0.5 * whole.min() < found[name].low < 0.0
        assert found[name].high > 0.1 * whole.max()


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
