"""What onnx's checker lets pass is refused by the node's name."""

import onnx
import pytest
from onnx import helper

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.load import load_model
from edgecomp.frontend.node_rules import WORDS


def model_of(*nodes, opset=21):
    inputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4, 6, 6])
        for name in "ab"
    ]
    outputs = [onnx.ValueInfoProto(name="y")]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10
    )


def refusal(*nodes):
    with pytest.raises(EdgecompError) as caught:
        load_model(model_of(*nodes))
    assert caught.value.code is Code.MODEL_INVALID
    assert caught.value.node == "bad"
    return caught.value


def node(operator, inputs, **attributes):
    return helper.make_node(operator, inputs, ["y"], "bad", **attributes)


def test_words_that_an_operator_does_not_know():
    error = refusal(node("DepthToSpace", ["a"], blocksize=2, mode="DRC"))
    assert "mode 'DRC'" in error.cause
    assert "DCR" in error.hint
    assert "known: none, tanh" in refusal(node("Gelu", ["a"], approximate="fast")).hint
    pool = node("MaxPool", ["a"], kernel_shape=[2, 2], auto_pad="SAME")
    assert "auto_pad 'SAME'" in refusal(pool).cause


def test_axes_beyond_any_rank():
    # onnx reads an axis in 32 bits: this one is 0 to it.
    assert "so many dimensions" in refusal(node("Concat", ["a", "b"], axis=2**40)).cause
    assert "so many dimensions" in refusal(node("Gather", ["a", "b"], axis=-(2**32))).cause


def test_an_input_that_is_not_optional():
    assert "input 1 (inputs)" in refusal(node("Concat", ["a", ""], axis=0)).cause
    assert "input 0 (A)" in refusal(node("Add", ["", "b"])).cause


def test_an_optional_input_may_be_left_out():
    limit = helper.make_node("Constant", [], ["limit"], value_float=1.0)
    load_model(model_of(limit, node("Clip", ["a", "", "limit"])))


def test_a_constant_of_nothing():
    assert "0 values" in refusal(helper.make_node("Constant", [], ["y"], "bad")).cause


def test_a_node_in_a_branch():
    body = helper.make_graph(
        [node("Gelu", ["a"], approximate="fast")], "b", [], [onnx.ValueInfoProto(name="y")]
    )
    condition = helper.make_node("Constant", [], ["c"], value_int=1)
    cast = helper.make_node("Cast", ["c"], ["d"], to=onnx.TensorProto.BOOL)
    branch = helper.make_node("If", ["d"], ["y"], "if", then_branch=body, else_branch=body)
    refusal(condition, cast, branch)


def model_of_a_function(operator, **given):
    """Whose node has the attribute from the call."""
    ((name, value),) = given.items()
    inner = helper.make_node(operator, ["x"], ["z"], "bad")
    kind = helper.make_attribute(name, value).type
    inner.attribute.add(name=name, ref_attr_name="chosen", type=kind)
    standard, own = helper.make_opsetid("", 21), helper.make_opsetid("own", 1)
    function = helper.make_function("own", "F", ["x"], ["z"], [inner], [standard], ["chosen"])
    model = model_of(helper.make_node("F", ["a"], ["y"], domain="own", chosen=value))
    model.functions.append(function)
    model.opset_import.append(own)
    return model


def test_attributes_that_a_function_is_given():
    load_model(model_of_a_function("Gelu", approximate="tanh"))
    load_model(model_of_a_function("LRN", size=3))
    for given in (("Gelu", "approximate", "fast"), ("LRN", "size", 0)):
        operator, name, value = given
        with pytest.raises(EdgecompError) as caught:
            load_model(model_of_a_function(operator, **{name: value}))
        assert caught.value.code is Code.MODEL_INVALID
        assert f"{name} " in caught.value.cause


def test_the_words_are_those_of_attributes_that_exist():
    for operator, attributes in WORDS.items():
        known = {
            name
            for schema in onnx.defs.get_all_schemas_with_history()
            if schema.name == operator and schema.domain == ""
            for name in schema.attributes
        }
        assert set(attributes) <= known, operator
