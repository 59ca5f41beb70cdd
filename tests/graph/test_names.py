"""Names that are free, and names for everything."""

import onnx_ir as ir

from edgecomp.graph.names import free_name, name_everything


def test_a_free_name_is_taken_afterwards():
    taken = {"x", "x_1"}
    assert free_name("y", taken) == "y"
    assert [free_name("x", taken) for _ in range(2)] == ["x_2", "x_3"]
    assert taken == {"x", "x_1", "x_2", "x_3", "y"}


def test_unnamed_nodes_and_values_get_names_and_equal_ones_numbers():
    x = ir.val("x", ir.DataType.FLOAT, (1,))
    first = ir.node("Relu", [x], name="same")
    second = ir.node("Neg", [first.outputs[0]], name="same")
    third = ir.node("Abs", [second.outputs[0]])
    graph = ir.Graph([x], third.outputs, nodes=[first, second, third], opset_imports={"": 21})
    # The graph has named what had no name; a file may come without.
    first.outputs[0].name = second.outputs[0].name = third.name = None
    third.outputs[0].name = "y"
    name_everything(ir.Model(graph, ir_version=10))
    assert [node.name for node in graph] == ["same", "same_1", "y"]
    assert [node.outputs[0].name for node in graph] == ["relu_out", "neg_out", "y"]
