"""A model whose ranges are inputs computes what the quantized one does."""

import numpy as np
from helpers.graphs import Graph, normal

from edgecomp.calibrate.ranges import Range
from edgecomp.graph.run import Runner
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.steps.simulate import Simulation

OPTIONS = InsertQdqOptions()


def test_it_is_the_quantized_model(rng):
    graph = Graph()
    x = graph.input("x", (1, 4, 9, 7))
    one = graph("Relu", graph("Conv", x, normal(rng, 6, 4, 3, 3), normal(rng, 6)))
    pooled = graph("MaxPool", one, kernel_shape=[2, 2])
    other = graph("Conv", pooled, normal(rng, 6, 1, 1, 1), group=6)
    flat = graph("Reshape", graph("Add", pooled, other), np.array([1, -1]))
    model = graph.model(graph("MatMul", flat, normal(rng, 6 * 6 * 4, 5)))
    names = [v.name for node in model.graph for v in node.outputs if v.name]
    first = {name: Range(-9.0, 9.0) for name in ("x", *names)}
    simulation = Simulation(model, first, OPTIONS)
    feed = {"x": normal(rng, 1, 4, 9, 7)}
    for reach in (9.0, 4.0):
        ranges = {name: Range(-0.3 * reach, reach) for name in ("x", *names)}
        made = model.clone()
        InsertQdqPass(ranges, OPTIONS)(made)
        expected = Runner(made)(feed)
        found = simulation.run(feed, simulation.affines(ranges))
        for name, array in found.items():  # a number may fall to the other side of a step
            np.testing.assert_allclose(array, expected[name], atol=0.05 * reach)
