"""LSTM, GRU and RNN whose weights are stored in 8 bits, against onnxruntime on the same file."""

import hypothesis
import numpy as np
import onnx_ir as ir
import pytest
from helpers.plans import PlanRunner
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from edgecomp.device.load import load_target
from edgecomp.frontend.load import load_model
from edgecomp.graph.run import run_model
from edgecomp.lower.lower import lower
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantize_recurrent_weights import QuantizeRecurrentWeightsPass

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def build(
    cell, rng, *, hidden=6, features=5, steps=4, batch=2, direction="forward", **attributes
):
    d, g = (2 if direction == "bidirectional" else 1), GATES[cell]
    shapes = {
        "W": (d, g * hidden, features),
        "R": (d, g * hidden, hidden),
        "B": (d, 2 * g * hidden),
        "initial_h": (d, batch, hidden),
    }
    arrays = {n: (0.5 * rng.standard_normal(s)).astype(np.float32) for n, s in shapes.items()}
    node = helper.make_node(
        cell,
        ["X", "W", "R", "B", "", "initial_h"],
        ["Y", "Y_h"],
        name="net",
        hidden_size=hidden,
        direction=direction,
        **attributes,
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("X", 1, (steps, batch, features))],
        [helper.make_tensor_value_info(name, 1, None) for name in ("Y", "Y_h")],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = [helper.make_opsetid("", 21)]
    return load_model(helper.make_model(graph, opset_imports=opset, ir_version=10))


def quantized(model, **options):
    outcome = QuantizeRecurrentWeightsPass(InsertQdqOptions(**options))(model)
    assert outcome.applied == 1
    return model


def check(model, rng):
    """Same numbers as onnxruntime has on the dequantized weights; the plan."""
    shape = [int(extent) for extent in model.graph.inputs[0].shape]
    feeds = {"X": rng.standard_normal(shape).astype(np.float32)}
    plan = lower(model, load_target("host"), name="net").plan
    found = PlanRunner(plan).run(feeds)
    for name, expected in run_model(model, feeds).items():
        np.testing.assert_allclose(found[name], expected, atol=2e-5, err_msg=name)
    return plan


def stored_bytes(plan, dtype):
    return sum(
        t.bytes for t in plan.tensors if t.storage.name == "WEIGHTS" and t.dtype == dtype
    )


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_equals_onnxruntime(cell, direction, per_channel, rng):
    check(quantized(build(cell, rng, direction=direction), per_channel=per_channel), rng)


def test_a_gru_that_resets_after_the_product(rng):
    check(quantized(build("GRU", rng, linear_before_reset=1)), rng)


@hypothesis.given(
    cell=st.sampled_from(sorted(GATES)),
    hidden=st.integers(1, 40),
    features=st.integers(1, 20),
    steps=st.integers(1, 9),
    batch=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
@hypothesis.settings(max_examples=12)
def test_any_size(cell, hidden, features, steps, batch, seed):
    rng = np.random.default_rng(seed)
    sizes = {"hidden": hidden, "features": features, "steps": steps, "batch": batch}
    check(quantized(build(cell, rng, **sizes)), rng)


def test_weights_are_a_quarter_of_their_size(rng):
    sizes = {"hidden": 128, "features": 64}
    float_plan = check(build("LSTM", rng, **sizes), rng)
    plan = check(quantized(build("LSTM", rng, **sizes)), rng)
    assert stored_bytes(plan, "int8") == 4 * 128 * (64 + 128)
    assert len(plan.weights) < 0.3 * len(float_plan.weights)


def test_numbers_stay_near_those_of_the_float_net(rng):
    model = build("LSTM", rng, hidden=32, features=16, steps=20)
    feeds = {"X": rng.standard_normal((20, 2, 16)).astype(np.float32)}
    expected = run_model(model, feeds)["Y"]
    found = run_model(quantized(model), feeds)["Y"]
    noise = 10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum())
    assert noise > 30


@pytest.mark.parametrize(
    "left_out", [{"nodes_to_exclude": ("net",)}, {"op_types_to_quantize": ("Conv",)}]
)
def test_nodes_that_are_left_out_stay_float(left_out, rng):
    model = build("LSTM", rng)
    assert not QuantizeRecurrentWeightsPass(InsertQdqOptions(**left_out))(model).modified
    assert QuantizeRecurrentWeightsPass()(model).modified
    assert not QuantizeRecurrentWeightsPass()(model).modified


def test_rows_of_zeros_and_weights_that_are_not_finite(rng):
    model = build("RNN", rng)
    value = model.graph.initializers["W"]
    array = value.const_value.numpy().copy()
    array[0, 2] = 0

    value.const_value = ir.Tensor(array, name="W")
    check(quantized(model), rng)
    model = build("RNN", rng)
    array[0, 1] = np.nan
    model.graph.initializers["W"].const_value = ir.Tensor(array, name="W")
    outcome = QuantizeRecurrentWeightsPass()(model)
    assert "not finite" in outcome.refusals[0].reason
