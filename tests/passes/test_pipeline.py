import collections

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import operators

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.graph.source import source_of
from edgecomp.passes.outcome import Numerics, Outcome
from edgecomp.passes.pipeline import float_passes, run_passes


def network(rng):
    g = Graph()
    x = g.input("x", (1, 3, 12, 12))
    y = g("Pad", x, np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    weight = normal(rng, 16, 3, 3, 3)
    weight[:8] = 0
    y = g("Conv", y, weight)
    shift = normal(rng, 16)
    shift[:8] = 0
    mean = np.zeros(16, np.float32)
    y = g("BatchNormalization", y, normal(rng, 16), shift, mean, np.ones(16, np.float32))
    y = g("Identity", g("Relu", y))
    y = g("Conv", y, normal(rng, 16, 16, 1, 1))
    y = g("Flatten", g("GlobalAveragePool", y))
    y = g("MatMul", y, normal(rng, 16, 10) * np.float32(0.1))
    return g.model(g("Softmax", g("Add", y, normal(rng, 10)), axis=-1))


def test_the_whole_list(rng, tmp_path):
    model = network(rng)
    reports = run_passes(
        model, float_passes(), dump_dir=tmp_path, verify_feeds=random_feeds(model)
    )
    assert operators(model) == [
        "Conv",
        "Relu",
        "Conv",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
        "Softmax",
    ]
    assert all(source_of(node) for node in model.graph)
    dumps = sorted(path.name for path in tmp_path.iterdir())
    assert dumps[0] == "00_input.onnx"
    assert dumps[1] == "01_fold_constants.onnx"
    assert len(dumps) == len(reports) + 1
    assert onnx.load(tmp_path / dumps[-1]).graph.node[0].op_type == "Conv"
    by_name = {report.name: report for report in reports}
    assert by_name["StripPrunedChannelsPass"].notes == ("n1: 8 of 16 channels stripped",)
    assert 0 < by_name["FoldBatchNormPass"].difference < 1e-5
    assert all(report.difference is not None for report in reports if report.modified)
    assert not any(report.modified for report in run_passes(model, float_passes()))


class Break(ir.passes.InPlacePass):
    """Scales one weight, breaks the structure, or does nothing."""

    def __init__(self, how, numerics=Numerics.EXACT):
        self.how, self.numerics = how, numerics

    def call(self, model):
        node = next(each for each in model.graph if each.op_type == "Conv")
        if self.how == "numbers":
            tensor = node.inputs[1].const_value.numpy() * np.float32(1.01)
            node.inputs[1].const_value = ir.Tensor(tensor, name=node.inputs[1].name)
        if self.how == "structure":
            node.outputs[0].shape = ir.Shape([1, "C", 3, 3])
        return Outcome(model, True)


@pytest.mark.parametrize("numerics", [Numerics.EXACT, Numerics.REASSOCIATED])
def test_a_pass_that_changes_numbers_is_named(rng, numerics):
    model = network(rng)
    with pytest.raises(EdgecompError, match=r"Break .*changed output") as caught:
        run_passes(model, [Break("numbers", numerics)], verify_feeds=random_feeds(model))
    assert caught.value.code is Code.PASS_MISMATCH


def test_quantizing_passes_may_change_numbers(rng):
    model = network(rng)
    (report,) = run_passes(
        model, [Break("numbers", Numerics.QUANTIZED)], verify_feeds=random_feeds(model)
    )
    assert report.difference > 1e-4


def test_a_pass_that_breaks_the_model_is_named(rng):
    with pytest.raises(EdgecompError, match="Break left a broken model") as caught:
        run_passes(network(rng), [Break("structure")])
    assert caught.value.code is Code.INTERNAL


def test_efficientnet_lite0(lite0):
    """The real model: every pass within tolerance, one Conv per layer, sources kept."""
    model = lite0.clone()
    feeds = random_feeds(model)
    expected = run_model(model, feeds)
    reports = run_passes(model, float_passes(), verify_feeds=feeds)
    assert max(report.difference or 0 for report in reports) < 1e-5
    assert collections.Counter(operators(model)) == {
        "Conv": 49, "Clip": 33, "Add": 9, "ReduceMean": 1, "Reshape": 1, "Gemm": 1,
    }  # fmt: skip
    assert all(
        source_of(node).startswith("efficientnet_lite_pytorch/") for node in model.graph
    )
    (name,) = expected
    actual = run_model(model, feeds)[name]
    extent = np.ptp(expected[name])
    assert np.abs(actual - expected[name]).max() <= 1e-5 * extent
    assert actual.argmax() == expected[name].argmax()
