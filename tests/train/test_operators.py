"""Every operator that can be trained through, against onnxruntime, alone and in a batch."""

import numpy as np
import pytest
import torch
from helpers.graphs import Graph

from edgecomp.graph.run import Runner
from edgecomp.train.network import Network
from edgecomp.train.operators.table import BUILDERS

IMAGE, ROWS = (1, 4, 7, 6), (1, 5, 8)


def array(*shape, seed=1, low=-1.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def whole(*numbers):
    return np.array(numbers, np.int64)


def number(value):
    return np.float32(value)


#: Operator, shape of its input, further inputs, attributes.
CASES = [
    *((name, ROWS, [], {}) for name in (
        "Abs", "Atan", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
        "HardSwish", "Identity", "LeakyRelu", "Mish", "Neg", "Relu", "Round", "Selu", "Sigmoid",
        "Sign", "Sin", "Softplus", "Softsign", "Tanh", "ThresholdedRelu", "Celu", "Reciprocal",
    )),
    ("Gelu", ROWS, [], {"approximate": "tanh"}),
    ("Elu", ROWS, [], {"alpha": 0.3}),
    ("Celu", ROWS, [], {"alpha": 0.3}),
    ("LeakyRelu", ROWS, [], {"alpha": 0.3}),
    ("HardSigmoid", ROWS, [], {"alpha": 0.3, "beta": 0.4}),
    ("Clip", ROWS, [number(-0.5), number(0.25)], {}),
    ("Add", ROWS, [array(8)], {}),
    ("Sub", ROWS, [array(8)], {}),
    ("Mul", ROWS, [array(5, 1)], {}),
    ("Div", ROWS, [array(8, low=1, high=2)], {}),
    ("Pow", ROWS, [number(2)], {}),
    ("Max", ROWS, [array(8), array(5, 1)], {}),
    ("Min", ROWS, [array(8), array(5, 1)], {}),
    ("Sum", ROWS, [array(8), array(5, 1)], {}),
    ("PRelu", IMAGE, [array(4, 1, 1)], {}),
    ("Softmax", ROWS, [], {"axis": 1}),
    ("LogSoftmax", ROWS, [], {}),
    ("Conv", IMAGE, [array(6, 4, 3, 3), array(6)], {"pads": [1, 1, 1, 1]}),
    ("Conv", IMAGE, [array(6, 4, 3, 2)], {"pads": [2, 0, 1, 1], "strides": [2, 1]}),
    ("Conv", IMAGE, [array(8, 1, 3, 3)], {"group": 4, "dilations": [2, 1]}),
    ("Conv", IMAGE, [array(6, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", (1, 4, 9), [array(6, 4, 3), array(6)], {"strides": [2]}),
    ("Conv", (1, 2, 4, 5, 4), [array(3, 2, 2, 3, 2)], {"pads": [0, 1, 0, 0, 1, 1]}),
    ("ConvTranspose", IMAGE, [array(4, 3, 3, 3), array(3)], {"strides": [2, 2]}),
    ("ConvTranspose", IMAGE, [array(4, 3, 3, 3), array(6)],
     {"strides": [2, 2], "pads": [1, 0, 1, 1], "output_padding": [1, 1], "group": 2}),
    ("MaxPool", IMAGE, [], {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "strides": [2, 1]}),
    ("MaxPool", IMAGE, [], {"kernel_shape": [3, 3], "ceil_mode": 1, "strides": [2, 2]}),
    ("AveragePool", IMAGE, [], {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1]}),
    ("AveragePool", IMAGE, [],
     {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1}),
    ("AveragePool", IMAGE, [],
     {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1, "strides": [2, 2]}),
    ("GlobalAveragePool", IMAGE, [], {}),
    ("GlobalMaxPool", IMAGE, [], {}),
    ("Gemm", (1, 8), [array(8, 3), array(3)], {}),
    ("Gemm", (1, 8), [array(3, 8), array(3)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("MatMul", ROWS, [array(8, 3)], {}),
    *((name, ROWS, [whole(-1)], {}) for name in (
        "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum",
        "ReduceSumSquare",
    )),
    ("ReduceMean", IMAGE, [whole(2, 3)], {"keepdims": 0}),
    ("LayerNormalization", ROWS, [array(8), array(8)], {}),
    ("InstanceNormalization", IMAGE, [array(4), array(4)], {}),
    ("BatchNormalization", IMAGE, [array(4), array(4), array(4), array(4, low=1, high=2)], {}),
    ("Reshape", ROWS, [whole(1, 10, 4)], {}),
    ("Flatten", IMAGE, [], {}),
    ("Squeeze", (1, 1, 3), [whole(1)], {}),
    ("Unsqueeze", ROWS, [whole(2)], {}),
    ("Transpose", IMAGE, [], {"perm": [0, 2, 3, 1]}),
    ("Expand", (1, 1, 3), [whole(1, 4, 3)], {}),
    ("Tile", ROWS, [whole(1, 2, 1)], {}),
    ("Concat", ROWS, [array(1, 2, 8)], {"axis": 1}),
    ("Slice", IMAGE, [whole(1, -1), whole(-1, -9), whole(2, 3), whole(2, -2)], {}),
    ("Gather", ROWS, [np.array([[0, -1], [2, 3]])], {"axis": 2}),
    ("DepthToSpace", IMAGE, [], {"blocksize": 2}),
    ("DepthToSpace", IMAGE, [], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", (1, 2, 6, 4), [], {"blocksize": 2}),
    ("Pad", IMAGE, [whole(0, 0, 1, 0, 0, 0, 2, 1), number(0.5)], {}),
    ("Pad", IMAGE, [whole(0, 0, 1, 0, 0, 0, 2, 1)], {"mode": "reflect"}),
    ("Pad", IMAGE, [whole(0, 0, 1, 0, 0, 0, 2, 1)], {"mode": "edge"}),
    ("Resize", IMAGE, ["", "", whole(1, 4, 14, 9)], {"mode": "nearest"}),
    ("Resize", IMAGE, ["", array(4, low=2, high=2) * [0.5, 0.5, 1, 1]],
     {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    ("Resize", IMAGE, ["", "", whole(1, 4, 5, 9)], {"mode": "linear"}),
]  # fmt: skip
#: Tested by what is around them.
ELSEWHERE = {
    "And", "Cast", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Log", "Not",
    "Or", "Split", "Sqrt", "Swish", "Where",
}  # fmt: skip


def check(model, shape, rng):
    """One sample, and three at once, each as onnxruntime computes it."""
    network = Network(model)
    name = model.graph.inputs[0].name
    samples = rng.uniform(-1, 1, (3, *shape[1:])).astype(np.float32)
    samples[np.abs(samples) < 0.05] = 0.05  # beside jumps
    runner = Runner(model)
    with torch.no_grad():
        batch, one = network(samples), network(samples[:1])
    for index in range(3):
        (expected,) = runner({name: samples[index : index + 1]}).values()
        expected = expected[0] if expected.ndim == batch.ndim else expected
        np.testing.assert_allclose(batch[index].numpy(), expected, rtol=2e-5, atol=2e-6)
    torch.testing.assert_close(batch[:1], one.reshape(batch[:1].shape))


@pytest.mark.parametrize(
    ("operator", "shape", "inputs", "attributes"), CASES, ids=lambda c: str(c)[:20]
)
def test_operator(operator, shape, inputs, attributes, rng):
    g = Graph()
    x = g.input("x", shape)
    given = [each.astype(np.float32) if is_wide(each) else each for each in inputs]
    check(g.model(g(operator, x, *given, **attributes)), shape, rng)


def is_wide(each):
    return getattr(each, "dtype", None) == np.float64


def test_comparisons_and_choices(rng):
    g = Graph()
    x = g.input("x", ROWS)
    pairs = [(g("Less", x, number(0.5)), g("GreaterOrEqual", x, number(-0.5)))]
    pairs += [(g("LessOrEqual", x, number(0.2)), g("Greater", x, number(0.1)))]
    either = g("Or", g("And", *pairs[0]), g("Not", pairs[1][0]))
    either = g("And", either, g("Not", g("Equal", x, number(0.05))))
    root = g("Sqrt", g("Abs", x))
    logs = g("Log", g("Add", root, number(1)))
    check(
        g.model(g("Mul", g("Where", either, root, logs), g("Cast", pairs[1][1], to=1))),
        ROWS,
        rng,
    )


def test_split(rng):
    g = Graph()
    parts = g("Split", g.input("x", ROWS), whole(2, 6), outputs=2, axis=2)
    check(g.model(g("Concat", *reversed(parts), axis=2)), ROWS, rng)


def test_swish(rng):
    g = Graph(opset=24)
    check(g.model(g("Swish", g.input("x", ROWS), alpha=0.5)), ROWS, rng)


def test_whole_numbers_are_clipped_as_such(rng):
    g = Graph()
    rows = g("Clip", g("Cast", g.input("x", ROWS), to=7), np.array(0), np.array(2**62))
    check(g.model(g("Gather", array(3, 2), rows, axis=0)), ROWS, rng)


def test_every_operator_has_a_case():
    assert {case[0] for case in CASES} | ELSEWHERE == set(BUILDERS)
