import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.passes.strip_pruned_channels import StripPrunedChannelsPass


def conv_weight(rng, outputs, inputs, size=3, zero=()):
    weight = normal(rng, outputs, inputs, size, size)
    weight[list(zero)] = 0
    return weight


def shapes(model):
    """Output channels of every product, by node name."""
    return {
        node.name: tuple(node.inputs[1].shape)
        for node in model.graph
        if node.op_type in ("Conv", "Gemm", "MatMul", "ConvTranspose")
    }


def test_chain(rng, golden):
    from edgecomp.graph.text import to_text

    g = Graph()
    x = g.input("x", (2, 3, 9, 9))
    y = g("Conv", x, conv_weight(rng, 8, 3, zero=[1, 4]), pads=[1, 1, 1, 1])
    y = g("Relu", y)
    model = g.model(g("Conv", y, conv_weight(rng, 5, 8)))
    outcome = apply(StripPrunedChannelsPass(), model)
    assert shapes(model) == {"n0": (6, 3, 3, 3), "n2": (5, 6, 3, 3)}
    assert outcome.notes == ["n0: 2 of 8 channels stripped"]
    golden(to_text(model, sources=True))


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid", "HardSwish", "Tanh", "Softplus"])
def test_a_bias_goes_through_activations_into_the_next_bias(rng, activation):
    g = Graph()
    x = g.input("x", (1, 3, 9, 9))
    y = g("Conv", x, conv_weight(rng, 8, 3, zero=[0, 7]), normal(rng, 8))
    y = g(activation, y)
    model = g.model(g("Conv", y, conv_weight(rng, 5, 8)))
    outcome = apply(StripPrunedChannelsPass(), model)
    assert shapes(model) == {"n0": (6, 3, 3, 3), "n2": (5, 6, 3, 3)}
    assert not outcome.refusals


def test_a_constant_does_not_reach_the_padding(rng):
    g = Graph()
    x = g.input("x", (1, 3, 9, 9))
    y = g("Conv", x, conv_weight(rng, 8, 3, zero=[0, 7]), np.ones(8, np.float32))
    model = g.model(g("Conv", y, conv_weight(rng, 5, 8), pads=[1, 1, 1, 1]))
    outcome = apply(StripPrunedChannelsPass(), model)
    assert not outcome.modified
    (refusal,) = outcome.refusals
    assert refusal.node == "n0"
    assert refusal.source == "net.py:0"
    assert "2 zero channels stay" in refusal.reason
    assert "would not reach the padding (at n1)" in refusal.reason


def test_channels_that_nobody_reads(rng):
    """Zero columns of the second weight free channels of the first, whatever they hold."""
    g = Graph()
    x = g.input("x", (1, 3, 9, 9))
    y = g("Relu", g("Conv", x, conv_weight(rng, 8, 3), normal(rng, 8)))
    weight = conv_weight(rng, 5, 8)
    weight[:, [2, 3]] = 0
    model = g.model(g("Conv", y, weight, pads=[1, 1, 1, 1]))
    assert apply(StripPrunedChannelsPass(), model).modified
    assert shapes(model)["n0"] == (6, 3, 3, 3)


def test_residual_add_needs_both_sides(rng):
    g = Graph()
    x = g.input("x", (1, 3, 9, 9))
    a = g("Conv", x, conv_weight(rng, 8, 3, zero=[1, 2, 3]), pads=[1, 1, 1, 1])
    b = g("Conv", a, conv_weight(rng, 8, 8, zero=[2, 3, 4]), pads=[1, 1, 1, 1])
    y = g("Relu", g("Add", a, b))
    model = g.model(g("Conv", y, conv_weight(rng, 4, 8)))
    outcome = apply(StripPrunedChannelsPass(), model)
    assert shapes(model) == {"n0": (6, 3, 3, 3), "n1": (6, 6, 3, 3), "n4": (4, 6, 3, 3)}
    assert {(each.node, each.reason[:20]) for each in outcome.refusals} == {
        ("n0", "1 zero channels stay"),
        ("n1", "1 zero channels stay"),
    }


def test_depthwise_batch_norm_squeeze_excite_and_flatten(rng):
    g = Graph()
    x = g.input("x", (2, 3, 8, 8))
    y = g("Conv", x, conv_weight(rng, 8, 3, zero=[0, 5]), pads=[1, 1, 1, 1])
    y = g("Conv", y, conv_weight(rng, 8, 1), group=8, pads=[1, 1, 1, 1])
    gamma, beta, mean = normal(rng, 8), normal(rng, 8), normal(rng, 8)
    beta[[0, 5]] = mean[[0, 5]] = 0
    variance = rng.uniform(0.5, 2, 8).astype(np.float32)
    y = g(
        "Clip",
        g("BatchNormalization", y, gamma, beta, mean, variance),
        np.float32(0),
        np.float32(6),
    )
    s = g("GlobalAveragePool", y)
    s = g("Relu", g("Conv", s, conv_weight(rng, 2, 8, 1)))
    s = g("Sigmoid", g("Conv", s, conv_weight(rng, 8, 2, 1), normal(rng, 8)))
    y = g("MaxPool", g("Mul", y, s), kernel_shape=[2, 2], strides=[2, 2])
    y = g("Flatten", y)
    model = g.model(g("Gemm", y, normal(rng, 8 * 16, 10), normal(rng, 10)))
    outcome = apply(StripPrunedChannelsPass(), model)
    assert not outcome.refusals
    assert shapes(model)["n1"] == (6, 1, 3, 3)
    assert model.graph.node("n1").attributes["group"].as_int() == 6
    assert (6 * 16, 10) in shapes(model).values()


def test_depthwise_with_a_shift_is_folded_into_the_bias(rng):
    g = Graph()
    x = g.input("x", (1, 3, 8, 8))
    y = g("Conv", x, conv_weight(rng, 4, 3, zero=[1]))
    y = g("Conv", y, conv_weight(rng, 4, 1), normal(rng, 4), group=4, pads=[1, 1, 1, 1])
    model = g.model(g("Conv", g("Sigmoid", y), conv_weight(rng, 3, 4)))
    apply(StripPrunedChannelsPass(), model)
    assert shapes(model) == {"n0": (3, 3, 3, 3), "n1": (3, 1, 3, 3), "n3": (3, 3, 3, 3)}


def test_concat_split_slice_and_shuffle(rng):
    """Channel 2 of the first convolution is cut away by the slice: it goes as well."""
    g = Graph()
    x = g.input("x", (1, 3, 7, 7))
    a = g("Conv", x, conv_weight(rng, 6, 3, zero=[0]))
    b = g("Conv", x, conv_weight(rng, 4, 3, zero=[3]))
    y = g("Concat", a, b, axis=1)
    y = g("Gather", y, np.array([9, 0, 8, 1, 7, 2, 6, 3, 5, 4]), axis=1)
    left, right = g("Split", y, np.array([5, 5]), axis=1, outputs=2)
    right = g("Slice", right, np.array([1]), np.array([9]), np.array([1]))
    y = g("Conv", left, conv_weight(rng, 4, 5))
    z = g("Conv", right, conv_weight(rng, 4, 4))
    model = g.model(g("Add", y, z))
    outcome = apply(StripPrunedChannelsPass(), model)
    assert shapes(model) == {
        "n0": (4, 3, 3, 3), "n1": (3, 3, 3, 3), "n6": (4, 3, 3, 3), "n7": (4, 4, 3, 3),
    }  # fmt: skip
    assert not outcome.refusals


def test_hidden_units_of_a_feed_forward_block(rng):
    g = Graph()
    x = g.input("x", (2, 5, 8))
    first = normal(rng, 8, 16)
    first[:, [3, 4, 9]] = 0
    y = g("Add", g("MatMul", x, first), normal(rng, 16))
    y = g("Gelu", y)
    y = g("Add", g("MatMul", y, normal(rng, 16, 8)), normal(rng, 8))
    model = g.model(g("Add", x, y))
    apply(StripPrunedChannelsPass(), model)
    assert shapes(model) == {"n0": (8, 13), "n3": (13, 8)}
    assert operators(model) == ["MatMul", "Add", "Gelu", "MatMul", "Add", "Add"]


def test_a_whole_layer_of_zeros_keeps_one_channel(rng):
    g = Graph()
    x = g.input("x", (1, 3, 7, 7))
    y = g("Conv", x, np.zeros((4, 3, 3, 3), np.float32), normal(rng, 4))
    model = g.model(g("Conv", y, conv_weight(rng, 2, 4)))
    outcome = apply(StripPrunedChannelsPass(), model)
    assert shapes(model)["n0"] == (1, 3, 3, 3)
    assert "would be empty" in outcome.refusals[0].reason


def test_multiple(rng):
    g = Graph()
    x = g.input("x", (1, 3, 7, 7))
    y = g("Conv", x, conv_weight(rng, 16, 3, zero=[0, 2, 4, 6, 8]))
    model = g.model(g("Conv", y, conv_weight(rng, 2, 16)))
    apply(StripPrunedChannelsPass(multiple=4), model)
    assert shapes(model)["n0"] == (12, 3, 3, 3)


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        ("LayerNormalization", "runs over the channels"),
        ("Softmax", "runs over the channels"),
        ("DepthToSpace", "needs all channels"),
        ("Reshape", "splits or reorders"),
        ("output", "output of the model"),
        ("unknown", "channels are not known"),
    ],
)
def test_refusals(rng, operator, reason):
    g = Graph()
    x = g.input("x", (1, 3, 6, 6))
    e = g.input("e", (1, 8, 4, 4))
    y = g("Conv", x, conv_weight(rng, 8, 3, zero=[1, 6]))
    if operator == "LayerNormalization":
        y = g("LayerNormalization", y, np.ones((8, 4, 4), np.float32), axis=1)
    elif operator == "Softmax":
        y = g("Softmax", y, axis=1)
    elif operator == "DepthToSpace":
        y = g("DepthToSpace", y, blocksize=2)
    elif operator == "Reshape":
        y = g("Reshape", y, np.array([1, 2, 4, 16]))
        y = g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3]), np.array([1, 8, 4, 4]))
    elif operator == "unknown":
        y = g("Add", y, e)
    if operator != "output":
        channels = {"DepthToSpace": 2}.get(operator, 8)
        y = g("Conv", y, conv_weight(rng, 2, channels, 1))
    model = g.model(y)
    outcome = apply(StripPrunedChannelsPass(), model)
    assert not outcome.modified
    assert reason in outcome.refusals[0].reason


CHOICES = st.sampled_from(
    ["conv", "pointwise", "depthwise", "group", "residual", "concat", "relu", "sigmoid", "bn",
     "scale", "pool", "average", "split", "resize", "pad", "prelu", "instance"]
)  # fmt: skip


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    steps=st.lists(CHOICES, min_size=2, max_size=9),
    seed=st.integers(0, 10**6),
    bias=st.booleans(),
)
def test_random_graphs(steps, seed, bias):
    """Any mixture of operators, with channels zeroed at random: the numbers stay."""
    rng = np.random.default_rng(seed)
    g = Graph()
    y, channels = g.input("x", (2, 3, 12, 12)), 3
    side = None

    def convolution(value, inputs, outputs, size, groups=1, **attributes):
        weight = conv_weight(rng, outputs, inputs // groups, size)
        weight[rng.random(outputs) < 0.4] = 0
        weight[:, rng.random(inputs // groups) < 0.2] = 0
        extra = [
            np.where(rng.random(outputs) < 0.5, 0, normal(rng, outputs)).astype(np.float32)
        ]
        return g("Conv", value, weight, *(extra if bias else []), group=groups, **attributes)

    y, channels = convolution(y, 3, 8, 3, pads=[1, 1, 1, 1]), 8
    for step in steps:
        if step == "conv":
            outputs = int(rng.integers(4, 10)) * 2
            y, channels = convolution(y, channels, outputs, 3, pads=[1, 1, 1, 1]), outputs
        elif step == "pointwise":
            outputs = int(rng.integers(2, 8)) * 2
            y, channels = convolution(y, channels, outputs, 1), outputs
        elif step == "depthwise":
            y = convolution(y, channels, channels, 3, channels, pads=[1, 1, 1, 1])
        elif step == "group":
            y = convolution(y, channels, channels, 3, 2, pads=[1, 1, 1, 1])
        elif step == "residual":
            z = convolution(y, channels, channels, 3, pads=[1, 1, 1, 1])
            y = g("Add", y, z)
        elif step == "concat":
            z = convolution(y, channels, 4, 1)
            y, channels = g("Concat", y, z, axis=1), channels + 4
        elif step in ("relu", "sigmoid"):
            y = g(step.capitalize(), y)
        elif step == "bn":
            terms = [normal(rng, channels) for _ in range(3)]
            y = g(
                "BatchNormalization",
                y,
                *terms,
                rng.uniform(0.5, 2, channels).astype(np.float32),
            )
        elif step == "instance":
            y = g("InstanceNormalization", y, normal(rng, channels), normal(rng, channels))
        elif step == "scale":
            factor = normal(rng, 1, channels, 1, 1)
            factor[:, rng.random(channels) < 0.2] = 0
            y = g("Add", g("Mul", y, factor), normal(rng, channels, 1, 1))
        elif step == "prelu":
            y = g("PRelu", y, normal(rng, channels, 1, 1))
        elif step == "pool":
            y = g("MaxPool", y, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
        elif step == "average":
            counted = int(rng.integers(0, 2))
            y = g(
                "AveragePool",
                y,
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
                count_include_pad=counted,
            )
        elif step == "split":
            a, b = g("Split", y, axis=1, num_outputs=2, outputs=2)
            y = g("Concat", b, a, axis=1)
        elif step == "resize":
            y = g("Resize", y, "", np.array([1, 1, 1, 1], np.float32), mode="linear")
        elif step == "pad":
            y = g("Pad", y, np.array([0, 0, 1, 0, 0, 0, 0, 1]), np.float32(rng.integers(0, 2)))
        side = side or y
    y = convolution(y, channels, 4, 1)
    y = g("Flatten", g("GlobalAveragePool", y)) if seed % 2 else g("Flatten", y)
    del side
    head = g("Reshape", y, np.array([2, -1]))
    model_outputs = g("Gemm", head, normal(rng, g_columns(g, head), 3), normal(rng, 3))
    apply(StripPrunedChannelsPass(), g.model(model_outputs), seed=seed)


def g_columns(g, name):
    """Columns of a 2-D value so far."""
    return g.proto(name).graph.output[0].type.tensor_type.shape.dim[1].dim_value
