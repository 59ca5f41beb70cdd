import numpy as np
import onnx
import pytest
from helpers.graphs import Graph
from helpers.passes import apply, operators

from edgecomp.passes.remove_identities import RemoveIdentitiesPass

ONE_TO_ONE = {
    "identity": lambda g, x: g("Identity", x),
    "dropout": lambda g, x: g("Dropout", x),
    "cast": lambda g, x: g("Cast", x, to=onnx.TensorProto.FLOAT),
    "reshape": lambda g, x: g("Reshape", x, np.array([0, -1, 4, 5])),
    "transpose": lambda g, x: g("Transpose", x, perm=[0, 1, 2, 3]),
    "slice": lambda g, x: g("Slice", x, np.array([0]), np.array([99]), np.array([1])),
    "pad": lambda g, x: g("Pad", x, np.zeros(8, np.int64)),
    "expand": lambda g, x: g("Expand", x, np.array([1, 4, 5])),
    "concat": lambda g, x: g("Concat", x, axis=1),
    "split": lambda g, x: g("Split", x, np.array([3]), axis=1),
    "add": lambda g, x: g("Add", x, np.zeros((4, 5), np.float32)),
    "sub": lambda g, x: g("Sub", x, np.float32(0)),
    "mul": lambda g, x: g("Mul", np.ones((1, 1), np.float32), x),
    "div": lambda g, x: g("Div", x, np.float32(1)),
    "pow": lambda g, x: g("Pow", x, np.float32(1)),
    "clip": lambda g, x: g("Clip", x),
    "sum": lambda g, x: g("Sum", x),
    "maxpool": lambda g, x: g("MaxPool", x, kernel_shape=[1, 1]),
    "resize": lambda g, x: g("Resize", x, "", np.ones(4, np.float32), mode="linear"),
    "mean": lambda g, x: g("ReduceMean", x, np.array([0])),
}


@pytest.mark.parametrize("name", ONE_TO_ONE)
def test_removed(name):
    g = Graph()
    x = g.input("x", (1, 3, 4, 5))
    y = ONE_TO_ONE[name](g, g("Relu", x))
    model = g.model(g("Neg", y))
    assert apply(RemoveIdentitiesPass(), model).applied == 1
    assert operators(model) == ["Relu", "Neg"]


KEPT = {
    "flip": lambda g, x: g(
        "Slice", x, np.array([9]), np.array([-99]), np.array([2]), np.array([-1])
    ),
    "swap": lambda g, x: g("Transpose", x, perm=[0, 2, 1, 3]),
    "shift": lambda g, x: g("Pad", x, np.array([0, 0, 1, 0, 0, 0, -1, 0])),
    "rsub": lambda g, x: g("Sub", np.float32(0), x),
    "rdiv": lambda g, x: g("Div", np.float32(1), x),
    "broadcast": lambda g, x: g("Add", x, np.zeros((2, 1, 1, 1, 1), np.float32)),
    "training": lambda g, x: g("Dropout", x, np.float32(0.5), np.array(True)),
}


@pytest.mark.parametrize("name", KEPT)
def test_kept(name):
    g = Graph()
    x = g.input("x", (1, 3, 3, 3))
    y = KEPT[name](g, g("Relu", x))
    model = g.model(g("Neg", y))
    assert not RemoveIdentitiesPass()(model).modified


def test_names_of_inputs_and_outputs_survive():
    g = Graph()
    x = g.input("x", (1, 3))
    y = g("Identity", g("Identity", g("Relu", x)))
    z = g("Identity", x)
    model = g.model(y, z)
    apply(RemoveIdentitiesPass(), model)
    assert operators(model) == ["Relu", "Identity"]
    assert [value.name for value in model.graph.outputs] == [y, z]


def test_one_value_for_two_outputs_keeps_an_identity():
    g = Graph()
    y = g("Relu", g.input("x", (1, 3)))
    model = g.model(y, g("Identity", y))
    apply(RemoveIdentitiesPass(), model)
    assert operators(model) == ["Relu", "Identity"]
