"""Older operator sets compute what they computed."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers.graphs import Graph, normal

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.load import load_model
from edgecomp.frontend.opset import convert_opset, is_renumbered
from edgecomp.graph.compare import relative_difference
from edgecomp.graph.run import Runner, random_feeds, run_model


def old_run(proto, feeds):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def softmax_of_rank_3(g, x):
    return g("Softmax", g("Reshape", x, np.array([2, 4, 36])), axis=1)


def batch_norm(g, x):
    rng = np.random.default_rng(1)
    terms = [normal(rng, 4) for _ in range(3)]
    return g("BatchNormalization", x, *terms, np.ones(4, np.float32))


def upsample(mode, factor):
    def build(g, x):
        scales = np.array([1, 1, factor, factor], np.float32)
        if g.opset < 9:
            return g("Upsample", x, scales=scales.tolist(), mode=mode)
        return g("Upsample" if g.opset == 9 else "Resize", x, scales, mode=mode)

    return build


CASES = {
    "softmax": (softmax_of_rank_3, [7, 9, 11, 12, 13]),
    "batch norm": (batch_norm, [7, 8, 9, 13, 14, 15]),
    "nearest": (upsample("nearest", 2), [7, 8, 9, 10]),
    "linear": (upsample("linear", 2), [7, 8, 9, 10]),
    "nearest by 3": (upsample("nearest", 3), [9, 10]),
    "dropout": (lambda g, x: g("Dropout", x), [7, 10, 11, 12, 13]),
    "mean": (lambda g, x: g("ReduceMean", x, axes=[2, 3]), [7, 11, 13, 17]),
    "sum": (lambda g, x: g("ReduceSum", x, axes=[1], keepdims=0), [7, 11, 12]),
    "squeeze": (lambda g, x: g("Squeeze", g("ReduceMax", x, axes=[1]), axes=[1]), [7, 11, 12]),
    "split": (lambda g, x: g("Split", x, axis=1, split=[1, 3], outputs=2)[1], [7, 11, 12]),
    "pad": (lambda g, x: g("Pad", x, pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.5), [7, 10]),
    "slice": (lambda g, x: g("Slice", x, axes=[2], starts=[1], ends=[5]), [7, 9]),
    "clip": (lambda g, x: g("Clip", x, min=-0.5, max=0.5), [7, 10]),
    "average": (
        lambda g, x: g("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        [7, 10, 11, 19],
    ),
    "log softmax": (lambda g, x: g("LogSoftmax", x), [7, 11, 12, 13]),
    "argmax": (lambda g, x: g("Cast", g("ArgMax", x, axis=1), to=1), [7, 11, 12]),
}


@pytest.mark.parametrize(
    ("case", "opset"),
    [(case, opset) for case, (_, opsets) in CASES.items() for opset in opsets],
)
def test_converted(case, opset):
    g = Graph(opset)
    x = g.input("x", (2, 4, 6, 6))
    proto = g.proto(CASES[case][0](g, g("Relu", x)), ir_version=4 if opset < 10 else 8)
    model = load_model(proto)
    assert model.opset_imports[""] == 21
    feeds = random_feeds(model)
    (expected,) = old_run(proto, feeds)
    (actual,) = run_model(model, feeds).values()
    assert relative_difference(actual, expected) < 1e-6
    assert all(node.metadata_props.get("edgecomp.source") for node in model.graph)


def test_initializers_that_are_inputs_too(rng):
    """IR 3 lists weights as graph inputs."""
    g = Graph(8)
    y = g("Conv", g.input("x", (1, 3, 8, 8)), normal(rng, 16, 3, 3, 3))
    g.inputs.append(onnx.helper.make_tensor_value_info("c0", 1, (16, 3, 3, 3)))
    model = load_model(g.proto(y, ir_version=3))
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert Runner(model)(random_feeds(model))[y].shape == (1, 16, 6, 6)


def test_a_file_as_the_onnx_package_makes_it(rng):
    """Its newest form is newer than what onnxruntime reads."""
    g = Graph()
    y = g("Relu", g("Conv", g.input("x", (1, 3, 8, 8)), normal(rng, 4, 3, 3, 3)))
    model = load_model(onnx.helper.make_model(g.proto(y).graph))
    assert Runner(model)(random_feeds(model))[y].shape == (1, 4, 6, 6)


def test_a_type_that_no_operator_set_has():
    g = Graph(28)
    y = g("Cast", g.input("x", (2,)), to=0)
    with pytest.raises(EdgecompError) as caught:
        load_model(g.proto(y))
    assert caught.value.code is Code.MODEL_INVALID or "type" in caught.value.cause
    assert caught.value.node


@pytest.mark.parametrize("opset", [22, 23, 24, 25, 26])
def test_newer_ones_stay(rng, opset):
    g = Graph(opset)
    y = g("Relu", g("Conv", g.input("x", (1, 3, 8, 8)), normal(rng, 4, 3, 3, 3)))
    proto = g.proto(y)
    if not proto.graph.output[0].type.HasField("tensor_type"):
        proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(y, 1, None))
    model = load_model(proto)
    assert model.opset_imports[""] == opset


def test_what_cannot_be_converted(monkeypatch):
    def fail(*_):
        raise RuntimeError("/project/onnx/version_converter/convert.h:10: no adapter for Foo")

    monkeypatch.setattr(onnx.version_converter, "convert_version", fail)
    g = Graph(11)
    with pytest.raises(EdgecompError, match="no adapter for Foo") as caught:
        load_model(g.proto(g("Relu", g.input("x", (2, 2)))))
    assert caught.value.code is Code.OPSET_UNSUPPORTED
    assert "opset 21" in caught.value.hint


def test_functions_are_inlined(rng):
    body = [
        onnx.helper.make_node("Relu", ["a"], ["t"]),
        onnx.helper.make_node("Neg", ["t"], ["b"]),
    ]
    function = onnx.helper.make_function(
        "my", "NegRelu", ["a"], ["b"], body, [onnx.helper.make_opsetid("", 21)]
    )
    g = Graph()
    y = g("NegRelu", g("NegRelu", g.input("x", (2, 3)), domain="my"), domain="my")
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            g.nodes, "g", g.inputs, [onnx.helper.make_tensor_value_info(y, 1, None)]
        ),
        opset_imports=[onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("my", 1)],
        functions=[function],
        ir_version=10,
    )
    model = load_model(proto)
    assert [node.op_type for node in model.graph] == ["Relu", "Neg", "Relu", "Neg"]
    assert {node.metadata_props["edgecomp.source"] for node in model.graph} == {
        "net.py:0",
        "net.py:1",
    }
    assert not model.functions


def converted(text):
    model = ir.from_onnx_text(text)
    before = model.clone()
    convert_opset(model)
    return before, model


def test_a_conversion_to_wider_types_renumbers():
    text = """
        <ir_version: 9, opset_import: ["" : 20]>
        g (float[2, 6] x) => (float[3, 4] y) {
            s = Constant <value_ints = [3, 4]> ()
            y = Reshape (x, s)
        }
    """
    assert is_renumbered(*converted(text))


def test_a_conversion_that_writes_nodes_anew_does_not_renumber():
    text = """
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2, 6] x) => (float[2, 1] y) { y = ReduceMax <axes = [1]> (x) }
    """
    assert not is_renumbered(*converted(text))


def test_a_conversion_from_an_old_opset_is_compared():
    text = """
        <ir_version: 7, opset_import: ["" : 12]>
        g (float[2, 6] x) => (float[2, 6] y) { y = Relu (x) }
    """
    assert not is_renumbered(*converted(text))
