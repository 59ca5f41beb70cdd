import math

import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.passes import apply, operators

from edgecomp.passes.fuse_gelu import FuseGeluPass

F = np.float32
T = F(math.sqrt(2 / math.pi))


def erf(g, x, *, multiply=False):
    scaled = g("Mul", x, F(math.sqrt(0.5))) if multiply else g("Div", x, F(math.sqrt(2)))
    return g("Add", g("Erf", scaled), F(1))


def tanh(g, x, inner):
    return g("Add", g("Tanh", inner), F(1))


FORMS = {
    "half last": lambda g, x: g("Mul", g("Mul", x, erf(g, x)), F(0.5)),
    "half first": lambda g, x: g("Mul", g("Mul", x, F(0.5)), erf(g, x, multiply=True)),
    "half inside": lambda g, x: g("Mul", x, g("Mul", erf(g, x), F(0.5))),
    "halved": lambda g, x: g("Mul", x, g("Div", erf(g, x), F(2))),
    "tanh, power": lambda g, x: g(
        "Mul",
        g("Mul", F(0.5), x),
        tanh(g, x, g("Mul", T, g("Add", x, g("Mul", F(0.044715), g("Pow", x, F(3)))))),
    ),
    "tanh, products": lambda g, x: g(
        "Mul",
        g("Mul", F(0.5), x),
        tanh(
            g,
            x,
            g(
                "Mul",
                g("Mul", x, F(0.7978845608)),
                g("Add", F(1), g("Mul", g("Mul", x, F(0.044715)), x)),
            ),
        ),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_recognised(form):
    g = Graph()
    x = g("Add", g.input("x", (3, 40)), F(0.25))
    model = g.model(FORMS[form](g, x))
    assert apply(FuseGeluPass(), model).applied == 1
    assert operators(model) == ["Add", "Gelu"]
    kind = "tanh" if "tanh" in form else "none"
    assert model.graph[1].attributes["approximate"].as_string() == kind


def test_other_constants_stay():
    g = Graph()
    x = g.input("x", (3, 40))
    y = g("Mul", g("Mul", x, F(0.5)), g("Add", g("Erf", g("Div", x, F(1.4))), F(1)))
    assert not apply(FuseGeluPass(), g.model(y)).modified


def test_inner_value_read_elsewhere():
    g = Graph()
    x = g.input("x", (3, 40))
    p = erf(g, x)
    assert not apply(FuseGeluPass(), g.model(g("Mul", g("Mul", x, F(0.5)), p), p)).modified


def test_needs_opset_20():
    import onnx_ir as ir

    g = Graph(opset=19)
    model = g.model(g("Erf", g.input("x", (3, 40))))
    with pytest.raises(ir.passes.PreconditionError):
        FuseGeluPass()(model)
