import numpy as np
import pytest
from helpers.graphs import Graph

from edgecomp.graph.match import kept_reduction

BEHIND = {
    "kept": lambda g, x: g("ReduceMean", x, np.array([1, 2])),
    "unsqueezed": lambda g, x: g(
        "Unsqueeze", g("ReduceMean", x, np.array([1, -1]), keepdims=0), np.array([1, 2])
    ),
    "reshaped": lambda g, x: g(
        "Reshape", g("ReduceMean", x, np.array([1, 2]), keepdims=0), np.array([4, 1, 1])
    ),
    "squeezed": lambda g, x: g(
        "Squeeze",
        g("Unsqueeze", g("ReduceMean", x, np.array([2, 1])), np.array([0])),
        np.array([0]),
    ),
}


@pytest.mark.parametrize("form", BEHIND)
def test_reduction_whose_dimensions_are_kept_or_given_back(form):
    g = Graph()
    model = g.model(BEHIND[form](g, g.input("x", (4, 3, 4))))
    (value,) = model.graph.outputs
    assert kept_reduction(value, "ReduceMean") == (model.graph.inputs[0], [1, 2])
    assert kept_reduction(value, "ReduceSum") is None


NOT_KEPT = {
    "lost": lambda g, x: g("ReduceMean", x, np.array([1, 2]), keepdims=0),
    "elsewhere": lambda g, x: g(
        "Reshape", g("ReduceMean", x, np.array([1, 2]), keepdims=0), np.array([1, 1, 4])
    ),
    "moved": lambda g, x: g("Transpose", g("ReduceMean", x, np.array([1, 2])), perm=[0, 2, 1]),
}


@pytest.mark.parametrize("form", NOT_KEPT)
def test_reduction_with_other_dimensions(form):
    g = Graph()
    model = g.model(NOT_KEPT[form](g, g.input("x", (4, 3, 4))))
    assert kept_reduction(model.graph.outputs[0], "ReduceMean") is None
