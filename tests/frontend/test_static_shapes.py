import numpy as np
import onnx
import pytest
from helpers.graphs import Graph, normal

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.input_spec import InputSpec
from edgecomp.frontend.load import load_model
from edgecomp.graph.counts import Counted, counted_dimensions


def network(rng):
    g = Graph()
    x, z = g.input("x", ("batch", 3, "height", 8)), g.input("z", ("batch", 4))
    y = g("Conv", x, normal(rng, 4, 3, 3, 3))
    shape = g("Concat", g("Shape", y, end=2), np.array([-1]), axis=0)
    y = g("ReduceMean", g("Reshape", y, shape), np.array([2]), keepdims=0)
    return g.proto(g("Add", y, z))


def test_a_name_set_once_holds_everywhere(rng):
    model = load_model(network(rng), inputs={"x": InputSpec("x", (2, 3, 6, 8))})
    assert [tuple(value.shape) for value in model.graph.inputs] == [(2, 3, 6, 8), (2, 4)]
    assert [node.op_type for node in model.graph] == ["Conv", "Reshape", "ReduceMean", "Add"]
    assert tuple(model.graph.outputs[0].shape) == (2, 4)


def test_free_dimensions_are_all_listed(rng):
    with pytest.raises(EdgecompError) as caught:
        load_model(network(rng))
    assert caught.value.code is Code.DIMENSION_FREE
    assert "x [batch,3,height,8], z [batch,4]" in caught.value.cause
    assert caught.value.hint.startswith(
        "give --input x:1x3x1x8 --input z:1x4, or bounds as in"
    )


@pytest.mark.parametrize(
    ("specs", "code", "part"),
    [
        ([("x", (2, 4, 6, 8))], Code.SHAPE_CONFLICT, "its shape is"),
        ([("x", (2, 3, 6))], Code.SHAPE_CONFLICT, "4 dimensions"),
        (
            [("x", (2, 3, 6, 8)), ("z", (3, 4))],
            Code.SHAPE_CONFLICT,
            "'batch' is 2 by input 'x'",
        ),
        ([("y", (2,))], Code.USAGE, "no such input"),
        ([("x", (2, 3, 2, 8))], Code.SHAPE_CONFLICT, "would have shape [2,4,0,6]"),
    ],
)
def test_bad(rng, specs, code, part):
    inputs = {name: InputSpec(name, shape) for name, shape in specs}
    if "x" not in inputs:
        inputs["x"] = InputSpec("x", (1, 3, 6, 8))
    with pytest.raises(EdgecompError) as caught:
        load_model(network(rng), inputs=inputs)
    assert caught.value.code is code
    assert part in caught.value.cause
    assert caught.value.hint


def test_dtype(rng):
    with pytest.raises(EdgecompError, match="its dtype is float32"):
        load_model(network(rng), inputs={"x": InputSpec("x", (2, 3, 6, 8), "int8")})


def test_sizes_that_depend_on_data(rng):
    g = Graph()
    y = g("NonZero", g.input("x", (3, 4)))
    y = g("Cast", y, to=1)
    model = load_model(g.proto(y))
    assert model.graph.outputs[0].shape.numpy() == (2, 12)
    assert counted_dimensions(model) == [Counted("v0_1", 0, 12)]
    bounded = load_model(g.proto(y), bounds={"v0_1": (1, 5)}, sizes={"v0_1": 3})
    assert bounded.graph.outputs[0].shape.numpy() == (2, 3)
    assert counted_dimensions(bounded) == [Counted("v0_1", 1, 5)]


def test_sizes_that_no_shape_bounds(rng):
    g = Graph()
    limit = g("ReduceMax", g.input("x", (3, 4)), keepdims=0)
    proto = g.proto(g("Range", np.float32(0), limit, np.float32(1)))
    with pytest.raises(EdgecompError, match="from Range") as caught:
        load_model(proto)
    assert caught.value.code is Code.DIMENSION_FREE
    assert "--bound 'v1_0:[0..100]'" in caught.value.hint
    assert counted_dimensions(load_model(proto, bounds={"v1_0": (0, 9)}))


@pytest.mark.parametrize(
    ("bounds", "part"),
    [
        ({"v1_0": (0, 3)}, "no dimension of this name"),
        ({"v0_1": (13, 20)}, "never more than 12"),
    ],
)
def test_bounds_that_do_not_fit(rng, bounds, part):
    g = Graph()
    proto = g.proto(g("NonZero", g.input("x", (3, 4))))
    with pytest.raises(EdgecompError, match=part) as caught:
        load_model(proto, bounds=bounds)
    assert caught.value.code is Code.USAGE


def test_impossible_extents_are_free(rng):
    """Paddle writes -1, some write 0."""
    g = Graph()
    x = g.input("x", (-1, 3, 0, 8))
    y = g("Conv", x, normal(rng, 4, 3, 3, 3))
    proto = g.proto(g("Relu", y))
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info(y, 1, [-1, 4, -1, 6]))
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("v1", 1, [-1, 4, -1, 6]))
    model = load_model(proto, inputs={"x": InputSpec("x", (2, 3, 6, 8))})
    assert tuple(model.graph.outputs[0].shape) == (2, 4, 4, 6)
    with pytest.raises(EdgecompError) as caught:
        load_model(proto)
    assert caught.value.hint.startswith("give --input x:1x3x1x8, or bounds")


def test_a_branch_that_depends_on_an_input():
    g = Graph()
    x, flag = g.input("x", (4,)), g.input("flag", (), np.bool_)
    short = onnx.helper.make_node(
        "Slice", [x, g.constant(np.array([0])), g.constant(np.array([2]))], ["s"]
    )
    whole = onnx.helper.make_node("Neg", [x], ["w"])
    branches = {
        name: onnx.helper.make_graph(
            [node], name, [], [onnx.helper.make_tensor_value_info(out, 1, ["n"])]
        )
        for name, node, out in (("then_branch", short, "s"), ("else_branch", whole, "w"))
    }
    with pytest.raises(EdgecompError, match="branches of If give") as caught:
        load_model(g.proto(g("If", flag, **branches)))
    assert caught.value.code is Code.OPERATOR_UNSUPPORTED
    assert caught.value.node == "n0"
