import hypothesis
import hypothesis.strategies as st
import numpy as np
from helpers.graphs import Graph, normal
from helpers.passes import apply

from edgecomp.passes.resolve_auto_pad import ResolveAutoPadPass


@hypothesis.given(
    extent=st.integers(3, 12),
    window=st.integers(1, 4),
    stride=st.integers(1, 3),
    mode=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
    pool=st.booleans(),
)
def test_pads_are_written_out(extent, window, stride, mode, pool):
    # onnxruntime refuses the negative padding it computes for windows that skip elements.
    hypothesis.assume(extent >= window >= stride)
    rng = np.random.default_rng(0)
    g = Graph()
    x = g.input("x", (1, 2, extent, extent + 1))
    if pool:
        y = g("MaxPool", x, kernel_shape=[window] * 2, strides=[stride] * 2, auto_pad=mode)
    else:
        y = g(
            "Conv", x, normal(rng, 3, 2, window, window), strides=[stride] * 2, auto_pad=mode
        )
    model = g.model(y)
    assert apply(ResolveAutoPadPass(), model).applied == 1
    assert "auto_pad" not in model.graph[0].attributes


def test_ceil_mode_is_refused():
    g = Graph()
    y = g(
        "MaxPool",
        g.input("x", (1, 2, 7, 7)),
        kernel_shape=[3, 3],
        auto_pad="VALID",
        ceil_mode=1,
    )
    outcome = ResolveAutoPadPass()(g.model(y))
    assert not outcome.modified
    assert outcome.refusals[0].node == "n0"
