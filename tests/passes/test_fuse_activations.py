import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.passes import apply, operators

from edgecomp.passes.fuse_activations import FuseActivationsPass

F = np.float32

FORMS = {
    "relu": (["Relu"], lambda g, x: g("Max", x, F(0))),
    "relu6": (["Clip"], lambda g, x: g("Min", g("Max", x, F(0)), F(6))),
    "clip": (["Clip"], lambda g, x: g("Max", F(-1), g("Min", x, F(2)))),
    "hard sigmoid": (
        ["HardSigmoid"],
        lambda g, x: g("Div", g("Clip", g("Add", x, F(3)), F(0), F(6)), F(6)),
    ),
    "hard sigmoid, unit": (
        ["HardSigmoid"],
        lambda g, x: g("Clip", g("Add", g("Mul", x, F(0.2)), F(0.5)), F(0), F(1)),
    ),
    "hard swish, torch": (
        ["HardSwish"],
        lambda g, x: g("Mul", x, g("Div", g("Clip", g("Add", x, F(3)), F(0), F(6)), F(6))),
    ),
    "hard swish, last": (
        ["HardSwish"],
        lambda g, x: g("Div", g("Mul", g("Clip", g("Add", x, F(3)), F(0), F(6)), x), F(6)),
    ),
    "hard swish, sigmoid": (
        ["HardSwish"],
        lambda g, x: g("Mul", x, g("HardSigmoid", x, alpha=1 / 6, beta=0.5)),
    ),
    "sigmoid": (
        ["Sigmoid"],
        lambda g, x: g("Div", F(1), g("Add", g("Exp", g("Neg", x)), F(1))),
    ),
    "sigmoid, reciprocal": (
        ["Sigmoid"],
        lambda g, x: g("Reciprocal", g("Add", F(1), g("Exp", g("Mul", x, F(-1))))),
    ),
    "softplus": (["Softplus"], lambda g, x: g("Log", g("Add", g("Exp", x), F(1)))),
    "mish": (["Mish"], lambda g, x: g("Mul", x, g("Tanh", g("Softplus", x)))),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("behind", ["input", "bias"])
def test_recognised(form, behind):
    wanted, build = FORMS[form]
    g = Graph()
    x = g.input("x", (3, 40))
    if behind == "bias":
        x = g("Add", x, F(1.5))  # an Add that belongs to the layer before
    model = g.model(build(g, x))
    apply(FuseActivationsPass(), model)
    assert operators(model) == (["Add"] if behind == "bias" else []) + wanted


NOT = {
    "another factor": lambda g, x: g("Div", g("Clip", g("Add", x, F(3)), F(0), F(6)), F(5)),
    "another value": lambda g, x: g(
        "Mul", g("Neg", x), g("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    ),
    "silu": lambda g, x: g("Mul", x, g("Sigmoid", x)),
    "crossing bounds": lambda g, x: g("Min", g("Max", x, F(3)), F(2)),
}


@pytest.mark.parametrize("form", NOT)
def test_left_alone(form):
    g = Graph()
    model = g.model(NOT[form](g, g.input("x", (3, 40))))
    assert not apply(FuseActivationsPass(), model).modified


def test_swish_is_taken_apart():
    g = Graph(opset=24)
    model = g.model(g("Swish", g.input("x", (3, 4)), alpha=1.5))
    x = np.linspace(-4, 4, 12, dtype=np.float32).reshape(3, 4)
    assert FuseActivationsPass()(model).applied == 1
    from edgecomp.graph.run import run_model

    (y,) = run_model(model, {"x": x}).values()
    np.testing.assert_allclose(y, x / (1 + np.exp(-1.5 * x)), rtol=1e-5)
    assert operators(model) == ["Mul", "Sigmoid", "Mul"]
