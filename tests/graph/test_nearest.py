"""Source positions of a nearest Resize against onnxruntime."""

import numpy as np
import pytest
from helpers.graphs import Graph

from edgecomp.graph.nearest import nearest_indices
from edgecomp.graph.run import run_model

MODES = [
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "half_pixel_symmetric",
]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("scales", [(2.0, 2.0), (1.5, 0.5), (3.0, 1.0)])
def test_against_onnxruntime(mode, rounding, scales, rng):
    graph = Graph(19)
    x = graph.input("x", (1, 2, 6, 8))
    result = graph(
        "Resize",
        x,
        "",
        np.array([1.0, 1.0, *scales], np.float32),
        mode="nearest",
        coordinate_transformation_mode=mode,
        nearest_mode=rounding,
    )
    model = graph.model(result)
    feed = rng.standard_normal((1, 2, 6, 8)).astype(np.float32)
    expected = run_model(model, {"x": feed})[result]
    (node,) = model.graph
    indices = nearest_indices(node, feed.shape, expected.shape)
    np.testing.assert_array_equal(feed[np.ix_(*indices)], expected)


def test_sizes_and_unknown_modes():
    graph = Graph(19)
    result = graph(
        "Resize",
        graph.input("x", (1, 1, 4, 4)),
        "",
        "",
        np.array([1, 1, 8, 2], np.int64),
        mode="nearest",
    )
    (node,) = graph.model(result).graph
    rows = nearest_indices(node, (1, 1, 4, 4), (1, 1, 8, 2))
    assert rows[2].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    graph = Graph(19)
    result = graph(
        "Resize",
        graph.input("x", (1, 1, 4, 4)),
        np.zeros(8, np.float32),
        np.ones(4, np.float32),
        mode="nearest",
        coordinate_transformation_mode="tf_crop_and_resize",
    )
    (node,) = graph.model(result).graph
    assert nearest_indices(node, (1, 1, 4, 4), (1, 1, 4, 4)) is None
