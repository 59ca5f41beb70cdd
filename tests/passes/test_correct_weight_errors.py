"""Biases make up for what the rounding of weights does to the mean."""

import numpy as np
from helpers.graphs import Graph, normal

from edgecomp.calibrate.observe import collect_ranges
from edgecomp.graph.run import Runner
from edgecomp.passes.correct_weight_errors import correct_weight_errors
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import values_to_observe

OPTIONS = InsertQdqOptions(per_channel=False)


def test_means_come_back(rng):
    """Of a grouped convolution, and of a product without a bias."""
    graph = Graph()
    x = graph.input("x", (1, 4, 6, 5))
    one = graph("Relu", graph("Conv", x, normal(rng, 6, 2, 3, 3), normal(rng, 6), group=2))
    flat = graph("Reshape", one, np.array([-1, 6]))
    model = graph.model(graph("MatMul", flat, normal(rng, 6, 7)))
    feeds = [{"x": 5 + normal(rng, 1, 4, 6, 5)} for _ in range(8)]
    names = values_to_observe(model.graph, OPTIONS)
    ranges = collect_ranges(model, feeds, values=names)
    plain, corrected, shifts = model.clone(), model.clone(), {}
    count = correct_weight_errors(corrected, feeds, ranges, OPTIONS, shifts=shifts)
    assert count == len(shifts) == 2
    for made in (plain, corrected):
        InsertQdqPass(ranges, OPTIONS)(made)

    def mean(each):
        runner = Runner(each)
        return np.mean([runner(feed)[runner.names[0]] for feed in feeds], (0, 1))

    expected = mean(model)
    errors = [np.abs(mean(made) - expected).max() for made in (plain, corrected)]
    assert errors[1] < 0.5 * errors[0]
