"""LSTM after onnxruntime's quantize_dynamic."""

import numpy as np
import onnx
import pytest
from helpers.plans import PlanRunner
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from edgecomp.device.load import load_target
from edgecomp.frontend.load import load_model
from edgecomp.lower.lower import lower

STEPS, BATCH, FEATURES, HIDDEN = 12, 1, 24, 32


def float_model(rng, direction="forward"):
    d = 2 if direction == "bidirectional" else 1
    shapes = {
        "W": (d, 4 * HIDDEN, FEATURES),
        "R": (d, 4 * HIDDEN, HIDDEN),
        "B": (d, 8 * HIDDEN),
    }
    arrays = {n: (0.3 * rng.standard_normal(s)).astype(np.float32) for n, s in shapes.items()}
    node = helper.make_node(
        "LSTM", ["X", *arrays], ["Y", "H"], "net", hidden_size=HIDDEN, direction=direction
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("X", 1, (STEPS, BATCH, FEATURES))],
        [
            helper.make_tensor_value_info("Y", 1, (STEPS, d, BATCH, HIDDEN)),
            helper.make_tensor_value_info("H", 1, (d, BATCH, HIDDEN)),
        ],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outputs(model, feeds):
    plan = lower(model, load_target("host"), name="net").plan
    return plan, PlanRunner(plan).run(feeds)


def decibels(found, expected):
    return 10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum())


@pytest.mark.parametrize("weights", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_near_the_net_that_was_quantized(
    weights, per_channel, direction, tmp_path, rng, figure
):
    before, after = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(float_model(rng, direction), before)
    quantize_dynamic(before, after, weight_type=weights, per_channel=per_channel)
    assert [node.op_type for node in onnx.load(after).graph.node] == ["DynamicQuantizeLSTM"]
    feeds = {"X": rng.standard_normal((STEPS, BATCH, FEATURES)).astype(np.float32)}
    float_plan, expected = outputs(load_model(before), feeds)
    plan, found = outputs(load_model(after), feeds)
    for name, array in expected.items():
        assert decibels(found[name], array) > 30
    if direction == "forward" and weights == QuantType.QInt8:
        figure(
            f"LSTM after quantize_dynamic{', per channel' if per_channel else ''}",
            f"weights {len(plan.weights) / len(float_plan.weights):.2f} of float's, "
            f"{decibels(found['Y'], expected['Y']):.1f} dB",
        )
        assert len(plan.weights) < 0.35 * len(float_plan.weights)
