import hypothesis
import hypothesis.strategies as st
import numpy as np
from helpers.graphs import Graph
from helpers.passes import apply, operators

from edgecomp.passes.fold_moves import FoldMovesPass


def test_reshapes():
    g = Graph()
    y = g("Relu", g.input("x", (2, 3, 4)))
    y = g("Reshape", g("Unsqueeze", y, np.array([1])), np.array([0, -1, 2]))
    y = g("Squeeze", g("Unsqueeze", g("Flatten", y), np.array([0])), np.array([0]))
    model = g.model(g("Neg", y))
    assert apply(FoldMovesPass(), model).applied == 4
    assert operators(model) == ["Relu", "Reshape", "Neg"]


@hypothesis.given(first=st.permutations(range(4)), second=st.permutations(range(4)))
def test_transposes(first, second):
    g = Graph()
    y = g("Relu", g.input("x", (2, 3, 4, 5)))
    y = g("Transpose", g("Transpose", y, perm=first), perm=second)
    model = g.model(g("Neg", y))
    apply(FoldMovesPass(), model)
    assert operators(model) == ["Relu", "Transpose", "Neg"]


def test_default_order():
    g = Graph()
    y = g("Transpose", g("Transpose", g.input("x", (2, 3, 4))))
    model = g.model(y)
    apply(FoldMovesPass(), model)
    assert operators(model) == ["Transpose"]


def test_an_inner_value_read_elsewhere_stays():
    g = Graph()
    y = g("Reshape", g.input("x", (2, 3, 4)), np.array([6, 4]))
    model = g.model(g("Reshape", y, np.array([24])), g("Neg", y))
    assert not apply(FoldMovesPass(), model).modified


def test_graph_outputs_keep_their_names():
    g = Graph()
    y = g("Reshape", g.input("x", (2, 3, 4)), np.array([6, 4]))
    z = g("Flatten", y, axis=0)
    model = g.model(y, z)
    assert not apply(FoldMovesPass(), model).modified
