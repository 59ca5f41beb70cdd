import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers.graphs import Graph
from helpers.passes import apply, operators

from edgecomp.graph.counts import CountRequest, count_node
from edgecomp.graph.run import run_model
from edgecomp.graph.text import to_text
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
    "max": lambda g, x: g("Max", np.full((4, 1), -np.inf, np.float32), x),
    "min": lambda g, x: g("Min", x, np.float32(np.inf)),
    "max_alone": lambda g, x: g("Max", x),
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
    "broadcast_max": lambda g, x: g("Max", x, np.full((2, 1, 1, 1), -np.inf, np.float32)),
    "bound": lambda g, x: g("Max", x, np.float32(-1e30)),
    "partly_bound": lambda g, x: g("Max", x, np.array([-np.inf, -np.inf, 0], np.float32)),
    "max_of_inf": lambda g, x: g("Max", x, np.float32(np.inf)),
    "min_of_minus_inf": lambda g, x: g("Min", np.float32(-np.inf), x),
    "max_of_three": lambda g, x: g("Max", x, np.float32(-np.inf), g("Neg", x)),
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


@pytest.mark.parametrize(("operator", "neutral"), [("Max", -np.inf), ("Min", np.inf)])
@pytest.mark.parametrize("flipped", [False, True])
def test_a_maximum_keeps_infinities_and_what_is_no_number(operator, neutral, flipped):
    g = Graph()
    x = g.input("x", (5,))
    operands = (np.float32(neutral), g("Identity", x))
    y = g(operator, *(operands[::-1] if flipped else operands))
    model = g.model(g("Neg", y))
    feeds = {"x": np.array([np.nan, -np.inf, np.inf, -0.0, 1.5], np.float32)}
    (before,) = run_model(model, feeds).values()
    assert RemoveIdentitiesPass()(model).applied == 2
    assert operators(model) == ["Neg"]
    (after,) = run_model(model, feeds).values()
    np.testing.assert_array_equal(after, before)


def test_text(golden):
    g = Graph()
    x = g.input("x", (2, 5))
    least = g("Max", np.float32(-np.inf), g("ReduceMax", x, np.array([1])))
    model = g.model(g("Min", g("Sub", x, least), np.full((2, 5), np.inf, np.float32)), least)
    apply(RemoveIdentitiesPass(), model)
    golden(to_text(model, sources=True))


def test_a_maximum_of_a_size_that_the_data_decides_stays():
    """A single element, in a run that finds one, becomes six."""
    model = ir.from_onnx_text(
        """
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[6] x) => (float[1, 6] y)
        <float[1, 6] bound = {-inf, -inf, -inf, -inf, -inf, -inf}>
        {
           places = NonZero (x)
           found = Cast <to: int = 1> (places)
           most = Max (found, bound)
           y = Neg (most)
        }
        """
    )
    places, found, most, _ = model.graph
    assert count_node(places, CountRequest())
    for node in (found, most):
        node.outputs[0].shape = ir.Shape((1, 6))
        node.outputs[0].dtype = ir.DataType.FLOAT
    assert not RemoveIdentitiesPass()(model).modified
    places.metadata_props.clear()
    assert operators(RemoveIdentitiesPass()(model).model) == ["NonZero", "Cast", "Neg"]
