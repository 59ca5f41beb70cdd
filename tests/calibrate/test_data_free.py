"""Samples made up for a model, and values with the statistics of training."""

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp.calibrate.data_free import MadeUpSamples, data_free, noise, restored
from edgecomp.graph.example import set_example_feeds
from edgecomp.graph.run import Runner, run_model
from edgecomp.passes.fold_batch_norm import FoldBatchNormPass


def normalized(rng, mean=0.4, deviation=0.2):
    """Two convolutions, each with the statistics that inputs like these give."""
    graph = Graph()
    x = graph.input("x", (1, 3, 32, 32))
    weights = normal(rng, 6, 3, 3, 3)
    data = mean + deviation * noise((16, 3, 32, 32), rng)
    probe = Graph()
    whole = probe.input("x", (16, 3, 32, 32))
    out = run_model(
        probe.model(probe("Conv", whole, weights)), {"x": data.astype(np.float32)}
    )["v0"]
    first = graph(
        "BatchNormalization",
        graph("Conv", x, weights),
        np.linspace(0.5, 1.5, 6, dtype=np.float32),
        np.linspace(-1, 1, 6, dtype=np.float32),
        out.mean((0, 2, 3)),
        out.var((0, 2, 3)),
    )
    second = graph("Relu", first)
    model = graph.model(graph("GlobalAveragePool", second))
    FoldBatchNormPass()(model)
    return model


def test_inputs_are_what_the_first_normalization_asks_for(rng):
    found = data_free(normalized(rng), 8)
    values = np.concatenate([sample["x"] for sample in found.samples])
    assert found.facts == {"data_free": "batch normalization", "restored_statistics": 1}
    assert len(found.samples) == 8
    assert values.mean() == pytest.approx(0.4, abs=0.1)
    assert values.std() == pytest.approx(0.2, rel=0.4)


def test_values_get_the_statistics_of_training(rng):
    model = normalized(rng)
    other, count = restored(model)
    assert count == 1
    (name,) = [n.outputs[0].name for n in model.graph if n.op_type == "Conv"]
    runner = Runner(other, [name])
    results = []
    for _ in range(200):  # nothing like the training's
        results.append(runner({"x": 50 + 9 * normal(rng, 1, 3, 32, 32)})[name])
    whole = np.concatenate(results)
    deviations = np.linspace(0.5, 1.5, 6)
    assert (np.abs(whole.mean((0, 2, 3)) - np.linspace(-1, 1, 6)) < 0.2 * deviations).all()
    np.testing.assert_allclose(whole.std((0, 2, 3)), deviations, rtol=0.1)
    # Samples differ, so that what is pooled does.
    assert (whole.mean((2, 3)).std(0) > 0.4 * deviations).all()
    assert [node.op_type for node in model.graph] == ["Conv", "Relu", "GlobalAveragePool"]


def test_samples_are_the_same_each_time():
    graph = Graph()
    model = graph.model(graph("Relu", graph.input("x", (1, 3, 16, 16))))
    samples = MadeUpSamples(model, {"x": (2.0, 0.5)}, 4, 7)
    first, second = list(samples), list(samples)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])
    whole = np.concatenate([sample["x"] for sample in first])
    assert whole.mean() == pytest.approx(2.0, abs=0.1)
    assert whole.std() == pytest.approx(0.5, abs=0.1)


def test_the_example_input_where_nothing_was_normalized(rng):
    graph = Graph()
    model = graph.model(graph("Relu", graph.input("x", (1, 8))))
    set_example_feeds(model, {"x": 100 + 5 * normal(rng, 1, 8)})
    found = data_free(model, 40)
    values = np.concatenate([sample["x"] for sample in found.samples])
    assert found.facts["data_free"] == "example input"
    assert values.mean() == pytest.approx(100, abs=5)
    assert len(found.samples) == 32


def test_indices_are_rows_of_their_table(rng):
    graph = Graph()
    ids = graph.input("ids", (1, 64), np.int64)
    model = graph.model(graph("Gather", normal(rng, 50, 4), ids))
    found = data_free(model, 4)
    values = np.concatenate([sample["ids"] for sample in found.samples])
    assert found.facts["data_free"] == "noise"
    assert values.min() >= 0
    assert 25 < values.max() < 50


@pytest.mark.parametrize("shape", [(1, 3, 17, 30), (2, 16, 16, 3)])
def test_pictures_are_smooth(shape, rng):
    made = noise(shape, rng)
    rows = 2 if shape[1] == 3 else 1
    steps = np.diff(made, axis=rows).std()
    assert made.std() == pytest.approx(1.0, abs=0.1)
    assert steps < 0.9  # independent numbers: 1.4
