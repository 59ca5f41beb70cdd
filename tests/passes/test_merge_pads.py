import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.passes.merge_pads import MergePadsPass

PADS = np.array([0, 0, 1, 0, 0, 0, 2, 1])


@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize("kind", ["Conv", "AveragePool", "MaxPool", "ReluMaxPool"])
def test_merge(rng, kind, own, counted):
    g = Graph()
    x = g.input("x", (1, 2, 8, 9))
    if kind == "ReluMaxPool":
        x = g("Relu", x)
    low = np.float32(-np.inf) if kind == "MaxPool" else np.float32(0)
    y = g("Pad", x, PADS, low)
    if kind == "Conv":
        y = g("Conv", y, normal(rng, 3, 2, 3, 3), pads=[own] * 4)
    elif kind == "AveragePool":
        y = g("AveragePool", y, kernel_shape=[5, 5], pads=[own] * 4, count_include_pad=counted)
    else:
        y = g("MaxPool", y, kernel_shape=[5, 5], pads=[own] * 4)
    model = g.model(y)
    outcome = apply(MergePadsPass(), model)
    if kind == "AveragePool" and own and not counted:
        assert "not counted" in outcome.refusals[0].reason
        return
    assert "Pad" not in operators(model)
    pads = list(model.graph)[-1].attributes["pads"].as_ints()
    assert list(pads) == [1 + own, own, 2 + own, 1 + own]


def test_a_pad_read_elsewhere_stays_for_the_others(rng):
    g = Graph()
    x = g.input("x", (1, 2, 8, 9))
    y = g("Pad", x, np.array([1, 1, 1, 1]), "", np.array([-1, 2]))
    model = g.model(g("Conv", y, normal(rng, 3, 2, 3, 3)), g("Neg", y))
    apply(MergePadsPass(), model)
    assert sorted(operators(model)) == ["Conv", "Neg", "Pad"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mode": "reflect"}, "pads by reflect"),
        ({"value": 1.0}, "it pads with 1"),
        ({"pads": [0, 1, 0, 0, 0, 0, 0, 0]}, "batch or channels"),
        ({"pads": [0, 0, -1, 0, 0, 0, 0, 0]}, "negative"),
        ({"pool": True}, "could win the maximum"),
        ({"pool": True, "relu": True, "pads": [0, 0, 3, 0, 0, 0, 0, 0]}, "the padding alone"),
        ({"ceil_mode": 1, "pool": True}, "ceil_mode"),
    ],
)
def test_refusals(rng, change, reason):
    g = Graph()
    x = g.input("x", (1, 2, 8, 9))
    if change.get("relu"):
        x = g("Relu", x)
    pads = np.array(change.get("pads", PADS))
    y = g(
        "Pad", x, pads, np.float32(change.get("value", 0)), mode=change.get("mode", "constant")
    )
    if change.get("pool"):
        y = g("MaxPool", y, kernel_shape=[3, 3], ceil_mode=change.get("ceil_mode", 0))
    else:
        y = g("Conv", y, normal(rng, 3, 3 if pads[1] else 2, 3, 3))
    outcome = apply(MergePadsPass(), g.model(y))
    assert not outcome.modified
    assert reason in outcome.refusals[0].reason
