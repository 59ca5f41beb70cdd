"""How far rounding before a Quantize may carry."""

import numpy as np
import onnx
from helpers import networks
from helpers.plans import PlanRunner
from onnx import TensorProto, helper

from edgecomp import api
from edgecomp.device.load import load_target
from edgecomp.frontend.load import load_model
from edgecomp.graph.run import random_feeds
from edgecomp.lower.lower import lower
from edgecomp.passes.pipeline import float_passes, run_passes
from edgecomp.reference.interpreter import run_reference
from edgecomp.reference.rounding import rounding_spread


def quantized_softmax(scale):
    """x -> Softmax -> Quantize -> Dequantize -> y."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"], name="softmax"),
        helper.make_node("QuantizeLinear", ["s", "scale", "zero"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], name="back"),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.float32(scale), "scale"),
        onnx.numpy_helper.from_array(np.uint8(0), "zero"),
    ]
    shape = [1, 2]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")
    ]
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], constants)
    return load_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    )


def spread_of(model, feeds):
    return rounding_spread(model, feeds, run_reference(model, feeds))


def test_a_value_between_two_steps_may_take_either():
    # softmax is 1/2 each, just between 1 and 2 steps of 1/3.
    assert spread_of(quantized_softmax(1 / 3), {"x": np.zeros((1, 2), np.float32)})[
        "y"
    ] >= 2 * (1 / 3 - 1e-6)


def test_a_value_on_a_step_stays_there():
    assert spread_of(quantized_softmax(1 / 4), {"x": np.zeros((1, 2), np.float32)}) == {}


def test_integers_behind_an_input_have_no_spread():
    module, args = networks.networks()["perceptron"]
    model = load_model(module, args=args)
    run_passes(model, float_passes())
    feeds = random_feeds(model, seed=0)
    quantized = api.quantize(model, [feeds])
    assert spread_of(quantized, feeds) == {}


def test_a_transformer_is_within_its_spread():
    module, args = networks.networks()["text_encoder"]
    model = load_model(module, args=args)
    run_passes(model, float_passes())
    samples = [random_feeds(model, seed=seed) for seed in range(4)]
    quantized = api.quantize(model, samples)
    runner = PlanRunner(lower(quantized, load_target("host"), name="text").plan)
    for feeds in samples:
        expected = run_reference(quantized, feeds)
        spread = rounding_spread(quantized, feeds, expected)
        for name, found in runner.run(feeds).items():
            limit = max(spread.get(name, 0.0), 1e-4 * float(np.ptp(expected[name])))
            assert np.abs(found - expected[name]).max() <= limit
