"""A small network of what GPUs compute."""

import numpy as np

from helpers.graphs import Graph

SHAPE = (1, 3, 17, 13)


def network(rng, *, softmax=True):
    """Convolutions, a residual, a pool, a resize and a classifier."""

    def weights(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    g = Graph()
    x = g.input("x", SHAPE)
    a = g(
        "Relu", g("Conv", x, weights(12, 3, 3, 3), weights(12), pads=[1] * 4, strides=[2, 2])
    )
    b = g("Conv", a, weights(12, 1, 3, 3), weights(12), pads=[1] * 4, group=12)
    c = g("Add", g("HardSwish", g("Conv", b, weights(12, 12, 1, 1), weights(12))), a)
    d = g("MaxPool", c, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    e = g("Resize", d, "", np.array([1, 1, 2, 2], np.float32), mode="nearest")
    f = g("GlobalAveragePool", e)
    h = g("Gemm", g("Flatten", f), weights(12, 10), weights(10))
    return g.proto(g("Softmax", h, axis=-1) if softmax else h)
