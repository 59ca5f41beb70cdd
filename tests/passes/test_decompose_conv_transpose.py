import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.passes.decompose_conv_transpose import DecomposeConvTransposePass

# ConvTranspose's input, weight and attributes.
CASES = {
    "kernel equals stride": ((1, 5, 7, 6), (5, 3, 2, 2), {"strides": [2, 2]}),
    "kernel 4 pad 1": ((1, 3, 5, 5), (3, 4, 4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "kernel 3 with output padding": (
        (2, 3, 5, 4),
        (3, 4, 3, 3),
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    ),
    "no stride": ((1, 3, 5, 5), (3, 4, 3, 3), {}),
    "no stride, pads": ((1, 3, 5, 5), (3, 4, 3, 3), {"pads": [1, 0, 1, 2]}),
    "stride above the kernel": ((1, 3, 4, 4), (3, 2, 2, 2), {"strides": [3, 3]}),
    "other strides": ((1, 3, 4, 5), (3, 2, 3, 5), {"strides": [2, 3]}),
    "groups": ((1, 6, 4, 5), (6, 2, 3, 3), {"strides": [2, 2], "group": 3}),
    "groups, other strides": ((1, 6, 4, 5), (6, 2, 3, 3), {"strides": [1, 2], "group": 2}),
    "depthwise": ((1, 6, 4, 5), (6, 1, 4, 4), {"strides": [2, 2], "group": 6}),
    "dilations": ((1, 3, 4, 5), (3, 2, 3, 2), {"strides": [2, 2], "dilations": [2, 3]}),
    "one dimension": ((2, 3, 9), (3, 4, 5), {"strides": [3], "pads": [1, 2]}),
    "output shape": ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "output_shape": [8, 7]}),
    "same upper": ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "same lower": ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
}


def transposed(rng, shape, weight, attributes, *, bias=True):
    g = Graph()
    inputs = [g.input("x", shape), normal(rng, *weight)]
    if bias:
        inputs.append(normal(rng, weight[1] * attributes.get("group", 1)))
    return g.model(g("ConvTranspose", *inputs, **attributes))


@pytest.mark.parametrize("name", CASES)
def test_same_numbers(name, rng):
    model = transposed(rng, *CASES[name])
    assert apply(DecomposeConvTransposePass(), model).applied == 1
    assert "ConvTranspose" not in operators(model)


def test_the_usual_upsampling_is_one_convolution_and_one_move(rng):
    model = transposed(rng, *CASES["kernel equals stride"], bias=False)
    apply(DecomposeConvTransposePass(), model)
    assert operators(model) == ["Conv", "DepthToSpace"]


@hypothesis.given(
    extent=st.integers(1, 6),
    kernel=st.integers(1, 6),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 2),
    data=st.data(),
)
def test_any_geometry(extent, kernel, stride, dilation, data):
    full = stride * (extent - 1) + dilation * (kernel - 1) + 1
    begin = data.draw(st.integers(0, (full - 1) // 2))
    end = data.draw(st.integers(0, full - 1 - begin))
    extra = data.draw(st.integers(0, max(stride, dilation) - 1))
    attributes = {
        "strides": [stride],
        "dilations": [dilation],
        "pads": [begin, end],
        "output_padding": [extra],
    }
    rng = np.random.default_rng(0)
    model = transposed(rng, (1, 2, extent), (2, 3, kernel), attributes)
    assert apply(DecomposeConvTransposePass(), model).applied == 1


def test_computed_weights_stay(rng):
    g = Graph()
    x, w = g.input("x", (1, 3, 4, 4)), g.input("w", (3, 2, 2, 2))
    outcome = DecomposeConvTransposePass()(g.model(g("ConvTranspose", x, w)))
    assert "run time" in outcome.refusals[0].reason


def test_three_dimensions_stay(rng):
    model = transposed(rng, (1, 3, 4, 4, 4), (3, 2, 2, 2, 2), {})
    outcome = DecomposeConvTransposePass()(model)
    assert outcome.refusals[0].reason == "3 image dimensions"
