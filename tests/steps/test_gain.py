"""What the report says that a precision gains."""

import json

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp import api
from edgecomp.options import BuildOptions
from edgecomp.plan.prices import Price
from edgecomp.steps.gain import Form, Gain


def gain(weights, time, arena=None, on_gpu=False):
    plain = Form([Price(("p",), 1.0)], 1000, None if arena is None else 400)
    size = None if arena is None else int(400 * arena)
    stored = Form([Price(("p",), time)], int(1000 * weights), size)
    return Gain("fp16", "host", on_gpu, plain, stored).facts()


HALF = "fp16 on host: weights take 0.50 of float's bytes in file and memory; "
NOTHING = "fp16 gains nothing on host: 1.00 of float's bytes, 1.00 of its time (modelled)"


@pytest.mark.parametrize(
    ("weights", "time", "arena", "said"),
    [
        (0.5, 0.6, None, f"{HALF}a run takes 0.60 of float's time (modelled)"),
        (0.5, 1.0, 1.0, f"{HALF}a run is not faster"),
        (0.5, 1.2, None, f"{HALF}a run is slower, 1.20 times float's (modelled)"),
        (0.5, 1.0, 0.25, f"{HALF}activations 0.25 of its memory; a run is not faster"),
        (0.5, 1.0, 2.0, f"{HALF}activations 2.00 of its memory; a run is not faster"),
        (1.0, 1.0, 0.5, "fp16 on host: activations 0.50 of its memory; a run is not faster"),
        (1.0, 1.0, 1.0, NOTHING),
        (1.0, 1.0, None, NOTHING),
    ],
)
def test_summary(weights, time, arena, said):
    facts = gain(weights, time, arena)
    assert facts["summary"] == said
    assert facts["time_over_float"] == time


def test_no_time_of_a_processor_for_a_gpu():
    facts = gain(0.5, 0.5, on_gpu=True)
    assert facts["time_over_float"] is None
    assert facts["summary"] == f"{HALF}times on a GPU are not modelled"


@pytest.fixture
def net(rng):
    g = Graph()
    x = g.input("x", (1, 8, 16, 16))
    y = g("Relu", g("Conv", x, normal(rng, 24, 8, 3, 3), normal(rng, 24), pads=[1] * 4))
    return g.model(g("Conv", y, normal(rng, 8, 24, 1, 1)))


def report_of(net, folder, **settings):
    samples = [{"x": np.random.default_rng(0).standard_normal((1, 8, 16, 16), np.float32)}]
    data = {"calibration_dataset": samples} if "precision" in settings else {}
    api.build(net.clone(), BuildOptions(output=folder, toolchain="none", **settings), **data)
    return json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize("precision", ["w8a8", "w8a16-int"])
def test_memory_is_that_of_both_plans(net, tmp_path, precision):
    """That of the float model is what its own build reports."""
    plain = report_of(net, tmp_path / "float")
    stored = report_of(net, tmp_path / "stored", precision=precision)
    facts = stored["facts"]["gain"]
    assert facts["float_arena_bytes"] == plain["memory"]["arena_bytes"]
    assert facts["arena_bytes"] == stored["memory"]["arena_bytes"]
    part = facts["arena_bytes"] / facts["float_arena_bytes"]
    assert part < 0.8
    assert f"activations {part:.2f} of its memory" in facts["summary"]
