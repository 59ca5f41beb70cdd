"""From a source to the portable model, with and without quantization."""

import logging

import pytest

from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.qdq import is_quantized
from edgecomp.options import BuildOptions, QuantizeOptions
from edgecomp.progress import silent
from edgecomp.steps.prepare import prepare
from edgecomp.steps.quantize import GOLDEN_SAMPLES


def test_a_float_model_is_optimized(model):
    steps = []
    prepared = prepare(
        model, BuildOptions(), lambda text, *_: steps.append(text), target=load_target("host")
    )
    assert steps == ["read the model", "optimize the graph"]
    assert [node.op_type for node in prepared.model.graph] == ["Conv", "Relu"]
    assert prepared.facts["precision"] == "fp32"
    assert "RemoveIdentitiesPass" in prepared.facts["passes"]
    assert [set(feeds) for feeds in prepared.samples] == [{"x"}]


def test_a_quantized_model_is_taken_as_it_is(model, samples, caplog):
    options = QuantizeOptions(precision="w8a8")
    prepared = prepare(model, options, silent, dataset=samples)
    assert is_quantized(prepared.model)
    assert prepared.facts["passes"][-1] == "InsertQdqPass"
    assert prepared.facts["quantization"]["samples"] == len(samples)
    assert len(prepared.samples) == GOLDEN_SAMPLES
    nodes = [node.op_type for node in prepared.model.graph]
    with caplog.at_level(logging.WARNING):
        again = prepare(prepared.model, options, silent)
    assert "quantized already" in caplog.text
    assert again.facts["precision"] == "as given"
    assert again.facts["passes"] == []
    assert [node.op_type for node in again.model.graph] == nodes


def test_quantization_needs_samples(model):
    with pytest.raises(EdgecompError) as caught:
        prepare(model, QuantizeOptions(precision="w8a8"), silent)
    assert caught.value.code is Code.USAGE
    assert "calibration data" in caught.value.cause
