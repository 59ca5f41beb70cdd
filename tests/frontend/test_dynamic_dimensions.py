import numpy as np
import pytest
from helpers.graphs import Graph

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.dynamic_dimensions import dynamic_inputs
from edgecomp.frontend.input_spec import Bounds, parse_input_specs
from edgecomp.frontend.load import load_model


def two_inputs(y_shape=("batch", "length", 4)):
    g = Graph()
    x = g.input("x", ("batch", "length", 1), np.float32)
    return g.proto(g("Add", x, g.input("y", y_shape, np.float32)))


def load(proto, *inputs, sizes=None):
    return load_model(proto, inputs=parse_input_specs(inputs), sizes=sizes)


def shapes(model):
    return {value.name: tuple(value.shape.numpy()) for value in model.graph.inputs}


def test_dimensions_of_one_name_are_one():
    """The bounds of one input hold for the other; sizes are the largest where none are given."""
    model = load(two_inputs(), "x:[1..8]x[2..64]x1")
    assert shapes(model) == {"x": (8, 64, 1), "y": (8, 64, 4)}
    found = dynamic_inputs(model)
    assert found.bounds == {"batch": Bounds(1, 8), "length": Bounds(2, 64)}
    assert found.shapes["y"] == ("batch", "length", 4)
    model = load(two_inputs(), "x:[1..8]x[2..64]x1", sizes={"batch": 3, "length": 7})
    assert shapes(model) == {"x": (3, 7, 1), "y": (3, 7, 4)}


def test_some_dimensions_fixed():
    model = load(two_inputs(), "x:1x[1..64]x1", "y:1x[1..64]x4")
    assert shapes(model)["y"] == (1, 64, 4)
    assert dynamic_inputs(model).bounds == {"length": Bounds(1, 64)}


def test_names_of_the_user():
    proto = two_inputs((None, None, 4))
    model = load(proto, "x:1x[1..64]x1", "y:1x[length=1..64]x4")
    assert dynamic_inputs(model).shapes["y"] == (1, "length", 4)
    with pytest.raises(EdgecompError, match="in another place") as caught:
        load(proto, "x:1x[1..64]x1", "y:1x[length=1..63]x4")
    assert caught.value.code is Code.USAGE


def test_static_models_know_nothing_of_it():
    assert dynamic_inputs(load(two_inputs(), "x:1x2x1", "y:1x2x4")) is None


def test_declared_extents_hold():
    with pytest.raises(EdgecompError) as caught:
        load(two_inputs(), "x:1x4x[1..2]")
    assert caught.value.code is Code.SHAPE_CONFLICT


def test_free_dimensions_still_need_something():
    with pytest.raises(EdgecompError) as caught:
        load(two_inputs(), "x:[1..4]x[1..64]x1", "y:[1..4]x8x4")
    assert caught.value.code is Code.SHAPE_CONFLICT
    with pytest.raises(EdgecompError) as caught:
        load(two_inputs())
    assert caught.value.code is Code.DIMENSION_FREE
    assert "[1..8]" in caught.value.hint


def test_a_torch_module_is_traced_at_the_sizes():
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def forward(self, ids, scale):
            return ids.float().mean(1, keepdim=True) * scale

    example = (torch.arange(12).reshape(2, 6), torch.ones(2, 1))
    specs = parse_input_specs(["ids:[n=1..4]x[1..8]", "scale:[n=1..4]x1"])
    for sizes, rows, length in ((None, 4, 8), ({"n": 3, "ids_1": 5}, 3, 5)):
        model = load_model(Net().eval(), args=example, inputs=specs, sizes=sizes)
        assert shapes(model) == {"ids": (rows, length), "scale": (rows, 1)}
        found = dynamic_inputs(model)
        assert found.bounds == {"n": Bounds(1, 4), "ids_1": Bounds(1, 8)}
    model = load_model(Net().eval(), inputs=parse_input_specs(["ids:2x[1..8]", "scale:2x1"]))
    assert shapes(model)["ids"] == (2, 8)
