"""LSTM, GRU and RNN in all their forms against onnxruntime."""

import dataclasses

import hypothesis
import numpy as np
import onnx
import pytest
from helpers.plans import PlanRunner
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgecomp.device.load import load_target
from edgecomp.frontend.load import load_model
from edgecomp.graph.run import run_model
from edgecomp.lower.lower import lower

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OUTPUTS = {"LSTM": ("Y", "Y_h", "Y_c"), "GRU": ("Y", "Y_h"), "RNN": ("Y", "Y_h")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Net:
    """One node; ``inputs`` are the optional ones it has, ``fixed`` whether they are constants."""

    cell: str
    steps: int = 5
    batch: int = 2
    features: int = 3
    hidden: int = 6
    direction: str = "forward"
    inputs: tuple = ("B",)
    fixed: bool = True
    attributes: tuple = ()

    @property
    def directions(self):
        return 2 if self.direction == "bidirectional" else 1


def arrays_of(net, rng):
    d, h, g = net.directions, net.hidden, GATES[net.cell]
    shapes = {
        "W": (d, g * h, net.features),
        "R": (d, g * h, h),
        "B": (d, 2 * g * h),
        "initial_h": (d, net.batch, h),
        "initial_c": (d, net.batch, h),
        "P": (d, 3 * h),
    }
    found = {
        name: (0.5 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
        if name in ("W", "R", *net.inputs)
    }
    if "sequence_lens" in net.inputs:
        lengths = rng.integers(1, net.steps + 1, net.batch).astype(np.int32)
        lengths[rng.integers(net.batch)] = net.steps  # ONNX: the longest fills X
        found["sequence_lens"] = lengths
    return found


def build(net, rng):
    """The onnx model, and what it is fed."""
    arrays = arrays_of(net, rng)
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    order += ["initial_c", "P"] if net.cell == "LSTM" else []
    names = [name if name == "X" or name in arrays else "" for name in order]
    while not names[-1]:
        names.pop()
    node = helper.make_node(
        net.cell,
        names,
        list(OUTPUTS[net.cell]),
        name="net",
        hidden_size=net.hidden,
        direction=net.direction,
        **dict(net.attributes),
    )
    feeds = {"X": rng.standard_normal((net.steps, net.batch, net.features)).astype(np.float32)}
    variable = {} if net.fixed else arrays
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in {**feeds, **variable}.items()
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in OUTPUTS[net.cell]
    ]
    constants = [
        onnx.numpy_helper.from_array(array, name)
        for name, array in arrays.items()
        if name not in variable
    ]
    graph = helper.make_graph([node], "graph", inputs, outputs, constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    return model, {**feeds, **variable}


def compare(net, seed=0):
    rng = np.random.default_rng(seed)
    model, feeds = build(net, rng)
    loaded = load_model(model)
    expected = run_model(loaded, feeds)
    found = PlanRunner(lower(loaded, load_target("host"), name="net").plan).run(feeds)
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        np.testing.assert_allclose(found[name], wanted, atol=2e-5, rtol=0, err_msg=name)


ALL = ("B", "sequence_lens", "initial_h", "initial_c")


@pytest.mark.parametrize(
    "net",
    [
        Net(cell="LSTM", hidden=64, features=40, batch=1, steps=20),
        Net(cell="LSTM", inputs=(*ALL, "P"), direction="bidirectional"),
        Net(cell="LSTM", inputs=(*ALL, "P"), fixed=False, direction="reverse"),
        Net(cell="LSTM", attributes=(("clip", 0.3),)),
        Net(cell="LSTM", attributes=(("input_forget", 1),)),
        Net(
            cell="LSTM",
            direction="bidirectional",
            attributes=(
                (
                    "activations",
                    ["HardSigmoid", "Relu", "Softsign", "Sigmoid", "LeakyRelu", "Elu"],
                ),
                ("activation_alpha", [0.25, 0.1, 0.7]),
                ("activation_beta", [0.4]),
            ),
        ),
        Net(cell="GRU", hidden=64, features=40, batch=1, steps=20),
        Net(cell="GRU", inputs=ALL[:3], direction="bidirectional"),
        Net(cell="GRU", inputs=ALL[:3], attributes=(("linear_before_reset", 1),)),
        Net(
            cell="GRU",
            inputs=ALL[:3],
            fixed=False,
            direction="reverse",
            attributes=(("linear_before_reset", 1),),
        ),
        Net(cell="GRU", inputs=(), attributes=(("linear_before_reset", 1),)),
        Net(cell="RNN", inputs=ALL[:3], direction="bidirectional", hidden=17),
        Net(
            cell="RNN",
            inputs=(),
            attributes=(
                ("activations", ["Affine"]),
                ("activation_alpha", [0.5]),
                ("activation_beta", [0.2]),
            ),
        ),
        Net(
            cell="RNN",
            attributes=(
                ("activations", ["ScaledTanh"]),
                ("activation_alpha", [1.3]),
                ("activation_beta", [0.6]),
            ),
        ),
    ],
    ids=str,
)
def test_against_onnxruntime(net):
    compare(net)


@hypothesis.given(
    st.builds(
        Net,
        cell=st.sampled_from(sorted(GATES)),
        steps=st.integers(1, 6),
        batch=st.integers(1, 3),
        features=st.integers(1, 9),
        hidden=st.integers(1, 35),
        direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
        inputs=st.sets(st.sampled_from(ALL)).map(sorted).map(tuple),
        fixed=st.booleans(),
    )
)
@hypothesis.settings(max_examples=12, deadline=None)
def test_any_size(net):
    compare(net)


def test_zero_states_and_whole_lengths_cost_nothing():
    net = Net(cell="GRU", inputs=("B", "sequence_lens", "initial_h"))
    model, _ = build(net, np.random.default_rng(0))
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if tensor.name == "initial_h":
            tensor.CopyFrom(onnx.numpy_helper.from_array(0 * array, tensor.name))
        if tensor.name == "sequence_lens":
            full = np.full_like(array, net.steps)
            tensor.CopyFrom(onnx.numpy_helper.from_array(full, tensor.name))
    program_inputs = lower(load_model(model), load_target("host"), name="net").plan.calls[-1]
    # Contribution, matrix and the two results: neither states nor lengths.
    assert len(program_inputs.arguments) == 4


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_lengths_beyond_the_sequence_are_the_whole_of_it(cell, direction):
    net = Net(cell=cell, inputs=ALL[:2], direction=direction, fixed=False)
    model, feeds = build(net, np.random.default_rng(5))
    runner = PlanRunner(lower(load_model(model), load_target("host"), name="net").plan)
    whole = np.full_like(feeds["sequence_lens"], net.steps)
    wanted = runner.run({**feeds, "sequence_lens": whole})
    for length in (net.steps + 1, 2**31 - 1):
        found = runner.run({**feeds, "sequence_lens": np.full_like(whole, length)})
        for name, want in wanted.items():
            np.testing.assert_array_equal(found[name], want)
    negative = runner.run({**feeds, "sequence_lens": np.full_like(whole, -(2**31))})
    nothing = runner.run({**feeds, "sequence_lens": np.zeros_like(whole)})
    for name, want in nothing.items():
        np.testing.assert_array_equal(negative[name], want)
