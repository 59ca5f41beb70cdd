"""Mean of squares minus square of the mean."""

import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.passes import apply, operators

from edgecomp.graph.run import run_model
from edgecomp.passes.center_variances import CenterVariancesPass


def mean(g, x, axes, count, form, keepdims):
    axes = np.array(axes)
    if form == "mean":
        return g("ReduceMean", x, axes, keepdims=keepdims)
    total = g("ReduceSum", x, axes, keepdims=keepdims)
    if form == "over":
        return g("Div", total, np.float32(count))
    return g("Mul", total, np.float32(1 / count))


def variance(g, x, *, axes=(1,), count=6, form="mean", square="mul", keepdims=1):
    squared = g("Mul", x, x) if square == "mul" else g("Pow", x, np.float32(2))
    m = mean(g, x, axes, count, form, keepdims)
    squared_mean = g("Mul", m, m) if square == "mul" else g("Pow", m, np.float32(2))
    return m, g("Sub", mean(g, squared, axes, count, form, keepdims), squared_mean)


@pytest.mark.parametrize("form", ["mean", "over", "times"])
@pytest.mark.parametrize("square", ["mul", "pow"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_rewritten(form, square, keepdims):
    g = Graph()
    x = g.input("x", (2, 6, 5))
    _, v = variance(g, x, form=form, square=square, keepdims=keepdims)
    model = g.model(g("Sqrt", g("Relu", v)))
    assert apply(CenterVariancesPass(), model).applied == 1
    assert operators(model) == ["ReduceMean", "Sub", "Mul", "ReduceMean", "Sqrt"]


def test_the_difference_that_is_there_is_used():
    g = Graph()
    x = g.input("x", (2, 6, 5))
    m, v = variance(g, x, keepdims=0)
    centred = g("Sub", x, g("Reshape", m, np.array([2, 1, 5])))
    deviation = g("Reshape", g("Sqrt", g("Max", v, np.float32(0))), np.array([2, 1, 5]))
    model = g.model(g("Div", centred, g("Add", deviation, np.float32(1))))
    assert apply(CenterVariancesPass(), model).applied == 1
    assert operators(model).count("Sub") == 1
    assert "Max" not in operators(model)


def test_a_difference_that_is_read_before_the_variance():
    g = Graph()
    x = g.input("x", (2, 6, 5))
    centred = g("Sub", x, mean(g, x, (1,), 6, "mean", 1))
    sizes = g("Abs", centred)
    _, v = variance(g, x)
    model = g.model(g("Div", sizes, g("Add", v, np.float32(1))))
    assert apply(CenterVariancesPass(), model).applied == 1
    assert operators(model).count("Sub") == 1


def test_two_axes_and_a_variance_that_is_an_output():
    g = Graph()
    _, v = variance(g, g.input("x", (2, 6, 5)), axes=(-1, 1), count=30, form="times")
    model = g.model(v)
    assert apply(CenterVariancesPass(), model).applied == 1


@pytest.mark.parametrize("fault", ["count", "axes", "other"])
def test_what_is_no_variance_stays(fault):
    g = Graph()
    x, z = g.input("x", (2, 6, 6)), g.input("z", (2, 6, 6))
    count = 7 if fault == "count" else 6
    squares = mean(g, g("Mul", x, x), (2 if fault == "axes" else 1,), count, "over", 1)
    m = mean(g, z if fault == "other" else x, (1,), count, "over", 1)
    model = g.model(g("Sub", squares, g("Mul", m, m)))
    assert not apply(CenterVariancesPass(), model).modified


def test_digits_that_the_left_form_loses(rng):
    g = Graph()
    _, v = variance(g, g.input("x", (4, 256)), count=256)
    model = g.model(v)
    x = (1 + 1e-4 * rng.standard_normal((4, 256))).astype(np.float32)
    expected = x.astype(np.float64).var(1, keepdims=True)

    def error():
        (found,) = run_model(model, {"x": x}).values()
        return float(np.abs(found / expected - 1).max())

    assert error() > 1e-1
    CenterVariancesPass()(model)
    assert error() < 1e-5
