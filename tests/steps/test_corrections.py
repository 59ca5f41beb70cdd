"""The options of corrections, from a float model to a quantized one and its report."""

import dataclasses

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp.calibrate.qspaces import WEIGHT_INT8_PER_CHANNEL
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import constant_array
from edgecomp.graph.edit import set_constant_input
from edgecomp.graph.run import Runner, random_feeds
from edgecomp.options import QuantizeOptions
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.recipe.read import recipe_of
from edgecomp.steps import corrections
from edgecomp.steps.quantize import insert_quantization, repeat_quantization
from edgecomp.steps.round_weights import round_weights

OPTIONS = InsertQdqOptions()


def network(rng, *, residual=False):
    """A normalisation with outliers, two products, a convolution and a depthwise one."""
    g = Graph()
    x = g.input("x", (1, 36, 8))
    scales = np.exp(rng.uniform(-3, 3, 8)).astype(np.float32)
    y = g("LayerNormalization", x, scales, normal(rng, 8), axis=-1)
    if residual:
        y = g(
            "Add",
            y,
            g("MatMul", g("Relu", g("MatMul", y, normal(rng, 8, 9))), normal(rng, 9, 8)),
        )
    y = g("Relu", g("Add", g("MatMul", y, normal(rng, 8, 12)), normal(rng, 12)))
    y = g("Reshape", g("Transpose", y, perm=[0, 2, 1]), np.array([1, 12, 6, 6]))
    spread = np.exp(rng.uniform(-2, 2, (12, 1, 1, 1))).astype(np.float32)
    y = g("Relu", g("Conv", y, normal(rng, 12, 1, 3, 3) * spread, group=12, pads=[1] * 4))
    return g, g("Conv", y, normal(rng, 4, 12, 1, 1), normal(rng, 4))


def said(step, done=0, total=0):
    """Progress that nobody reads."""


def lost(model, quantized, feeds):
    """Squared error over the squares of the results."""
    (name,) = Runner(model).names
    a, b = (np.stack([Runner(each)(f)[name] for f in feeds]) for each in (model, quantized))
    return ((a - b) ** 2).sum() / (a**2).sum()


@pytest.mark.parametrize(
    "given",
    [
        {"equalize": True},
        {"smooth_quant": "auto"},
        {"smooth_quant": "0.5", "equalize": True, "bias_correction": True},
        {"weight_rounding": "adaround"},
    ],
)
def test_the_report_says_what_was_done_and_other_sizes_get_the_same(rng, given):
    g, y = network(rng)
    model = g.model(y)
    feeds = [random_feeds(model, seed) for seed in range(8)]
    options = QuantizeOptions(precision="w8a8", verify_passes=True, num_samples=8, **given)
    quantized, again = model.clone(), model.clone()
    found = insert_quantization(quantized, options, said, feeds)
    repeat_quantization(again, found)
    for feed in feeds[:2]:
        np.testing.assert_array_equal(Runner(again)(feed)[y], Runner(quantized)(feed)[y])
    facts = found.facts["quantization"]
    assert bool(facts.get("equalized", {}).get("layers")) == ("equalize" in given)
    assert bool(facts.get("smoothed", {}).get("layers")) == ("smooth_quant" in given)
    assert (facts.get("rounded_products") == 3) == ("weight_rounding" in given)
    assert lost(model, quantized, feeds) < 0.01


def test_smoothing_takes_error_away(rng, figure):
    g, y = network(rng)
    model = g.model(y)
    feeds = [random_feeds(model, seed) for seed in range(16)]
    errors = []
    for strength in ("off", "auto"):
        options = QuantizeOptions(precision="w8a8", smooth_quant=strength, num_samples=16)
        quantized = model.clone()
        insert_quantization(quantized, options, said, feeds)
        errors.append(lost(model, quantized, feeds))
    figure("normalisation with outliers, error with smoothing", f"{errors[1] / errors[0]:.2f}")
    assert errors[1] < 0.8 * errors[0]


def test_other_sizes_get_the_factors_of_a_normalisation(rng):
    g, y = network(rng, residual=True)
    model = g.model(y)
    feeds = [random_feeds(model, seed) for seed in range(8)]
    options = QuantizeOptions(precision="w8a8", smooth_quant="auto", num_samples=8)
    quantized, again = model.clone(), model.clone()
    found = insert_quantization(quantized, options, said, feeds)
    lines = found.facts["quantization"]["smoothed"]["layers"]
    assert any("_factors" in line for line in lines)
    assert any(node.op_type == "Mul" for node in quantized.graph)
    repeat_quantization(again, found)
    for feed in feeds[:2]:
        np.testing.assert_array_equal(Runner(again)(feed)[y], Runner(quantized)(feed)[y])


def smoothing(*steps):
    """A recipe that quantizes all and smooths the products named with a strength each."""
    return recipe_of(
        [
            {"pass": "quantize", "args": {"precision": "w8a8"}},
            *(
                {"pass": "smooth_quant", "targets": names, "args": arguments}
                for names, arguments in steps
            ),
        ]
    )


def test_products_of_a_normalisation_that_are_smoothed_otherwise(rng):
    """One alone of two that read it, then both with a strength each."""
    g = Graph()
    scales = np.exp(rng.uniform(-3, 3, 8)).astype(np.float32)
    y = g("LayerNormalization", g.input("x", (1, 36, 8)), scales, normal(rng, 8), axis=-1)
    a = g("MatMul", y, normal(rng, 8, 8), name="a")
    b = g("MatMul", y, normal(rng, 8, 8), name="b")
    y = g("Add", y, g("MatMul", g("Relu", g("Add", a, b)), normal(rng, 8, 8), name="c"))
    model = g.model(y)
    feeds = [random_feeds(model, seed) for seed in range(8)]
    options = QuantizeOptions(precision="w8a8", num_samples=8, verify_passes=True)
    for steps in ([(["a"], {})], [(["b"], {"alpha": 0.5}), (["a"], {})]):
        quantized, again = model.clone(), model.clone()
        found = insert_quantization(quantized, options, said, feeds, recipe=smoothing(*steps))
        smoothed = found.facts["quantization"]["smoothed"]
        assert any("_factors" in line for line in smoothed["layers"])
        assert not any("_factors:" in line for line in smoothed["refused"])
        assert sum(node.op_type == "Mul" for node in quantized.graph) == 1
        repeat_quantization(again, found)
        np.testing.assert_array_equal(
            Runner(again)(feeds[0])[y], Runner(quantized)(feeds[0])[y]
        )


@pytest.mark.parametrize("name", ["SplitNormalisationsPass", "JoinNormalisationsPass"])
def test_what_stands_around_smoothing_is_verified_too(rng, monkeypatch, name):
    g, y = network(rng, residual=True)
    model = g.model(y)
    feeds = [random_feeds(model, seed) for seed in range(2)]

    class Wrong(getattr(corrections, name)):
        def call(self, model):
            outcome = super().call(model)
            (first, *_) = (n for n in model.graph if n.op_type == "LayerNormalization")
            set_constant_input(first, 1, constant_array(first.inputs[1]) * 2)
            return dataclasses.replace(outcome, modified=True)

    monkeypatch.setattr(corrections, name, Wrong)
    options = QuantizeOptions(
        precision="w8a8", smooth_quant="auto", num_samples=2, verify_passes=True
    )
    with pytest.raises(EdgecompError) as caught:
        insert_quantization(model, options, said, feeds)
    assert caught.value.code is Code.PASS_MISMATCH


def test_learned_rounding_helps_at_4_bits(rng, figure):
    g, y = network(rng)
    model = g.model(y)
    feeds = [random_feeds(model, seed) for seed in range(16)]
    space = dataclasses.replace(WEIGHT_INT8_PER_CHANNEL, low=-7, high=7)
    learned, nearest = model.clone(), model.clone()
    assert round_weights(learned, feeds, OPTIONS, space=space) == 3
    for node in nearest.graph:
        if node.op_type in ("Conv", "MatMul"):
            to_nearest(node)
    errors = [lost(model, each, feeds) for each in (nearest, learned)]
    figure("weights of 4 bits, error of adaround over nearest", f"{errors[1] / errors[0]:.2f}")
    assert errors[1] < 0.9 * errors[0]


def to_nearest(node):
    """Round a product's weights to 15 levels per output channel."""
    weight = constant_array(node.inputs[1])
    axes = (1, 2, 3) if node.op_type == "Conv" else (0,)
    scale = np.abs(weight).max(axes, keepdims=True) / 7
    set_constant_input(node, 1, (np.rint(weight / scale) * scale).astype(np.float32))


@pytest.mark.parametrize(
    "given",
    [
        {"equalize": True},
        {"smooth_quant": "auto"},
        {"weight_rounding": "adaround"},
        {"precision": "w8a8", "smooth_quant": "1.5"},
        {"precision": "w8a8", "smooth_quant": "much"},
        {"precision": "w8a8", "weight_rounding": "up"},
    ],
)
def test_options_that_cannot_be(given):
    with pytest.raises(EdgecompError) as caught:
        QuantizeOptions(**given)
    assert caught.value.hint


def test_learned_numbers_are_those_that_are_stored(rng):
    g, y = network(rng)
    model = g.model(y)
    feeds = [random_feeds(model, seed) for seed in range(4)]
    names = {node.name for node in model.graph if node.op_type in ("Conv", "MatMul")}
    options = InsertQdqOptions(per_channel_except=frozenset(sorted(names)[:2]))
    assert round_weights(model, feeds, options) == 3
    for node in model.graph:
        if node.name in names:
            weight = constant_array(node.inputs[1])
            axes = tuple(range(weight.ndim))
            if options.is_per_channel(node):
                axes = axes[1:] if node.op_type == "Conv" else axes[:-1]
            steps = weight / (np.abs(weight).max(axes, keepdims=True) / 127)
            np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
