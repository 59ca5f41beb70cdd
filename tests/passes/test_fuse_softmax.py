import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.passes import apply, operators

from edgecomp.graph.text import to_text
from edgecomp.passes.fuse_softmax import FuseSoftmaxPass
from edgecomp.passes.remove_identities import RemoveIdentitiesPass

SHAPE = (2, 5, 3)


def parts(g, x, *, axis=1, keep=True, bound=None, divide="div"):
    kept = [1 if i == axis else size for i, size in enumerate(SHAPE)]

    def reduced(operator, value):
        result = g(operator, value, np.array([axis]), keepdims=int(keep))
        if operator == "ReduceMax" and bound is not None:
            result = g("Max", np.float32(bound), result)
        return result if keep else g("Reshape", result, np.array(kept))

    e = g("Exp", g("Sub", x, reduced("ReduceMax", x)))
    total = reduced("ReduceSum", e)
    return g("Div", e, total) if divide == "div" else g("Mul", g("Reciprocal", total), e)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("divide", ["div", "mul"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_recognised(keep, divide, axis):
    g = Graph()
    y = parts(g, g.input("x", SHAPE), axis=axis, keep=keep, divide=divide)
    model = g.model(g("Relu", y))
    assert apply(FuseSoftmaxPass(), model).applied == 1
    assert operators(model) == ["Softmax", "Relu"]
    assert model.graph[0].attributes["axis"].as_int() == axis
    assert not apply(FuseSoftmaxPass(), model).modified


@pytest.mark.parametrize("keep", [True, False])
def test_a_bound_of_minus_infinity_is_removed_before(keep, golden):
    g = Graph()
    y = parts(g, g.input("x", SHAPE), keep=keep, bound=-np.inf)
    model = g.model(g("Relu", y))
    apply(RemoveIdentitiesPass(), model)
    assert apply(FuseSoftmaxPass(), model).applied == 1
    golden(to_text(model, sources=True))


def test_a_bound_that_does_something_is_left_alone():
    g = Graph()
    model = g.model(parts(g, g.input("x", SHAPE), bound=0.0))
    assert not apply(FuseSoftmaxPass(), model).modified


def test_a_sum_over_another_axis_is_left_alone():
    g = Graph()
    x = g.input("x", SHAPE)
    e = g("Exp", g("Sub", x, g("ReduceMax", x, np.array([1]))))
    model = g.model(g("Div", e, g("ReduceSum", e, np.array([2]))))
    assert not apply(FuseSoftmaxPass(), model).modified


def test_a_sum_of_something_else_is_left_alone():
    g = Graph()
    x, z = g.input("x", SHAPE), g.input("z", SHAPE)
    e = g("Exp", g("Sub", x, g("ReduceMax", x, np.array([1]))))
    model = g.model(g("Div", e, g("ReduceSum", g("Exp", z), np.array([1]))))
    assert not apply(FuseSoftmaxPass(), model).modified


def test_a_transposed_maximum_is_left_alone():
    g = Graph()
    x = g.input("x", (3, 3))
    row = g("Reshape", g("ReduceMax", x, np.array([1]), keepdims=0), np.array([1, 3]))
    e = g("Exp", g("Sub", x, row))
    model = g.model(g("Div", e, g("ReduceSum", e, np.array([1]))))
    assert not apply(FuseSoftmaxPass(), model).modified
