"""Networks with one layer that cannot be 8 bits, and whole ones."""

import numpy as np
import pytest
from helpers.graphs import Graph, normal

#: Layers of the chain.
NAMES = ("c0", "c1", "c2", "c3", "c4")
#: The layer that is sabotaged.
BAD = "c3"


def chain(rng, sabotage=""):
    """Five convolutions with Relu, 8 channels each.

    With ``weights`` one input channel of ``BAD`` is almost zero and has huge weights; with
    ``activations`` one is huge and has almost no weights. Neither changes the float results much.
    """
    weights = [normal(rng, 8, 3 if n == 0 else 8, 3, 3) / 6 for n in range(5)]
    biases = [normal(rng, 8) / 4 for _ in range(5)]
    if sabotage == "weights":
        weights[2][0], biases[2][0] = 1e-7, 1e-7
        weights[3][:, 0] = 300.0
    if sabotage == "activations":
        biases[2][0] = 3000.0
        weights[3][:, 0] = 1e-7
    g = Graph()
    value = g.input("x", (1, 3, 12, 12))
    for name, w, b in zip(NAMES, weights, biases, strict=True):
        value = g("Conv", value, w, b, name=name, pads=[1, 1, 1, 1])
        value = g("Relu", value, name=f"{name}_relu") if name != NAMES[-1] else value
    return g.model(value)


@pytest.fixture
def samples(rng):
    return [{"x": normal(rng, 1, 3, 12, 12)} for _ in range(6)]


def sqnr(expected, found):
    """Of lists of arrays, in float64."""
    pairs = list(zip(expected, found, strict=True))
    noise = sum(((a.astype(np.float64) - b.astype(np.float64)) ** 2).sum() for a, b in pairs)
    return 10 * np.log10(sum((a.astype(np.float64) ** 2).sum() for a, _ in pairs) / noise)
