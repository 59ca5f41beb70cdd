"""A quantized model as a torch module: the file's numbers, before and after training."""

import numpy as np
import pytest
import torch
from helpers.graphs import Graph, normal
from helpers.networks import NAMES, networks
from helpers.onnxruntime_quantizer import quantize_by_onnxruntime
from helpers.qdq import QdqGraph

import edgecomp
from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.load import load_model
from edgecomp.graph.constants import constant_array
from edgecomp.graph.qdq import recognize
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.train.network import Network
from edgecomp.train.write import trained_model

#: Float sums in another order may round to the next stored number; those behind then differ too.
MOST = 0.02
#: Largest share of numbers of an output that differ by more than float sums do.
FEW = 0.1


class Together(torch.nn.Module):
    """Networks side by side: they are exported and quantized once, which takes longest."""

    def __init__(self, modules):
        super().__init__()
        self.parts = torch.nn.ModuleList(modules)

    def forward(self, *inputs):
        return tuple(part(x) for part, x in zip(self.parts, inputs, strict=True))


@pytest.fixture(scope="module")
def answers():
    """Before and after some training: network -> its outputs, by torch and by onnxruntime."""
    made = networks()
    together = Together(module for module, _ in made.values())
    model = edgecomp.export(together, tuple(x for _, (x,) in made.values()))
    model = edgecomp.quantize(model, [random_feeds(model, seed) for seed in range(4)])
    owners = [
        name
        for name, (module, args) in made.items()
        for _ in range(1 if isinstance(module(*args), torch.Tensor) else len(module(*args)))
    ]
    network = Network(model)
    found = [outputs_of(network, model)]
    found.append(outputs_of(moved(network), trained_model(network)))
    return [
        {
            name: [pair for o, pair in zip(owners, pairs, strict=True) if o == name]
            for name in made
        }
        for pairs in found
    ]


def moved(network, seed=0):
    """Parameters after some training: none where it was."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for each in network.parameters():
            if each.requires_grad:
                scale = each.abs().mean() if each.abs().max() > 0 else 1.0
                each += 0.05 * scale * torch.randn(each.shape, generator=generator)
    return network


def outputs_of(network, model):
    """Of each output: what the network gives, and what onnxruntime does."""
    feeds = random_feeds(model, seed=9)
    expected = run_model(model, feeds).values()
    with torch.no_grad():
        found = network(*feeds.values())
    found = [found] if isinstance(found, torch.Tensor) else found
    return list(zip(found, expected, strict=True))


def compare(pairs):
    for own, wanted in pairs:
        difference = np.abs(own.numpy() - wanted) / np.ptp(wanted)
        assert difference.max() < MOST
        assert (difference > 1e-5).mean() < FEW


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_what_the_file_says(answers, name):
    for each in answers:
        assert each[name]
        compare(each[name])


def test_a_model_of_another_tool(tmp_path, rng):
    """Its zero points are shared, and every node has scales of its own."""
    g = Graph()
    x = g("Conv", g.input("x", (1, 3, 9, 9)), normal(rng, 8, 3, 3, 3), normal(rng, 8))
    x = g("MaxPool", g("Relu", x), kernel_shape=[3, 3], strides=[2, 2])
    x = g("Add", g("Conv", x, normal(rng, 8, 1, 3, 3), group=8, pads=[1, 1, 1, 1]), x)
    x = g("Flatten", g("GlobalAveragePool", x))
    api.save(g.model(g("Gemm", x, normal(rng, 8, 5), normal(rng, 5))), tmp_path / "float.onnx")
    feeds = [{"x": normal(rng, 1, 3, 9, 9)} for _ in range(8)]
    quantize_by_onnxruntime(
        tmp_path / "float.onnx", feeds, tmp_path / "int8.onnx", per_channel=True
    )
    model = load_model(str(tmp_path / "int8.onnx"))
    network = Network(model)
    compare(outputs_of(network, model))
    after = trained_model(moved(network))
    compare(outputs_of(network, after))
    assert set(recognize(after.graph).refusals) == set(recognize(model.graph).refusals)


def small(rng):
    """Two products with a maximum between; the second keeps its float result."""
    g = QdqGraph()
    x = g.dequantize(g.quantize(g.input("x", (1, 3, 8, 8)), 0.02, 128), 0.02, 128)
    weight = g.weight(
        rng.integers(-127, 128, (4, 3, 3, 3)), np.full(4, 0.01, np.float32), axis=0
    )
    scale = (np.float32(0.02) * np.full(4, 0.01, np.float32)).astype(np.float32)
    y = g("Relu", g("Conv", x, weight, g.bias(rng.integers(-99, 99, 4), scale), name="first"))
    y = g.dequantize(g.quantize(y, 0.2, 0), 0.2, 0)
    y = g("MaxPool", y, kernel_shape=[6, 6], name="greatest")
    y = g("Flatten", g.dequantize(g.quantize(y, 0.2, 0), 0.2, 0), name="flat")
    y = g.dequantize(g.quantize(y, 0.2, 0), 0.2, 0)
    last = g.weight(rng.integers(-127, 128, (4, 5)), 0.01)
    return g.model(g("Gemm", y, last, normal(rng, 5), name="last"))


def test_gradients_reach_everything(rng):
    network = moved(Network(small(rng)))  # stored weights are whole numbers of steps
    network(normal(rng, 6, 3, 8, 8) * 2).square().sum().backward()
    assert len(network.weights) == 4
    assert all(w.grad.abs().max() > 0 for w in network.weights)
    # Of the input, the image behind Relu (which shares it), and both weights.
    assert len(set(network.quantizer_of.values())) == 5
    growths = [q.growth for q in network.quantizers if hasattr(q, "growth")]
    assert all(growth.grad.abs().max() > 0 for growth in growths)


def test_both_sides_of_a_maximum_keep_one_scale(rng):
    network = moved(Network(small(rng)))
    after = trained_model(network)
    assert not set(recognize(after.graph).refusals) & {"greatest", "flat"}
    scales = [
        float(constant_array(n.inputs[1]))
        for n in after.graph
        if n.op_type == "QuantizeLinear"
    ]
    assert len(set(scales)) == 2


def test_equal_scales_by_chance_are_learned_apart(rng):
    g = QdqGraph()
    x = g.dequantize(g.quantize(g.input("x", (1, 4)), 0.02, 0), 0.02, 0)
    a = g.dequantize(g.quantize(g("Sigmoid", x), 0.02, 0), 0.02, 0)
    network = moved(Network(g.model(g("Tanh", a))))
    assert len({id(q) for q in network.quantizer_of.values()}) == 2
    compare(outputs_of(network, trained_model(network)))


def test_only_numbers_change(rng):
    model = small(rng)
    before, after = model, trained_model(moved(Network(model)))
    assert [n.op_type for n in before.graph] == [n.op_type for n in after.graph]
    assert [n.name for n in before.graph] == [n.name for n in after.graph]
    for name, value in before.graph.initializers.items():
        other = after.graph.initializers[name]
        assert (value.dtype, value.shape) == (other.dtype, other.shape)


def test_an_untrained_model_is_written_as_it_was(rng):
    model = small(rng)
    after = trained_model(Network(model))
    for name, value in model.graph.initializers.items():
        np.testing.assert_array_equal(
            constant_array(value), constant_array(after.graph.initializers[name])
        )


def test_the_bias_follows_the_scales(rng):
    after = trained_model(moved(Network(small(rng))))
    node = next(n for n in after.graph if n.name == "first")
    scales = [constant_array(v.producer().inputs[1]) for v in node.inputs]
    np.testing.assert_array_equal(scales[2], scales[0] * scales[1])


def test_what_cannot_be_trained_is_named(rng):
    g = Graph()
    x = g.input("x", (1, 4, 8))
    y = g("Hardmax", x, name="length")
    model = g.model(g("Hardmax", g("Relu", y, name="fine"), name="hard"))
    with pytest.raises(EdgecompError, match="2 of its nodes") as caught:
        Network(model)
    assert caught.value.code is Code.OPERATOR_UNSUPPORTED
    assert "length: Hardmax" in caught.value.cause
    assert "hard: Hardmax" in caught.value.cause
    assert "fine" not in caught.value.cause
    assert caught.value.source


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([np.zeros((1, 3, 8, 8)), np.zeros(1)], "has 1 inputs, 2 are given"),
        ([np.zeros((2, 8, 8, 3))], r"takes \[2, 3, 8, 8\], not \[2, 8, 8, 3\]"),
        ([np.zeros((3, 8, 8))], r"takes \[3, 3, 8, 8\], not \[3, 8, 8\]"),
        ([np.zeros((1, 3, 8, 8), np.complex64)], "takes torch.float32, not torch.complex64"),
    ],
)
def test_inputs_that_do_not_fit(rng, given, problem):
    with pytest.raises(EdgecompError, match=problem) as caught:
        Network(small(rng))(*given)
    assert caught.value.code is Code.INPUT_MISMATCH


def test_inputs_of_other_types(rng):
    """numpy makes float64, images are bytes."""
    network, x = Network(small(rng)), rng.integers(0, 3, (2, 3, 8, 8))
    found = [network(x.astype(kind)) for kind in (np.float32, np.float64, np.uint8)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_what_diverged_is_not_written(rng):
    network = Network(small(rng))
    with torch.no_grad():
        network.weights[0][0] = torch.nan
    with pytest.raises(EdgecompError, match="not finite"):
        trained_model(network)
