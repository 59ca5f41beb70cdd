"""A model for which large numbers do not matter: clipping them is better than keeping them."""

from helpers.graphs import Graph, normal


def two_products_without_channel_0(rng):
    """x [1, 64, 32] through two products of which the first does not read channel 0."""
    graph = Graph()
    x = graph.input("x", (1, 64, 32))
    weight = normal(rng, 32, 16)
    weight[0] = 0.0
    hidden = graph("Relu", graph("MatMul", x, weight))
    return graph.model(graph("MatMul", hidden, normal(rng, 16, 6)))
