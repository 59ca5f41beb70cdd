"""Operands that onnx's inference lets pass are refused where they do not fit."""

import numpy as np
import pytest
from helpers.nodes import node_model

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.load import load_model


def zeros(*shape):
    return np.zeros(shape, np.float32)


def recurrent(operator, gates, **changed):
    """A layer of 3 units over 2 features, with some operands of other shapes."""
    inputs = {
        "x": zeros(5, 1, 2), "w": zeros(1, gates * 3, 2), "r": zeros(1, gates * 3, 3),
        "b": zeros(1, gates * 6), "lengths": np.array([5], np.int32),
        "h": zeros(1, 1, 3), "c": zeros(1, 1, 3), "p": zeros(1, 9),
    }  # fmt: skip
    inputs |= changed
    if operator != "LSTM":
        del inputs["c"], inputs["p"]
    return node_model(operator, inputs, outputs=1, opset=22, hidden_size=3)


def columns(*shape, **attributes):
    inputs = {"x": zeros(*shape), "image": np.array([5, 5]), "block": np.array([1, 5])}
    return node_model("Col2Im", inputs, fixed=("image", "block"), **attributes)


def cumulative(operator, axis):
    return node_model(operator, {"x": zeros(2, 3), "axis": np.array(axis)}, fixed=("axis",))


WHOLE = [
    recurrent("LSTM", 4),
    recurrent("GRU", 3),
    recurrent("RNN", 1),
    columns(1, 5, 5),
    columns(1, 10, 5),
    cumulative("CumSum", -2),
]
SPOILED = {
    "x of other features": (recurrent("GRU", 3, x=zeros(5, 1, 3)), "W is [1, 9, 2]"),
    "gates of another cell": (recurrent("LSTM", 4, r=zeros(1, 9, 3)), "R is [1, 9, 3]"),
    "half a bias": (recurrent("RNN", 1, b=zeros(1, 3)), "B is [1, 3] and should be [1, 6]"),
    "lengths of two": (
        recurrent("GRU", 3, lengths=np.array([5, 4], np.int32)),
        "sequence_lens is [2]",
    ),
    "a state of two": (recurrent("GRU", 3, h=zeros(1, 2, 3)), "initial_h is [1, 2, 3]"),
    "peepholes": (recurrent("LSTM", 4, p=zeros(1, 8)), "P is [1, 8]"),
    "a column more": (columns(1, 5, 6), "6 columns"),
    "rows of no block": (columns(1, 7, 5), "7 rows"),
    "dilation 0": (columns(1, 5, 5, dilations=[0, 0]), "below 1"),
    "an axis behind the last": (cumulative("CumSum", 2), "axis [2] of 2 dimensions"),
    "an axis before the first": (cumulative("CumSum", -3), "axis [-3]"),
}


def whole(*shape):
    return np.zeros(shape, np.int64)


def of(operator, *shapes, fixed=(), outputs=1, **attributes):
    """A node whose inputs are zeros; a shape may be an array, and names in ``fixed`` constants."""
    inputs = {
        f"i{k}": s if isinstance(s, np.ndarray) else zeros(*s) for k, s in enumerate(shapes)
    }
    return node_model(operator, inputs, fixed=fixed, outputs=outputs, **attributes)


WHOLE += [
    of("PRelu", (2, 3, 4), (3, 1)),
    of("Split", (6, 2), outputs=3, num_outputs=3),
    of("GatherElements", (3, 4), whole(2, 4), axis=0),
    of("LayerNormalization", (2, 3, 4), (4,), axis=-1),
]


def convolution(scales, zeros, x_zeros=1):
    """Bytes and weights of 4 output channels, with as many scales and zero points."""
    numbers = {
        "x": np.zeros((1, 3, 5, 5), np.uint8),
        "xs": np.ones(1, np.float32), "xz": np.zeros(x_zeros, np.uint8),
        "w": np.zeros((4, 3, 2, 2), np.uint8),
        "ws": np.ones(scales, np.float32), "wz": np.zeros(zeros, np.uint8),
        "ys": np.float32(1), "yz": np.uint8(0),
    }  # fmt: skip
    return node_model("QLinearConv", numbers, fixed=[*numbers][1:])


def bytes_of(*scales, zeros=None, **attributes):
    inputs = {"x": np.zeros((4, 6), np.uint8), "s": np.ones(scales, np.float32)}
    inputs["z"] = np.zeros(scales if zeros is None else zeros, np.uint8)
    return node_model("DequantizeLinear", inputs, fixed=("s", "z"), **attributes)


WHOLE += [
    of("Conv", (1, 2, 4, 4), (4, 1, 2, 2), (4,), group=2),
    of("ConvTranspose", (1, 2, 4, 4), (2, 3, 2, 2), (6,), group=2),
    of("Gemm", (2, 3), (3, 4), (2, 1)),
    of("GroupNormalization", (2, 4, 4), (4,), (4,), num_groups=2),
    of("LayerNormalization", (2, 3, 4), (3, 1), (), axis=1),
    bytes_of(),
    bytes_of(1),
    bytes_of(6),
    bytes_of(4, axis=-2),
    bytes_of(4, 2, block_size=4),
]
WHOLE += [convolution(4, ()), convolution((), 4), convolution(4, 4)]
ONE = np.array([1])
SPOILED |= {
    "slopes beyond": (of("PRelu", (2, 3), (4, 3)), "slopes [4, 3] for [2, 3]"),
    "indices beyond": (of("GatherElements", (3, 4), whole(2, 5), axis=0), "beside [3, 4]"),
    "axes in rows": (of("ReduceSum", (2, 3), ONE[None], fixed=("i1",)), "input 1 has 2 dim"),
    "scale of a rank more": (
        of("LayerNormalization", (2, 4), (1, 1, 4)),
        "[1, 1, 4] for [2, 4]",
    ),
    "starts in rows": (
        of("Slice", (4, 4), ONE[None], ONE, fixed=("i1", "i2")),
        "input 1 has 2 dimensions",
    ),
    "an index too few": (
        of("MaxUnpool", (1, 1, 2, 2), whole(1, 1, 2, 1), kernel_shape=[2, 2]),
        "indices [1, 1, 2, 1]",
    ),
    "boxes of others": (of("NonMaxSuppression", (1, 5, 4), (1, 1, 6)), "scores [1, 1, 6]"),
    "scores without classes": (of("NonMaxSuppression", (1, 5, 4), (1, 5)), "input 1 has 2"),
    "offsets of others": (
        of("DeformConv", (2, 1, 4, 4), (1, 1, 2, 2), (1, 8, 3, 3)),
        "offsets [1, 8, 3, 3] for images [2, 1, 4, 4]",
    ),
    "a bias of others": (
        of("ConvTranspose", (1, 2, 4, 4), (2, 3, 2, 2), (3,), group=2),
        "[3] for 6 channels",
    ),
    "a bias in columns": (of("Conv", (1, 2, 4, 4), (2, 2, 2, 2), (2, 1)), "[2, 1] for 2"),
    "a scale of one channel": (
        of("InstanceNormalization", (2, 3, 4), (1,), (3,)),
        "[1] for 3",
    ),
    "a scale of groups": (
        of("GroupNormalization", (2, 4, 4), (2,), (4,), num_groups=2),
        "[2] for 4 channels",
    ),
    "a scale of others": (of("LayerNormalization", (4, 2), (3,)), "[3] for [4, 2]"),
    "an addend of others": (of("Gemm", (2, 3), (3, 4), (3,)), "[3] is added to [2, 4]"),
    "indices of other ranks": (
        of("GatherElements", (4,), whole(1, 2)),
        "indices [1, 2] of [4]",
    ),
    "two axes": (cumulative("CumSum", [0, 1]), "axis [0, 1] of 2 dimensions"),
    "scales of the other axis": (bytes_of(4), "scales [4] for [4, 6]"),
    "scales of other blocks": (bytes_of(4, 3, block_size=4), "scales [4, 3] for [4, 6]"),
    "an axis that is none": (bytes_of(6, axis=2), "axis 2 of 2 dimensions"),
    "a zero point for six": (bytes_of(6, zeros=1), "scales [6] and zero points [1]"),
    "scales of other channels": (convolution(3, 3), "scales [3] for weights [4, 3, 2, 2]"),
    "zero points of others": (convolution(4, 3), "zero points [3] for weights"),
    "scales in rows": (convolution((4, 1), 4), "scales [4, 1] for weights"),
    "zero points of the image": (convolution(4, 4, 3), "scales [1] and zero points [3]"),
    "matrices of others": (
        of("AffineGrid", (2, 2, 3), np.array([3, 1, 4, 4]), fixed=("i1",)),
        "theta [2, 2, 3]",
    ),
}


@pytest.mark.parametrize("model", WHOLE, ids=lambda m: m.graph.node[0].op_type)
def test_what_fits_is_read(model):
    load_model(model)


@pytest.mark.parametrize("name", SPOILED)
def test_what_does_not_fit_is_refused(name):
    model, text = SPOILED[name]
    with pytest.raises(EdgecompError) as caught:
        load_model(model)
    assert caught.value.code is Code.SHAPE_CONFLICT
    assert caught.value.node == "node"
    assert text in caught.value.cause
