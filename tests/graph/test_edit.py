import numpy as np
import onnx_ir as ir
from helpers.graphs import Graph, normal

from edgecomp.graph.constants import constant_array, new_initializer, scalar
from edgecomp.graph.edit import (
    insert_behind,
    new_node,
    only_reader,
    remove_unused,
    replace_node,
    replace_value,
    set_constant_input,
)
from edgecomp.graph.source import source_of
from edgecomp.graph.verify import verify


def chain():
    g = Graph()
    y = g("Relu", g("Neg", g.input("x", (1, 3))))
    return g.model(y)


def test_replace_value_keeps_the_output_name():
    model = chain()
    neg, relu = model.graph
    replace_value(relu.outputs[0], neg.outputs[0])
    remove_unused(model)
    verify(model)
    assert [node.op_type for node in model.graph] == ["Neg"]
    assert [value.name for value in model.graph.outputs] == ["v1"]


def test_replace_value_by_a_graph_input_inserts_an_identity():
    model = chain()
    replace_value(model.graph[1].outputs[0], model.graph.inputs[0])
    remove_unused(model)
    verify(model)
    (identity,) = model.graph
    assert identity.op_type == "Identity"
    assert source_of(identity) == "net.py:1"


def test_replace_node_takes_name_type_shape_and_source():
    model = chain()
    relu = model.graph[1]
    replace_node(relu, ir.node("Abs", [relu.inputs[0]], name=relu.name))
    verify(model)
    node = model.graph[1]
    assert (node.op_type, node.outputs[0].name, source_of(node)) == ("Abs", "v1", "net.py:1")
    assert tuple(node.outputs[0].shape) == (1, 3)


def test_shared_constants_are_not_changed(rng):
    g = Graph()
    c = g.constant(normal(rng, 1, 3), "weight")
    model = g.model(g("Mul", g("Add", g.input("x", (1, 3)), c), c))
    add, mul = model.graph
    value = set_constant_input(add, 1, np.zeros((1, 3), np.float32))
    assert value.name == "weight_1"
    assert constant_array(mul.inputs[1]).any()
    assert set_constant_input(mul, 1, np.ones((1, 3), np.float32)).name == "weight"
    verify(model)


def test_constants():
    g = Graph()
    y = g("Add", g.input("x", (1, 3)), np.float32(2))
    model = g.model(y)
    add = model.graph[0]
    assert constant_array(add.inputs[0]) is None
    assert scalar(add.inputs[1]) == 2.0
    assert constant_array(None) is None
    assert new_initializer(model.graph, "v0", np.zeros(2)).name == "v0_1"
    assert only_reader(add.inputs[0]) is add
    assert only_reader(add.outputs[0]) is None
    node = new_node(model.graph, "Neg", [add.outputs[0]], like=add)
    assert node.outputs[0].name == "v0_neg"
    assert remove_unused(model) == 1


def test_insert_behind_takes_over_the_name_and_the_readers():
    model = chain()
    neg, relu = model.graph
    source = source_of(relu)
    row = new_initializer(model.graph, "row", np.ones(3, np.float32))
    insert_behind(relu, "Add", row, name="sum")
    insert_behind(neg, "Mul", row, name="product")
    verify(model)
    assert [node.op_type for node in model.graph] == ["Neg", "Mul", "Relu", "Add"]
    assert [value.name for value in model.graph.outputs] == ["v1"]
    assert model.graph.outputs[0].producer().name == "sum"
    assert source_of(model.graph[3]) == source
    assert model.graph.outputs[0].shape == relu.outputs[0].shape
