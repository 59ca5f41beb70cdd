"""Bodies: what they read, as models of their own, their names; passes on them."""

import onnx.parser
import onnx_ir as ir
import pytest

from edgecomp.frontend.load import load_model
from edgecomp.graph.bodies import bodies, captured_values, closed, name_inner_values
from edgecomp.graph.verify import verify
from edgecomp.passes.pipeline import float_passes, run_passes

TEXT = """<ir_version: 10, opset_import: ["": 21]>
g (bool c, bool d, float[1,2,4,4] x) => (float[1,2,4,4] y)
  <float[2,2,1,1] w = {1, 2, 3, 4}, float[2] one = {1, 2}, float[2] two = {3, 4}> {
    k = Exp(x)
    y = If (c) <
      then_branch = t () => (float[1,2,4,4] a) {
        n = Conv(k, w)
        a = BatchNormalization(n, one, two, two, one)
      },
      else_branch = e () => (float[1,2,4,4] b) {
        b = If (d) <
          then_branch = tt () => (float[1,2,4,4] f) { f = Mul(k, x) },
          else_branch = te () => (float[1,2,4,4] h) { h = Relu(k) }
        >
      }
    >
}"""


@pytest.fixture
def model():
    return load_model(onnx.parser.parse_model(TEXT))


def branch(model, index):
    (node,) = (node for node in model.graph if node.op_type == "If")
    return bodies(node)[index]


def names(values):
    return sorted(value.name for value in values)


def test_captured_values_are_those_of_inner_bodies_too(model):
    assert names(captured_values(branch(model, 0))) == ["k", "one", "two", "w"]
    assert names(captured_values(branch(model, 1))) == ["d", "k", "x"]


def test_a_closed_body_is_a_model_and_opens_again(model):
    body = branch(model, 0)
    before = captured_values(body)
    with closed(body, model.opset_imports) as own:
        assert names(own.graph.inputs) == ["k"]
        assert names(own.graph.initializers.values()) == ["one", "two", "w"]
        verify(own)
        assert not captured_values(own.graph)
    assert captured_values(body) == before
    assert not body.inputs
    assert not body.initializers


def test_passes_reach_into_bodies(model):
    reports = run_passes(model, float_passes())
    assert "BatchNormalization" not in [node.op_type for node in branch(model, 0)]
    folded = next(report for report in reports if report.name == "FoldBatchNormPass")
    assert folded.modified
    assert folded.applied == 1
    verify(model)


def test_inner_names_are_their_own(model):
    values = [v for graph in model.graph.subgraphs() for node in graph for v in node.outputs]
    for value in values:
        value.name = "k"
    name_inner_values(model.graph)
    assert len({value.name for value in values} | {"k"}) == len(values) + 1
    verify(model)
    onnx.checker.check_model(ir.to_proto(model))
