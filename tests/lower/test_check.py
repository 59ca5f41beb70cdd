"""What edgecomp check finds, and how it is told."""

import io
import json

import numpy as np
import onnx
import pytest
import rich.console
from onnx import TensorProto, helper

import edgecomp
from edgecomp import api
from edgecomp.errors import EdgecompError
from edgecomp.lower.check_sarif import sarif
from edgecomp.lower.rewrites import rewrite_for

SOURCE = {"edgecomp.source": "net.py:12"}


def tensor(name, shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def constant(name, array):
    return onnx.numpy_helper.from_array(np.asarray(array), name)


def model_of(nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.fixture(scope="module")
def faulty():
    """Problems of every sort beside a convolution that has none."""
    weights = np.full((4, 3, 3, 3), 0.1, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("LRN", ["r"], ["q"], name="lrn", size=3),
        helper.make_node("ReduceSum", ["q"], ["a"], name="sum", keepdims=0),
        helper.make_node("Range", ["zero", "a", "one"], ["n"], name="range"),
        helper.make_node("Cast", ["n"], ["f"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("StringNormalizer", ["s"], ["t"], name="strings"),
    ]
    for key, value in SOURCE.items():
        nodes[2].metadata_props.add(key=key, value=value)
    return model_of(
        nodes,
        [tensor("x", [1, 3, 8, 8]), tensor("s", [1], TensorProto.STRING)],
        [tensor("f", [None]), tensor("t", [None], TensorProto.STRING)],
        [
            constant("w", weights),
            constant("zero", np.float32(0)),
            constant("one", np.float32(1)),
        ],
    )


@pytest.fixture(scope="module")
def report(faulty):
    return api.check(faulty, ["raspberry-pi-3", "raspberry-pi-5"])


def test_every_problem_is_listed_once(report):
    found = [(p.check.status, p.check.operator, p.check.nodes) for p in report.problems]
    assert found == [
        ("impossible", "input", ("s",)),
        ("impossible", "output", ("t",)),
        ("impossible", "Range", ("range",)),
        ("impossible", "Cast", ("cast",)),
        ("impossible", "StringNormalizer", ("strings",)),
        ("fallback", "LRN", ("lrn",)),
    ]
    assert all(p.targets == ("raspberry-pi-3", "raspberry-pi-5") for p in report.problems)
    assert not report.possible


def test_a_problem_says_where_why_and_what_would_help(report):
    reasons = {p.check.operator: p.check for p in report.problems}
    assert reasons["LRN"].source == "net.py:12"
    assert reasons["LRN"].detail == "no schedule for this operator"
    assert "'n'" in reasons["Cast"].detail
    assert reasons["Cast"].rewrite == "mend the operator that this size comes from"
    assert "--bound" in reasons["Range"].rewrite


def test_the_rest_is_looked_at_as_it_would_be_built(report):
    (convolution,) = [
        c for c in report.checks if c.operator == "Conv+Relu" and c.target == "raspberry-pi-3"
    ]
    assert convolution.status == "scheduled"
    assert convolution.nodes == ("conv", "relu")
    assert convolution.multiply_adds == 6 * 6 * 4 * 27
    assert convolution.share == 1


def test_shares_are_of_the_whole_model():
    weights = [np.ones((4, 3, 1, 1), np.float32), np.ones((12, 4, 1, 1), np.float32)]
    model = model_of(
        [
            helper.make_node("Conv", ["x", "a"], ["h"], name="first"),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("Conv", ["r", "b"], ["y"], name="second"),
        ],
        [tensor("x", [1, 3, 8, 8])],
        [tensor("y", [1, 12, 8, 8])],
        [constant("a", weights[0]), constant("b", weights[1])],
    )
    report = api.check(model, ["x86-64-v3"])
    shares = {c.nodes: c.share for c in report.checks if c.multiply_adds}
    assert shares == pytest.approx({("first", "relu"): 0.2, ("second",): 0.8})
    assert report.possible
    assert report.problems == []


def test_a_gpu_is_asked_first():
    model = model_of(
        [
            helper.make_node("Exp", ["x"], ["e"], name="exp"),
            helper.make_node("CumSum", ["e", "axis"], ["y"], name="sum"),
        ],
        [tensor("x", ["rows", 4])],
        [tensor("y", ["rows", 4])],
        [constant("axis", np.int64(0))],
    )

    def schedules(rows):
        report = api.check(model, ["mali-g7x"], inputs=[f"x:{rows}x4"])
        return [check.detail for check in report.checks]

    assert schedules("3") == ["opencl_elementwise", "cumulative"]
    assert schedules("[1..3]") == ["opencl_elementwise", "sequences"]


def test_sizes_that_the_data_decides():
    """Their bounds are said; what follows them is looked at as it is built."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["n"], name="nonzero"),
        helper.make_node("Cast", ["n"], ["f"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("CumSum", ["f", "axis"], ["y"], name="sum"),
    ]
    model = model_of(
        nodes, [tensor("x", [3, 5])], [tensor("y", [2, None])], [constant("axis", np.int64(0))]
    )
    found = {c.operator: c for c in api.check(model, ["x86-64-v3"]).checks}
    assert (found["NonZero"].dimension, found["NonZero"].bound) == ("n_1", 15)
    assert found["Cast"].status == "scheduled"
    assert found["CumSum"].status == "impossible"
    report = api.check(model, ["x86-64-v3"], bounds=["n_1:[0..7]"])
    (bounded,) = [c for c in report.checks if c.operator == "NonZero"]
    assert bounded.bound == 7
    text = io.StringIO()
    report.render(rich.console.Console(file=text, width=160))
    assert "bounded by 7" in text.getvalue()
    with pytest.raises(EdgecompError, match="no dimension of this name") as caught:
        api.check(model, ["x86-64-v3"], bounds=["n_0:[0..7]"])
    assert "n_1" in caught.value.hint


def test_for_people(report):
    text = io.StringIO()
    report.render(rich.console.Console(file=text, width=160))
    for words in ("Conv+Relu", "1 fallback", "net.py:12", "no schedule", "100.0 %", "all"):
        assert words in text.getvalue()


def test_for_programs(report):
    content = json.loads(json.dumps(report.as_dict()))
    assert content["possible"] is False
    assert {"target", "status", "nodes", "source", "rewrite", "share"} <= set(
        content["checks"][0]
    )


def test_sarif(report):
    log = json.loads(json.dumps(sarif(report, "models/my net.onnx")))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("edgecomp", edgecomp.__version__)
    assert len(run["results"]) == len(report.problems)
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning")
    norm = run["results"][-1]["locations"][0]
    assert norm["physicalLocation"] == {
        "artifactLocation": {"uri": "net.py"},
        "region": {"startLine": 12},
    }
    assert norm["logicalLocations"] == [{"name": "lrn", "kind": "element"}]
    first = run["results"][0]["locations"][0]["physicalLocation"]
    assert first == {"artifactLocation": {"uri": "models/my%20net.onnx"}}


@pytest.mark.parametrize(
    ("operator", "reason", "advice"),
    [
        ("Gemm", "C is computed at run time", "constant"),
        ("Loop", "no implementation of this operator", "unroll"),
        ("Dropout", "dropout in training mode", "eval()"),
        ("Relu", "no elements", ""),
    ],
)
def test_rewrites(operator, reason, advice):
    assert advice in rewrite_for(operator, reason)
    assert bool(advice) == bool(rewrite_for(operator, reason))


@pytest.mark.parametrize("bounds", ["[32..640]", "[32..640:32]"])
def test_bounded_dimensions(bounds):
    """Work is that of the largest sizes, whatever the dimensions are multiples of."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["y"], name="relu"),
    ]
    weights = constant("w", np.ones((4, 3, 2, 2), np.float32))
    model = model_of(nodes, [tensor("x", [1, 3, "h", 64])], [tensor("y", None)], [weights])
    report = api.check(model, ["x86-64-v3"], inputs=[f"x:1x3x{bounds}x64"])
    assert report.problems == []
    assert sum(c.multiply_adds for c in report.checks) == 4 * 320 * 32 * 12
