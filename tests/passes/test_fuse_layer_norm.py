import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.passes.fuse_layer_norm import FuseLayerNormPass


def parts(g, x, *, axes=(-1,), square="pow", divide="div", twice=False, epsilon=1e-5):
    axes = np.array(axes)
    d = g("Sub", x, g("ReduceMean", x, axes))
    e = g("Sub", x, g("ReduceMean", x, axes)) if twice else d
    squared = g("Pow", e, np.float32(2)) if square == "pow" else g("Mul", e, e)
    root = g("Sqrt", g("Add", g("ReduceMean", squared, axes), np.float32(epsilon)))
    return g("Div", d, root) if divide == "div" else g("Mul", d, g("Reciprocal", root))


@pytest.mark.parametrize("square", ["pow", "mul"])
@pytest.mark.parametrize("divide", ["div", "mul"])
@pytest.mark.parametrize("affine", ["both", "scale", "none", "broadcast"])
def test_recognised(rng, square, divide, affine):
    g = Graph()
    y = parts(g, g("Relu", g.input("x", (2, 3, 8))), square=square, divide=divide)
    form = (1, 1, 8) if affine == "broadcast" else (8,)
    if affine != "none":
        y = g("Mul", y, normal(rng, *form))
    if affine in ("both", "broadcast"):
        y = g("Add", y, normal(rng, *form))
    model = g.model(y)
    assert apply(FuseLayerNormPass(), model).applied == 1
    assert operators(model) == ["Relu", "LayerNormalization"]
    assert model.graph[1].attributes["epsilon"].as_float() == np.float32(1e-5)


def test_twice_the_same_difference_and_two_axes(rng):
    g = Graph()
    y = parts(g, g.input("x", (2, 3, 8)), axes=(-2, -1), twice=True)
    model = g.model(g("Mul", y, normal(rng, 3, 8)))
    apply(FuseLayerNormPass(), model)
    assert operators(model) == ["LayerNormalization"]


def test_a_scale_by_row_stays_behind(rng):
    g = Graph()
    model = g.model(g("Mul", parts(g, g.input("x", (2, 3, 8))), normal(rng, 3, 1)))
    apply(FuseLayerNormPass(), model)
    assert operators(model) == ["LayerNormalization", "Mul"]


def of_flax(g, x, scale, *, back):
    """Means lose their dimension and get it back; the reciprocal is scaled."""

    def mean(value):
        less = g("ReduceMean", value, np.array([-1]), keepdims=0)
        if back == "Unsqueeze":
            return g("Unsqueeze", less, np.array([-1]))
        return g("Reshape", less, np.array([2, 3, 1]))

    d = g("Sub", x, mean(x))
    inverse = g("Reciprocal", g("Sqrt", g("Add", mean(g("Mul", d, d)), np.float32(1e-6))))
    return g("Mul", d, g("Mul", inverse, scale))


@pytest.mark.parametrize("back", ["Reshape", "Unsqueeze"])
def test_a_scaled_reciprocal_of_means_without_dimensions(rng, back):
    g = Graph()
    y = of_flax(g, g.input("x", (2, 3, 8)), normal(rng, 1, 1, 8), back=back)
    model = g.model(g("Add", y, normal(rng, 8)))
    apply(FuseLayerNormPass(), model)
    assert operators(model) == ["LayerNormalization"]


def test_a_reciprocal_scaled_by_row_is_left_alone(rng):
    g = Graph()
    model = g.model(of_flax(g, g.input("x", (2, 3, 8)), normal(rng, 3, 1), back="Reshape"))
    assert not apply(FuseLayerNormPass(), model).modified


def test_means_in_another_order_are_left_alone(rng):
    g = Graph()
    x = g.input("x", (3, 3))
    row = g("Reshape", g("ReduceMean", x, np.array([-1]), keepdims=0), np.array([1, 3]))
    d = g("Sub", x, row)
    v = g("ReduceMean", g("Mul", d, d), np.array([-1]))
    model = g.model(g("Div", d, g("Sqrt", g("Add", v, np.float32(1e-5)))))
    assert not apply(FuseLayerNormPass(), model).modified


def test_other_axes_are_refused(rng):
    g = Graph()
    outcome = apply(FuseLayerNormPass(), g.model(parts(g, g.input("x", (2, 3, 8)), axes=(1,))))
    assert "last dimensions" in outcome.refusals[0].reason


def test_another_denominator_is_left_alone(rng):
    g = Graph()
    x, z = g.input("x", (2, 3, 8)), g.input("z", (2, 3, 8))
    d = g("Sub", x, g("ReduceMean", x, np.array([-1])))
    e = g("Sub", z, g("ReduceMean", z, np.array([-1])))
    v = g("ReduceMean", g("Mul", e, e), np.array([-1]))
    model = g.model(g("Div", d, g("Sqrt", g("Add", v, np.float32(1e-5)))))
    assert not apply(FuseLayerNormPass(), model).modified
