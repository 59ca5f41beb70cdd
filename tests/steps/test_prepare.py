"""From a source to the portable model, with and without quantization."""

import logging

import numpy as np
import onnx.parser
import pytest
from helpers.graphs import Graph, normal

from edgecomp import api
from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.qdq import is_quantized
from edgecomp.options import BuildOptions, DebugOptions, QuantizeOptions
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


def test_options_in_the_place_of_samples(model):
    for call, options in (
        (api.quantize, QuantizeOptions(precision="w8a8")),
        (api.debug, DebugOptions()),
        (api.finetune, QuantizeOptions(precision="w8a8")),
    ):
        given = ([], options) if call is api.finetune else (options,)
        with pytest.raises(EdgecompError, match="in the place of another") as caught:
            call(model, *given)
        assert caught.value.code is Code.USAGE
        assert "options=" in caught.value.hint


def test_quantization_needs_samples(model):
    with pytest.raises(EdgecompError) as caught:
        prepare(model, QuantizeOptions(precision="w8a8"), silent)
    assert caught.value.code is Code.USAGE
    assert "calibration data" in caught.value.cause


def test_other_sizes_are_quantized_alike(rng):
    """Weights of recurrent nets as well."""
    g = Graph()
    x = g.input("x", (6, "rows", 5))
    states = g(
        "GRU", x, normal(rng, 1, 12, 5), normal(rng, 1, 12, 4), outputs=2, hidden_size=4
    )
    proto = g.proto(g("MatMul", states[0], normal(rng, 4, 3)))
    options = QuantizeOptions(precision="w8a8", input=("x:6x[rows=1..9]x5",))
    largest = prepare(proto, options, silent, dataset=[{"x": normal(rng, 6, 9, 5)}])
    other = prepare(proto, options, silent, sizes={"rows": 4}, largest=largest)
    assert [feeds["x"].shape for feeds in other.samples] == [(6, 4, 5)]
    numbers = [
        {
            value.name: value.const_value.numpy()
            for value in each.model.graph.initializers.values()
        }
        for each in (largest, other)
    ]
    assert numbers[0].keys() == numbers[1].keys()
    assert any(
        array.dtype == np.int8 and array.shape == (1, 12, 5) for array in numbers[1].values()
    )
    for name, array in numbers[0].items():
        np.testing.assert_array_equal(array, numbers[1][name])


BRANCHES = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[4, 8] x, bool c) => (float[4, 6] y)
{
  [before] h = MatMul (x, w)
  [chosen] y = If (c) <
    then_branch = a () => (float[4, 6] ya) { [inside] ya = MatMul (h, v) },
    else_branch = b () => (float[4, 6] yb) { t = Relu (h) yb = MatMul (t, v) }
  >
}
"""


@pytest.mark.parametrize("name", ["before", "inside", "re:bef.*"])
def test_excluded_nodes_of_a_model_with_branches(rng, name):
    proto = onnx.parser.parse_model(BRANCHES)
    for weight, shape in (("w", (8, 8)), ("v", (8, 6))):
        tensor = onnx.numpy_helper.from_array(normal(rng, *shape), weight)
        proto.graph.initializer.append(tensor)
    options = QuantizeOptions(precision="w8a8", nodes_to_exclude=(name,))
    samples = [{"x": normal(rng, 4, 8), "c": np.array(True)}]
    prepared = prepare(proto, options, silent, dataset=samples)
    assert is_quantized(prepared.model) == (name == "inside")


@pytest.mark.parametrize(
    ("precision", "why"),
    [
        ("w8a8-dynamic", ": 'c': activations of convolutions are not quantized"),
        ("w4a16", ": 'c': "),
        ("fp16", ""),
    ],
)
def test_it_is_said_where_no_layer_has_the_precision(model, precision, why, caplog):
    """The only layer is a convolution, which some precisions are not for."""
    with caplog.at_level(logging.WARNING):
        prepare(model, QuantizeOptions(precision=precision), silent)
    said = f"nothing of the model is stored as {precision} says"
    assert (f"{said}{why}" in caplog.text) is (precision != "fp16")


def test_a_model_is_written_to_a_path_of_either_kind(model, tmp_path):
    options = QuantizeOptions(precision="fp32")
    made = api.quantize(model, options=options)
    path = tmp_path / "model.onnx"
    api.save(made, str(path))
    content = path.read_bytes()
    api.save(made, path)
    assert path.read_bytes() == content
    assert [node.op_type for node in api.quantize(path, options=options).graph] == [
        "Conv",
        "Relu",
    ]
