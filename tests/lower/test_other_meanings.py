"""Stored numbers that are read with another scale or zero point than they were written with."""

import numpy as np
import onnxruntime
import pytest
from helpers.nodes import compiled
from helpers.qdq import QdqGraph

WRITTEN, READ = (0.02, 100), (0.03, 110)


def summed(g, x, other):
    return g.quantize(g("Add", x, other), 0.0613, 128)


def multiplied(g, x, other):
    return g.quantize(g("Mul", x, other), 0.03, 120)


def convolved(g, x, other):
    weight = g.weight(np.random.default_rng(1).integers(-99, 99, (4, 4, 3, 3)), 0.01)
    return g.quantize(g("Conv", x, weight, pads=[1, 1, 1, 1]), 0.2, 128)


def averaged(g, x, other):
    pooled = g("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    return g.quantize(pooled, 0.02, 128)


def greatest(g, x, other):
    return g.quantize(g("MaxPool", x, kernel_shape=[2, 2], pads=[1, 1, 0, 0]), *READ)


def moved(g, x, other):
    return g.quantize(g("Transpose", x, perm=[0, 2, 3, 1]), 0.04, 90)


@pytest.mark.parametrize("use", [summed, multiplied, convolved, averaged, greatest, moved])
@pytest.mark.parametrize("both", [False, True])
def test_each_reader_has_the_meaning_it_reads_by(rng, use, both):
    graph = QdqGraph()
    a = graph.input("a", (1, 4, 5, 5))
    stored = graph.quantize(a, *WRITTEN)
    other = graph.stored("b", (1, 4, 5, 5), 0.05, 30)
    results = [graph.dequantize(use(graph, graph.dequantize(stored, *READ), other), 0.06, 128)]
    if both:
        results.append(graph.dequantize(stored, *WRITTEN))
        results.append(graph("Relu", graph.dequantize(stored, 0.5, 3)))
    model = graph.proto(*results)
    feeds = {
        "a": rng.uniform(-2, 3, (1, 4, 5, 5)).astype(np.float32),
        "b": rng.integers(0, 256, (1, 4, 5, 5)).astype(np.uint8),
    }
    feeds = {port.name: feeds[port.name] for port in model.graph.input}
    found, _ = compiled(model, feeds)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    expected = session.run(None, feeds)
    for ours, theirs in zip(found, expected, strict=True):
        # A tie may be rounded either way: scales are multiplied in another order.
        assert np.abs(ours - theirs).max() <= 0.0601
        assert np.mean(np.abs(ours - theirs) > 1e-5) < 0.02
